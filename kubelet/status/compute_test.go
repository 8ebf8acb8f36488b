package status_test

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/plan"
	"github.com/yare-io/yare/kubelet/status"
)

var now = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func pod(policy v1.RestartPolicy, init ...string) *v1.Pod {
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u", Generation: 3},
		Spec:       v1.PodSpec{RestartPolicy: policy, Containers: []v1.Container{{Name: "web", Image: "i"}}},
	}
	for _, name := range init {
		p.Spec.InitContainers = append(p.Spec.InitContainers, v1.Container{Name: name})
	}
	return p
}

func running(name string) *cri.Container {
	return &cri.Container{ID: name + "-run", Name: name, SandboxID: "box", State: runtimeapi.ContainerState_CONTAINER_RUNNING, StartedAt: now}
}

func exited(name string, code int32) *cri.Container {
	return &cri.Container{ID: name + "-end", Name: name, SandboxID: "box", State: runtimeapi.ContainerState_CONTAINER_EXITED, ExitCode: code, FinishedAt: now}
}

func runtimeWith(containers ...*cri.Container) *cri.Pod {
	return &cri.Pod{UID: "u", Containers: containers, Sandboxes: []*cri.Sandbox{{ID: "box", Ready: true, IPs: []string{"10.0.0.5"}}}}
}

func condition(s v1.PodStatus, kind v1.PodConditionType) v1.PodCondition {
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return v1.PodCondition{}
}

func TestPhaseAndReadiness(t *testing.T) {
	crash := map[string]plan.Waiting{"web": {Reason: "CrashLoopBackOff", Message: "wait"}}
	always, never, onFailure := v1.RestartPolicyAlways, v1.RestartPolicyNever, v1.RestartPolicyOnFailure
	cases := []struct {
		name             string
		pod              *v1.Pod
		runtime          *cri.Pod
		waiting          map[string]plan.Waiting
		unready, stopped bool
		verdict          *status.Verdict
		phase            v1.PodPhase
		reason, message  string // of condition Ready
		init             v1.ConditionStatus
	}{
		{"nothing yet", pod(always), &cri.Pod{}, nil, false, false, nil, v1.PodPending, "ContainersNotReady", "containers with unready status: [web]", "True"},
		{"running and ready", pod(always), runtimeWith(running("web")), nil, false, false, nil, v1.PodRunning, "", "", "True"},
		{"running and not ready", pod(always), runtimeWith(running("web")), nil, true, false, nil, v1.PodRunning, "ContainersNotReady", "containers with unready status: [web]", "True"},
		{"crash loop", pod(always), runtimeWith(exited("web", 1)), crash, false, false, nil, v1.PodRunning, "ContainersNotReady", "containers with unready status: [web]", "True"},
		{"succeeded", pod(never), runtimeWith(exited("web", 0)), nil, false, false, nil, v1.PodSucceeded, "PodCompleted", "", "True"},
		{"failed", pod(never), runtimeWith(exited("web", 2)), nil, false, false, nil, v1.PodFailed, "PodFailed", "", "True"},
		{"OnFailure failed and will be restarted", pod(onFailure), runtimeWith(exited("web", 2)), nil, false, false, nil, v1.PodRunning, "ContainersNotReady", "containers with unready status: [web]", "True"},
		{"init running", pod(always, "i"), runtimeWith(running("i")), nil, false, false, nil, v1.PodPending, "ContainersNotReady", "containers with unready status: [web]", "False"},
		{"init failed for good", pod(never, "i"), runtimeWith(exited("i", 1)), nil, false, false, nil, v1.PodFailed, "PodFailed", "", "False"},
		{"init done", pod(always, "i"), runtimeWith(running("web"), exited("i", 0)), nil, false, false, nil, v1.PodRunning, "", "", "True"},
		{"stopped with success", pod(always), runtimeWith(exited("web", 0)), nil, false, true, nil, v1.PodSucceeded, "PodCompleted", "", "True"},
		{"stopped by force", pod(always), runtimeWith(exited("web", 137)), nil, false, true, nil, v1.PodFailed, "PodFailed", "", "True"},
		{"stopped before it ran", pod(always), &cri.Pod{}, nil, false, true, nil, v1.PodFailed, "PodFailed", "", "True"},
		{"refused", pod(always), &cri.Pod{}, nil, false, false, &status.Verdict{Reason: "OutOfcpu"}, v1.PodFailed, "PodFailed", "", "True"},
		{"evicted but still running", pod(always), runtimeWith(running("web")), nil, false, false, &status.Verdict{Reason: "Evicted"}, v1.PodRunning, "", "", "True"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := status.Compute(status.Input{
				Pod: c.pod, Runtime: c.runtime, RuntimeName: "containerd", Now: now, HostIPs: []string{"192.168.0.1"},
				Waiting: c.waiting, Ready: map[string]bool{"web-run": !c.unready}, Started: map[string]bool{"web-run": true},
				Stopped: c.stopped, Verdict: c.verdict,
			})
			if s.Phase != c.phase {
				t.Errorf("phase %s, want %s", s.Phase, c.phase)
			}
			if ready := condition(s, v1.PodReady); ready.Reason != c.reason || ready.Message != c.message {
				t.Errorf("Ready: %q %q, want %q %q", ready.Reason, ready.Message, c.reason, c.message)
			}
			if init := condition(s, v1.PodInitialized); init.Status != c.init {
				t.Errorf("Initialized: %s, want %s", init.Status, c.init)
			}
			if s.ObservedGeneration != 3 || s.QOSClass != v1.PodQOSBestEffort || s.HostIP != "192.168.0.1" {
				t.Errorf("status: %+v", s)
			}
		})
	}
}

