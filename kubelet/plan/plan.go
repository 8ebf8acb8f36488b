// Package plan decides what must happen next to one pod: from its spec, what the runtime holds of it, what probes
// found and the time, to a list of actions. It owns the rules (sandbox renewal, init containers, sidecars,
// restart policies, back-off) and refuses to act, to keep time or to know how actions are carried out.
package plan

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/yare-io/yare/kubelet/cri"
)

// Input is the snapshot that Decide looks at. Decide changes nothing in it.
type Input struct {
	Pod     *v1.Pod
	Runtime *cri.Pod
	Now     time.Time
	// Failed says why a running container must be killed, by container id: a liveness or startup probe that gave up.
	Failed map[string]string
	// Started holds the ids of containers whose startup probe passed (or that have none).
	Started map[string]bool
	Backoff *Backoff
}

// Plan is what must happen, in this order: kill, stop or create the sandbox, start.
type Plan struct {
	// StopPod: every container and sandbox must be stopped before anything else.
	StopPod bool
	// Done: nothing more will ever run in this pod.
	Done          bool
	CreateSandbox bool
	Attempt       uint32 // of the sandbox to create
	Kill          []Kill
	Start         []Start
	// Waiting: containers that are held back, by name.
	Waiting map[string]Waiting
	// Again: look again after this long even if nothing happens; 0 means no need.
	Again time.Duration
}

// Kill is a container that must be stopped.
type Kill struct {
	ContainerID, Name string
	Message           string
	Reason            string
}

// Start is a container to create and start.
type Start struct {
	Container    *v1.Container
	Init         bool
	RestartCount int
	// After is when the previous instance ended; zero if there was none.
	After time.Time
	// Target names the container whose processes this one sees; empty for none.
	Target string
}

// Waiting says why a container is held back.
type Waiting struct {
	Reason, Message string
}

// Hash identifies the part of a container's spec whose change demands a new container.
func Hash(c *v1.Container) string {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s\x00%s", c.Name, c.Image)
	return strconv.FormatUint(uint64(h.Sum32()), 16)
}

// IsSidecar says whether the init container keeps running beside the app containers.
func IsSidecar(c *v1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways
}

// Decide says what must happen next to the pod.
func Decide(in Input) Plan {
	d := decision{Input: in, plan: Plan{Waiting: map[string]Waiting{}}}
	sandbox := in.Runtime.ReadySandbox()
	if sandbox == nil || readySandboxes(in.Runtime) > 1 || lacksAddress(in.Pod, sandbox) {
		d.renewSandbox()
		return d.plan
	}
	if d.initialize(sandbox.ID) {
		d.apps(sandbox.ID)
	}
	if !d.plan.Done {
		d.ephemeral()
	}
	return d.plan
}

// Initialized says whether the pod has got past its init containers in its current sandbox.
func Initialized(pod *v1.Pod, runtime *cri.Pod) bool {
	sandboxID := ""
	if len(runtime.Sandboxes) > 0 {
		sandboxID = runtime.Sandboxes[0].ID
	}
	for i := range pod.Spec.Containers {
		if runtime.NewestIn(sandboxID, pod.Spec.Containers[i].Name) != nil {
			return true
		}
	}
	return false
}

type decision struct {
	Input
	plan Plan
}

func readySandboxes(p *cri.Pod) int {
	n := 0
	for _, s := range p.Sandboxes {
		if s.Ready {
			n++
		}
	}
	return n
}

func lacksAddress(pod *v1.Pod, sandbox *cri.Sandbox) bool {
	return !pod.Spec.HostNetwork && len(sandbox.IPs) == 0
}

// renewSandbox plans a new sandbox, unless nothing is left to run in it.
func (d *decision) renewSandbox() {
	d.plan.StopPod = len(d.Runtime.Sandboxes) > 0
	if len(d.Runtime.Sandboxes) > 0 {
		d.plan.Attempt = d.Runtime.Sandboxes[0].Attempt + 1
	}
	if d.nothingToRerun() {
		d.plan.Done = true
		return
	}
	d.plan.CreateSandbox = true
}

// nothingToRerun says whether the restart policy forbids running any container again.
func (d *decision) nothingToRerun() bool {
	if len(d.Runtime.Containers) == 0 {
		return false
	}
	if d.Pod.Spec.RestartPolicy == v1.RestartPolicyNever {
		return true
	}
	if d.Pod.Spec.RestartPolicy == v1.RestartPolicyAlways {
		return false
	}
	for i := range d.Pod.Spec.Containers {
		c := d.Runtime.Newest(d.Pod.Spec.Containers[i].Name)
		if !c.Exited() || c.ExitCode != 0 {
			return false
		}
	}
	return true
}

// initialize plans the init containers and says whether the app containers may go ahead.
func (d *decision) initialize(sandboxID string) bool {
	initialized := Initialized(d.Pod, d.Runtime)
	for i := range d.Pod.Spec.InitContainers {
		c := &d.Pod.Spec.InitContainers[i]
		status := d.Runtime.NewestIn(sandboxID, c.Name)
		if IsSidecar(c) {
			if ready := d.sidecar(c, status); !ready && !initialized {
				return false
			}
			continue
		}
		if !initialized && !d.initContainer(c, status) {
			return false
		}
	}
	return true
}

