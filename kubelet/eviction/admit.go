package eviction

import (
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
)

// Refusal says why a node with these pressures takes no more of such pods; empty: it takes the pod. Under pressure on
// memory alone only pods that asked for none are refused, unless they tolerate it; under any other all but critical ones.
func Refusal(pod *v1.Pod, class v1.PodQOSClass, pressures []v1.NodeConditionType) string {
	if len(pressures) == 0 || Critical(pod) {
		return ""
	}
	if slices.Equal(pressures, []v1.NodeConditionType{v1.NodeMemoryPressure}) && (class != v1.PodQOSBestEffort || toleratesMemoryPressure(pod)) {
		return ""
	}
	return fmt.Sprintf("The node had condition: %v. ", pressures)
}

func toleratesMemoryPressure(pod *v1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Tolerations, func(t v1.Toleration) bool {
		return (t.Key == v1.TaintNodeMemoryPressure || t.Key == "" && t.Operator == v1.TolerationOpExists) &&
			(t.Effect == "" || t.Effect == v1.TaintEffectNoSchedule)
	})
}
