package podworker

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/plan"
	"github.com/yare-io/yare/kubelet/probe"
	"github.com/yare-io/yare/kubelet/runtime"
	"github.com/yare-io/yare/kubelet/volume"
)

const (
	volumePeriod = time.Minute
	// After a start the pod is looked at again soon, so that a container that ends at once is noticed at once even
	// by a runtime that sends no events.
	quickLooks = 4
	quickPause = 100 * time.Millisecond

	namesakePause = 200 * time.Millisecond
)

// sync moves a pod that should be running one step on.
func (w *worker) sync(ctx context.Context, pod *v1.Pod) time.Duration {
	if !w.admitted && w.namesakeRuns(pod) {
		return namesakePause
	}
	if !w.admit(pod) {
		return time.Nanosecond
	}
	probes := w.Probes.Results(pod, w.found)
	next := plan.Decide(plan.Input{
		Pod: pod, Runtime: w.found, Now: w.Clock.Now(), Backoff: w.backoff,
		Failed: messages(probes.Failed), Started: probes.Started,
	})
	w.report(pod, next, probes, false)
	w.Probes.Update(probe.Target{Pod: pod, Runtime: w.found, Host: w.host(pod)}, false)
	if left := w.notBefore.Sub(w.Clock.Now()); left > 0 && !w.hurried() {
		return left
	}
	if next.Done {
		return w.end(ctx, pod)
	}
	if idle(next) && !w.volumesDue() {
		w.prune(ctx, pod)
		return w.pause(pod, next)
	}
	ready, err := w.prepare(ctx, pod)
	if err != nil {
		return w.failed(ctx, "prepare", err)
	}
	if idle(next) {
		return w.pause(pod, next)
	}
	return w.act(ctx, pod, ready, next, probes)
}

// hurried says whether something that the pod waits for may just have come, so that trying again need not wait.
func (w *worker) hurried() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	hurry := w.hurry
	w.hurry = false
	return hurry
}

func idle(p plan.Plan) bool {
	return !p.StopPod && !p.CreateSandbox && len(p.Kill) == 0 && len(p.Start) == 0
}

func messages(failed map[string]probe.Failure) map[string]string {
	out := make(map[string]string, len(failed))
	for id, f := range failed {
		out[id] = f.Message
	}
	return out
}

// pause says how long nothing needs to be done if nothing happens.
func (w *worker) pause(pod *v1.Pod, next plan.Plan) time.Duration {
	pause := w.SyncPeriod
	if next.Again > 0 {
		pause = min(pause, next.Again)
	}
	if left, limited := w.untilDeadline(pod); limited {
		pause = min(pause, max(left, time.Millisecond))
	}
	if w.quick > 0 {
		pause = min(pause, quickPause<<(quickLooks-w.quick))
		w.quick--
	}
	return pause
}

// admit lets the pod in or pronounces the verdict on it, once.
func (w *worker) admit(pod *v1.Pod) bool {
	if w.admitted {
		return true
	}
	w.admission.Lock()
	defer w.admission.Unlock()
	if len(w.found.Containers) == 0 {
		if verdict := w.Admit(pod, w.others(w.uid)); verdict != nil {
			w.Events.Pod(pod, v1.EventTypeWarning, verdict.Reason, "%s", verdict.Message)
			w.verdict = verdict
			return false
		}
	}
	for _, r := range w.References {
		r.Register(pod)
	}
	w.mu.Lock()
	w.admitted = true
	w.mu.Unlock()
	return true
}

func (w *worker) volumesDue() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stale || w.Clock.Since(w.mountedAt) >= volumePeriod
}

// prepare makes the pod's cgroup and volumes.
func (w *worker) prepare(ctx context.Context, pod *v1.Pod) (runtime.Pod, error) {
	ready := runtime.Pod{Pod: pod, Env: w.Environment(pod)}
	if !pod.Spec.HostNetwork && w.found.ReadySandbox() == nil {
		if err := w.NetworkReady(); err != nil {
			w.Events.Pod(pod, v1.EventTypeWarning, "NetworkNotReady", "network is not ready: %v", err)
			return ready, err
		}
	}
	var err error
	if ready.CgroupParent, err = w.Cgroups.Prepare(pod); err != nil {
		w.Events.Pod(pod, v1.EventTypeWarning, "FailedCreatePodContainer", "unable to ensure pod container exists: %v", err)
		return ready, err
	}
	if w.volumes == nil || w.volumesDue() {
		if err := w.mount(ctx, pod); err != nil {
			return ready, err
		}
	}
	ready.Volumes = w.volumes
	return ready, nil
}

