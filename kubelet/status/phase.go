package status

import (
	v1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/kubelet/plan"
)

// tally counts containers by how far they got.
type tally struct {
	waiting, running, stopped, succeeded int
	initPending, initFailed              int
}

func count(pod *v1.Pod, s *v1.PodStatus, initialized bool) tally {
	var t tally
	for i := range pod.Spec.InitContainers {
		state := &s.InitContainerStatuses[i]
		if plan.IsSidecar(&pod.Spec.InitContainers[i]) {
			if !initialized && (state.Started == nil || !*state.Started) {
				t.initPending++
			}
			continue
		}
		switch {
		case state.State.Terminated != nil && state.State.Terminated.ExitCode == 0:
		case state.State.Terminated != nil:
			t.initFailed++
		case !initialized:
			t.initPending++
		}
	}
	for i := range s.ContainerStatuses {
		state := &s.ContainerStatuses[i]
		switch {
		case state.State.Running != nil:
			t.running++
		case state.State.Terminated != nil:
			t.stopped++
			if state.State.Terminated.ExitCode == 0 {
				t.succeeded++
			}
		case state.LastTerminationState.Terminated != nil:
			t.stopped++
		default:
			t.waiting++
		}
	}
	return t
}

// phase sums the containers up in one word.
func phase(pod *v1.Pod, s *v1.PodStatus, stopped, initialized bool) v1.PodPhase {
	t := count(pod, s, initialized)
	policy := pod.Spec.RestartPolicy
	switch {
	case t.initFailed > 0 && policy == v1.RestartPolicyNever:
		return v1.PodFailed
	case stopped && t.running == 0:
		if t.stopped > 0 && t.stopped == t.succeeded && t.waiting == 0 {
			return v1.PodSucceeded
		}
		return v1.PodFailed
	case t.initPending > 0 || (t.initFailed > 0 && !initialized) || t.waiting > 0:
		return v1.PodPending
	case t.running > 0 || policy == v1.RestartPolicyAlways:
		return v1.PodRunning
	case t.stopped == t.succeeded:
		return v1.PodSucceeded
	case policy == v1.RestartPolicyNever:
		return v1.PodFailed
	}
	return v1.PodRunning
}
