// Package status says how a pod is: it computes a PodStatus from the spec, the runtime and what probes found, and keeps the
// API server's copy of it up to date. It refuses to decide what should run and to talk to the runtime.
package status

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/plan"
	"github.com/yare-io/yare/kubelet/qos"
)

// Input is what a status is computed from. Compute changes nothing in it.
type Input struct {
	// Pod has the spec, and in its status the last one that was computed or read.
	Pod     *v1.Pod
	Runtime *cri.Pod
	// RuntimeName prefixes container ids, as in "containerd://".
	RuntimeName string
	Now         time.Time
	HostIPs     []string
	// Waiting says why containers do not run, by name.
	Waiting map[string]plan.Waiting
	// Ready and Started hold the ids of running containers whose readiness and startup probes are satisfied.
	Ready, Started map[string]bool
	// Message returns what a dead container left as its termination message.
	Message func(*cri.Container) string
	// Stopped: the pod is over and none of its containers will run again.
	Stopped bool
	// Verdict, if set, is why the node ended or refused the pod.
	Verdict *Verdict
}

// Verdict is an end that the node itself put to a pod.
type Verdict struct {
	Reason, Message string
}

// Compute returns the pod's status.
func Compute(in Input) v1.PodStatus {
	old := in.Pod.Status
	s := v1.PodStatus{
		ObservedGeneration:    in.Pod.Generation,
		QOSClass:              qos.Of(in.Pod),
		NominatedNodeName:     old.NominatedNodeName,
		Resize:                old.Resize,
		ResourceClaimStatuses: old.ResourceClaimStatuses,
	}
	s.StartTime = old.StartTime
	if s.StartTime == nil {
		s.StartTime = &metav1.Time{Time: in.Now.Truncate(time.Second)}
	}
	hasInit := len(in.Pod.Spec.InitContainers) > 0
	initialized := plan.Initialized(in.Pod, in.Runtime)
	s.InitContainerStatuses = in.containers(in.Pod.Spec.InitContainers, old.InitContainerStatuses, hasInit, true)
	s.ContainerStatuses = in.containers(in.Pod.Spec.Containers, old.ContainerStatuses, hasInit, false)
	s.EphemeralContainerStatuses = in.ephemeral(hasInit)
	if in.Stopped {
		closeContainers(&s, in.Pod, initialized)
	}
	s.Phase = phase(in.Pod, &s, in.Stopped, initialized)
	if in.Verdict != nil {
		s.Phase, s.Reason, s.Message = v1.PodFailed, in.Verdict.Reason, in.Verdict.Message
	}
	if over(s.Phase) && !in.Stopped && in.Runtime.Alive() {
		s.Phase = v1.PodRunning
		s.Reason, s.Message = "", ""
	}
	if over(old.Phase) {
		s.Phase, s.Reason, s.Message = old.Phase, old.Reason, old.Message
	}
	in.addresses(&s)
	s.Conditions = conditions(in, &s, initialized)
	return s
}

func over(p v1.PodPhase) bool { return p == v1.PodSucceeded || p == v1.PodFailed }

// Over says whether the status is final.
func Over(s *v1.PodStatus) bool { return over(s.Phase) }

func (in *Input) addresses(s *v1.PodStatus) {
	for _, ip := range in.HostIPs {
		s.HostIPs = append(s.HostIPs, v1.HostIP{IP: ip})
	}
	if len(in.HostIPs) > 0 {
		s.HostIP = in.HostIPs[0]
	}
	var ips []string
	if in.Pod.Spec.HostNetwork {
		ips = in.HostIPs
	} else if sandbox := in.Runtime.ReadySandbox(); sandbox != nil {
		ips = sandbox.IPs
	}
	if len(ips) == 0 {
		s.PodIP, s.PodIPs = in.Pod.Status.PodIP, slices.Clone(in.Pod.Status.PodIPs)
		return
	}
	s.PodIP = ips[0]
	for _, ip := range ips {
		s.PodIPs = append(s.PodIPs, v1.PodIP{IP: ip})
	}
}

// vanished is the end of a container of which nobody knows how it ended.
func vanished() *v1.ContainerStateTerminated {
	return &v1.ContainerStateTerminated{
		Reason:   "ContainerStatusUnknown",
		Message:  "The container could not be located when the pod was terminated",
		ExitCode: 137,
	}
}

// closeContainers gives every container that may have run a final state.
func closeContainers(s *v1.PodStatus, pod *v1.Pod, initialized bool) {
	end := func(c *v1.ContainerStatus) {
		c.Ready, c.Started = c.State.Terminated != nil && c.Ready, new(false)
		if c.State.Terminated != nil {
			return
		}
		c.State = v1.ContainerState{Terminated: vanished()}
	}
	if initialized {
		for i := range s.ContainerStatuses {
			end(&s.ContainerStatuses[i])
		}
	}
	for i := range s.EphemeralContainerStatuses {
		if c := &s.EphemeralContainerStatuses[i]; c.ContainerID != "" && c.State.Terminated == nil {
			c.State = v1.ContainerState{Terminated: vanished()}
		}
	}
	for i := range s.InitContainerStatuses {
		if initialized || s.InitContainerStatuses[i].State.Waiting == nil {
			end(&s.InitContainerStatuses[i])
		}
	}
}