// sidecar keeps a sidecar running and says whether it is up.
func (d *decision) sidecar(c *v1.Container, status *cri.Container) bool {
	if !status.Running() {
		d.start(c, true, status)
		return false
	}
	if why, failed := d.Failed[status.ID]; failed {
		d.kill(status, why)
		return false
	}
	return d.Started[status.ID]
}

// initContainer moves one ordinary init container on and says whether it has succeeded.
func (d *decision) initContainer(c *v1.Container, status *cri.Container) bool {
	switch {
	case status.Running():
	case status.Exited() && status.ExitCode == 0:
		return true
	case status.Exited() && d.Pod.Spec.RestartPolicy == v1.RestartPolicyNever:
		d.plan.StopPod, d.plan.Done = true, true
	default:
		d.start(c, true, status)
	}
	return false
}

func (d *decision) apps(sandboxID string) {
	alive := 0
	for i := range d.Pod.Spec.Containers {
		c := &d.Pod.Spec.Containers[i]
		status := d.Runtime.NewestIn(sandboxID, c.Name)
		if status.Running() {
			if d.keep(c, status) {
				alive++
			} else if d.mayRestart(status, true) {
				alive++
			}
			continue
		}
		last := status
		if last == nil {
			last = d.Runtime.Newest(c.Name)
		}
		if d.mayRestart(last, false) {
			d.start(c, false, last)
			alive++
		}
	}
	if alive == 0 && len(d.plan.Kill) == 0 {
		d.plan.StopPod, d.plan.Done = true, true
		d.plan.Start, d.plan.Waiting, d.plan.Again = nil, map[string]Waiting{}, 0
	}
}

// ephemeral starts ephemeral containers: each once, whatever becomes of it, and also while the pod initializes.
func (d *decision) ephemeral() {
	for i := range d.Pod.Spec.EphemeralContainers {
		e := &d.Pod.Spec.EphemeralContainers[i]
		if d.Runtime.Newest(e.Name) == nil && !ran(d.Pod, e.Name) {
			c := (*v1.Container)(&e.EphemeralContainerCommon)
			d.plan.Start = append(d.plan.Start, Start{Container: c, Target: e.TargetContainerName})
		}
	}
}

// ran says whether an ephemeral container that the runtime does not know any more has been there.
func ran(pod *v1.Pod, name string) bool {
	for i := range pod.Status.EphemeralContainerStatuses {
		if s := &pod.Status.EphemeralContainerStatuses[i]; s.Name == name {
			return s.ContainerID != ""
		}
	}
	return false
}

// keep says whether the running container is the one that should run; if not it is planned to be killed.
func (d *decision) keep(c *v1.Container, status *cri.Container) bool {
	if status.Hash != "" && status.Hash != Hash(c) {
		d.kill(status, fmt.Sprintf("Container %s definition changed", c.Name))
		return false
	}
	if why, failed := d.Failed[status.ID]; failed {
		d.kill(status, why)
		return false
	}
	return true
}

// mayRestart says whether the restart policy lets the container run again. A killed one counts as failed.
func (d *decision) mayRestart(status *cri.Container, killed bool) bool {
	if status == nil || (!status.Exited() && !killed) {
		return true
	}
	switch d.Pod.Spec.RestartPolicy {
	case v1.RestartPolicyNever:
		return false
	case v1.RestartPolicyOnFailure:
		return killed || status.ExitCode != 0
	}
	return true
}

func (d *decision) kill(status *cri.Container, why string) {
	d.plan.Kill = append(d.plan.Kill, Kill{ContainerID: status.ID, Name: status.Name, Message: why, Reason: "Killing"})
}

// start plans a start, or a wait if the container is in back-off. A container that was created and never
// started, or whose state is unknown, is killed first.
func (d *decision) start(c *v1.Container, init bool, last *cri.Container) {
	start := Start{Container: c, Init: init}
	if last != nil {
		start.RestartCount = last.RestartCount + 1
		if last.State == runtimeapi.ContainerState_CONTAINER_UNKNOWN {
			d.kill(last, fmt.Sprintf("Container is in %q state, try killing it before restart", "Unknown"))
		}
	}
	if last.Exited() {
		start.After = last.FinishedAt
		if delay, wait := d.Backoff.Remaining(c.Name, last.FinishedAt, d.Now); wait > 0 {
			d.plan.Waiting[c.Name] = Waiting{Reason: "CrashLoopBackOff", Message: fmt.Sprintf(
				"back-off %s restarting failed container=%s pod=%s_%s(%s)", delay, c.Name, d.Pod.Name, d.Pod.Namespace, d.Pod.UID)}
			if d.plan.Again == 0 || wait < d.plan.Again {
				d.plan.Again = wait
			}
			return
		}
	}
	d.plan.Start = append(d.plan.Start, start)
}