func TestWaitingContainerShowsItsLastEnd(t *testing.T) {
	last := exited("web", 1)
	last.RestartCount = 4
	s := status.Compute(status.Input{
		Pod: pod(v1.RestartPolicyAlways), Runtime: runtimeWith(last), RuntimeName: "containerd", Now: now,
		Waiting: map[string]plan.Waiting{"web": {Reason: "CrashLoopBackOff", Message: "wait"}},
		Message: func(*cri.Container) string { return "last words" },
	})
	c := s.ContainerStatuses[0]
	if c.State.Waiting == nil || c.State.Waiting.Reason != "CrashLoopBackOff" || c.RestartCount != 4 || c.ContainerID != "containerd://web-end" {
		t.Errorf("container: %+v", c)
	}
	if end := c.LastTerminationState.Terminated; end == nil || end.ExitCode != 1 || end.Message != "last words" || end.Reason != "Error" {
		t.Errorf("last state: %+v", c.LastTerminationState)
	}
}

func TestTransitionTimesChangeOnlyWithStatus(t *testing.T) {
	p := pod(v1.RestartPolicyAlways)
	in := status.Input{Pod: p, Runtime: runtimeWith(running("web")), Now: now, Ready: map[string]bool{}, Started: map[string]bool{}}
	p.Status = status.Compute(in)
	in.Now = now.Add(time.Hour)
	if again := condition(status.Compute(in), v1.PodReady); !again.LastTransitionTime.Time.Equal(now) {
		t.Errorf("unchanged, but moved to %v", again.LastTransitionTime)
	}
	in.Ready = map[string]bool{"web-run": true}
	if ready := condition(status.Compute(in), v1.PodReady); !ready.LastTransitionTime.Time.Equal(in.Now) {
		t.Errorf("changed, but still %v", ready.LastTransitionTime)
	}
}

func TestReadinessGates(t *testing.T) {
	p := pod(v1.RestartPolicyAlways)
	p.Spec.ReadinessGates = []v1.PodReadinessGate{{ConditionType: "example.com/gate"}}
	in := status.Input{Pod: p, Runtime: runtimeWith(running("web")), Now: now, Ready: map[string]bool{"web-run": true}, Started: map[string]bool{"web-run": true}}
	if c := condition(status.Compute(in), v1.PodReady); c.Status != v1.ConditionFalse || c.Reason != "ReadinessGatesNotReady" {
		t.Errorf("without the condition: %+v", c)
	}
	p.Status.Conditions = []v1.PodCondition{{Type: "example.com/gate", Status: v1.ConditionTrue}}
	s := status.Compute(in)
	if c := condition(s, v1.PodReady); c.Status != v1.ConditionTrue {
		t.Errorf("with the condition: %+v", c)
	}
	if c := condition(s, "example.com/gate"); c.Status != v1.ConditionTrue {
		t.Error("the foreign condition is lost")
	}
}

func TestFinalPhaseStays(t *testing.T) {
	p := pod(v1.RestartPolicyNever)
	p.Status.Phase, p.Status.Reason = v1.PodFailed, "Evicted"
	s := status.Compute(status.Input{Pod: p, Runtime: runtimeWith(exited("web", 0)), Now: now, Stopped: true})
	if s.Phase != v1.PodFailed || s.Reason != "Evicted" {
		t.Errorf("phase %s, reason %s", s.Phase, s.Reason)
	}
}

func TestLostContainerIsSaidToBeLost(t *testing.T) {
	p := pod(v1.RestartPolicyAlways)
	p.Status.ContainerStatuses = []v1.ContainerStatus{{Name: "web", ContainerID: "containerd://x", RestartCount: 2,
		State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}}}
	s := status.Compute(status.Input{Pod: p, Runtime: &cri.Pod{}, Now: now})
	c := s.ContainerStatuses[0]
	if c.RestartCount != 3 || c.LastTerminationState.Terminated == nil || c.LastTerminationState.Terminated.Reason != "ContainerStatusUnknown" {
		t.Errorf("container: %+v", c)
	}
}
