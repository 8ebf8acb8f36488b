package status_test

import (
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/status"
)

func debugged(old ...v1.ContainerStatus) *v1.Pod {
	p := pod(v1.RestartPolicyAlways)
	p.Spec.EphemeralContainers = []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debug", Image: "i"}}}
	p.Status.EphemeralContainerStatuses = old
	return p
}

func TestEphemeralContainers(t *testing.T) {
	ran := v1.ContainerStatus{Name: "debug", ContainerID: "containerd://debug-run", State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}}
	for _, c := range []struct {
		name    string
		pod     *v1.Pod
		runtime *cri.Pod
		want    func(v1.ContainerState) bool
	}{
		{"waits to be started", debugged(), runtimeWith(running("web")),
			func(s v1.ContainerState) bool { return s.Waiting != nil && s.Waiting.Reason == "ContainerCreating" }},
		{"runs", debugged(), runtimeWith(running("web"), running("debug")),
			func(s v1.ContainerState) bool { return s.Running != nil }},
		{"has failed", debugged(), runtimeWith(running("web"), exited("debug", 3)),
			func(s v1.ContainerState) bool { return s.Terminated != nil && s.Terminated.ExitCode == 3 }},
		{"was lost by the runtime", debugged(ran), runtimeWith(running("web")),
			func(s v1.ContainerState) bool {
				return s.Terminated != nil && s.Terminated.Reason == "ContainerStatusUnknown"
			}},
	} {
		s := status.Compute(status.Input{Pod: c.pod, Runtime: c.runtime, Now: now, Ready: map[string]bool{"web-run": true, "debug-run": true}, Started: map[string]bool{"web-run": true}})
		if len(s.EphemeralContainerStatuses) != 1 {
			t.Fatalf("%s: %d statuses", c.name, len(s.EphemeralContainerStatuses))
		}
		got := s.EphemeralContainerStatuses[0]
		if !c.want(got.State) || got.Ready || got.Started != nil || got.RestartCount != 0 {
			t.Errorf("%s: %+v", c.name, got)
		}
		if s.Phase != v1.PodRunning || condition(s, v1.PodReady).Status != v1.ConditionTrue {
			t.Errorf("%s: the pod is %s, ready %s", c.name, s.Phase, condition(s, v1.PodReady).Status)
		}
	}
}