// mount brings the pod's volumes up to date. Once they have all been there, a failure to refresh them stops nothing.
func (w *worker) mount(ctx context.Context, pod *v1.Pod) error {
	w.mu.Lock()
	w.stale = false
	w.mu.Unlock()
	for _, r := range w.References {
		r.Register(pod)
	}
	request := volume.Request{Pod: pod, Addresses: w.Environment(pod).Addresses}
	request.Addresses.PodIPs = podIPs(pod, w.found)
	mounted, err := w.Volumes.SetUp(ctx, request)
	w.mountedAt = w.Clock.Now()
	if err == nil {
		w.volumes = mounted
		return nil
	}
	if ctx.Err() != nil {
		return err
	}
	for _, e := range unjoin(err) {
		w.Events.Pod(pod, v1.EventTypeWarning, "FailedMount", "%v", e)
	}
	if w.volumes != nil {
		return nil
	}
	w.refreshLater()
	return err
}

func (w *worker) refreshLater() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stale = true
}

func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

func podIPs(pod *v1.Pod, found *cri.Pod) []string {
	if sandbox := found.ReadySandbox(); sandbox != nil && len(sandbox.IPs) > 0 {
		return sandbox.IPs
	}
	var ips []string
	for _, ip := range pod.Status.PodIPs {
		ips = append(ips, ip.IP)
	}
	return ips
}

func (w *worker) host(pod *v1.Pod) string {
	ips := podIPs(pod, w.found)
	if pod.Spec.HostNetwork {
		ips = w.Environment(pod).Addresses.HostIPs
	}
	if len(ips) == 0 {
		return ""
	}
	return ips[0]
}

// act carries the plan out. The pod is looked at again at once afterwards.
func (w *worker) act(ctx context.Context, pod *v1.Pod, ready runtime.Pod, next plan.Plan, probes probe.Results) time.Duration {
	if next.StopPod {
		if w.found.ReadySandbox() == nil && len(w.found.Sandboxes) > 0 && next.CreateSandbox {
			w.Events.Pod(pod, v1.EventTypeNormal, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
		}
		if err := w.Runtime.StopPod(ctx, pod, w.found, -1); err != nil {
			return w.failed(ctx, "stop", err)
		}
	}
	for _, kill := range next.Kill {
		if err := w.kill(ctx, pod, kill, probes); err != nil {
			return w.failed(ctx, "kill container "+kill.Name, err)
		}
	}
	if next.CreateSandbox {
		if _, err := w.Runtime.CreateSandbox(ctx, ready, next.Attempt); err != nil {
			return w.failed(ctx, "create sandbox", err)
		}
	}
	var failed []error
	for _, start := range next.Start { // one that fails does not hold up the others
		if err := w.start(ctx, ready, start); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", start.Container.Name, err))
		}
		if ctx.Err() != nil {
			return time.Nanosecond
		}
	}
	if len(failed) > 0 {
		return w.failed(ctx, "start containers", errors.Join(failed...))
	}
	w.succeeded()
	w.quick = quickLooks
	return time.Nanosecond
}

func (w *worker) kill(ctx context.Context, pod *v1.Pod, kill plan.Kill, probes probe.Results) error {
	container := w.found.Container(kill.ContainerID)
	if container == nil {
		return nil
	}
	grace := time.Duration(-1)
	if failure, ok := probes.Failed[kill.ContainerID]; ok && failure.Grace != nil {
		grace = time.Duration(*failure.Grace) * time.Second
	}
	return w.Runtime.KillContainer(ctx, pod, container, kill.Message, grace)
}

// startIn starts a container once the one whose processes it is to see runs.
func (w *worker) startIn(ctx context.Context, ready runtime.Pod, start plan.Start, sandbox *cri.Sandbox) error {
	target := ""
	if start.Target != "" {
		container := w.found.NewestIn(sandbox.ID, start.Target)
		if !container.Running() {
			return &runtime.StartError{Reason: "CreateContainerConfigError", Message: "target container " + start.Target + " does not run"}
		}
		target = container.ID
	}
	return w.Runtime.StartContainer(ctx, ready, start.Container, start.RestartCount, sandbox, target)
}

func (w *worker) start(ctx context.Context, ready runtime.Pod, start plan.Start) error {
	sandbox := w.found.ReadySandbox()
	if sandbox == nil {
		return nil
	}
	name := start.Container.Name
	if !start.After.IsZero() {
		w.backoff.Next(name, start.After, w.Clock.Now())
	}
	err := w.startIn(ctx, ready, start, sandbox)
	var failure *runtime.StartError
	if errors.As(err, &failure) {
		w.waiting[name] = plan.Waiting{Reason: failure.Reason, Message: failure.Message}
		return err
	}
	delete(w.waiting, name)
	return err
}
