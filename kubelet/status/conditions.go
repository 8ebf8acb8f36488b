package status

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/kubelet/plan"
)

// conditions returns the pod's conditions: those the node owns, computed; all others as they were.
func conditions(in Input, s *v1.PodStatus, initialized bool) []v1.PodCondition {
	containersReady := containersReady(in.Pod, s)
	own := []v1.PodCondition{
		sandboxReady(in),
		initializedCondition(in.Pod, s, initialized),
		ready(in.Pod, containersReady),
		containersReady,
		{Type: v1.PodScheduled, Status: v1.ConditionTrue},
	}
	if in.Verdict != nil && in.Verdict.Disruption {
		own = append(own, v1.PodCondition{
			Type: v1.DisruptionTarget, Status: v1.ConditionTrue, Reason: v1.PodReasonTerminationByKubelet, Message: in.Verdict.Message,
		})
	}
	for i := range own {
		own[i].ObservedGeneration = in.Pod.Generation
		own[i].LastTransitionTime = metav1.NewTime(in.Now).Rfc3339Copy()
		if old := condition(in.Pod.Status.Conditions, own[i].Type); old != nil && old.Status == own[i].Status {
			own[i].LastTransitionTime = old.LastTransitionTime
		}
	}
	for _, other := range in.Pod.Status.Conditions {
		if condition(own, other.Type) == nil {
			own = append(own, other)
		}
	}
	return own
}

func condition(all []v1.PodCondition, kind v1.PodConditionType) *v1.PodCondition {
	for i := range all {
		if all[i].Type == kind {
			return &all[i]
		}
	}
	return nil
}

func sandboxReady(in Input) v1.PodCondition {
	c := v1.PodCondition{Type: v1.PodReadyToStartContainers, Status: v1.ConditionFalse}
	sandbox := in.Runtime.ReadySandbox()
	if sandbox != nil && (in.Pod.Spec.HostNetwork || len(sandbox.IPs) > 0) {
		c.Status = v1.ConditionTrue
	}
	return c
}

func initializedCondition(pod *v1.Pod, s *v1.PodStatus, initialized bool) v1.PodCondition {
	c := v1.PodCondition{Type: v1.PodInitialized, Status: v1.ConditionTrue}
	if s.Phase == v1.PodSucceeded {
		c.Reason = "PodCompleted"
		return c
	}
	if initialized {
		return c
	}
	var incomplete []string
	for i := range pod.Spec.InitContainers {
		spec, state := &pod.Spec.InitContainers[i], &s.InitContainerStatuses[i]
		done := state.Ready
		if plan.IsSidecar(spec) {
			done = state.Started != nil && *state.Started
		}
		if !done {
			incomplete = append(incomplete, spec.Name)
		}
	}
	if len(incomplete) > 0 {
		c.Status, c.Reason = v1.ConditionFalse, "ContainersNotInitialized"
		c.Message = fmt.Sprintf("containers with incomplete status: %s", incomplete)
	}
	return c
}

func containersReady(pod *v1.Pod, s *v1.PodStatus) v1.PodCondition {
	c := v1.PodCondition{Type: v1.ContainersReady, Status: v1.ConditionFalse}
	switch s.Phase {
	case v1.PodSucceeded:
		c.Reason = "PodCompleted"
		return c
	case v1.PodFailed:
		c.Reason = "PodFailed"
		return c
	}
	var unready []string
	for i := range pod.Spec.InitContainers {
		if plan.IsSidecar(&pod.Spec.InitContainers[i]) && !s.InitContainerStatuses[i].Ready {
			unready = append(unready, pod.Spec.InitContainers[i].Name)
		}
	}
	for i := range s.ContainerStatuses {
		if !s.ContainerStatuses[i].Ready {
			unready = append(unready, s.ContainerStatuses[i].Name)
		}
	}
	if len(unready) > 0 {
		c.Reason = "ContainersNotReady"
		c.Message = fmt.Sprintf("containers with unready status: %s", unready)
		return c
	}
	c.Status = v1.ConditionTrue
	return c
}

// ready follows the containers, and then the pod's readiness gates.
func ready(pod *v1.Pod, containers v1.PodCondition) v1.PodCondition {
	c := v1.PodCondition{Type: v1.PodReady, Status: containers.Status, Reason: containers.Reason, Message: containers.Message}
	if c.Status != v1.ConditionTrue {
		return c
	}
	var unmet []string
	for _, gate := range pod.Spec.ReadinessGates {
		switch found := condition(pod.Status.Conditions, gate.ConditionType); {
		case found == nil:
			unmet = append(unmet, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", gate.ConditionType))
		case found.Status != v1.ConditionTrue:
			unmet = append(unmet, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", gate.ConditionType, found.Status))
		}
	}
	if len(unmet) > 0 {
		c.Status, c.Reason, c.Message = v1.ConditionFalse, "ReadinessGatesNotReady", strings.Join(unmet, ", ")
	}
	return c
}
