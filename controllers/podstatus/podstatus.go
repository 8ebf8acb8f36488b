// Package podstatus answers what controllers ask of a pod: whether it still
// counts, is ready, has been available long enough, and which of several goes
// first. It knows neither owners nor the API.
package podstatus

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Condition returns the pod's condition of that type, or nil.
func Condition(pod *corev1.Pod, conditionType corev1.PodConditionType) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == conditionType {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}

// IsReady says whether the pod's Ready condition is true.
func IsReady(pod *corev1.Pod) bool {
	ready := Condition(pod, corev1.PodReady)
	return ready != nil && ready.Status == corev1.ConditionTrue
}

// IsTerminal says whether the pod has run to its end.
func IsTerminal(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// IsActive says whether the pod counts towards its owner's replicas.
func IsActive(pod *corev1.Pod) bool {
	return !IsTerminal(pod) && pod.DeletionTimestamp == nil
}

// IsTerminating says whether the pod is being deleted and still runs.
func IsTerminating(pod *corev1.Pod) bool {
	return !IsTerminal(pod) && pod.DeletionTimestamp != nil
}

// Active returns the pods that are active, in order.
func Active(pods []*corev1.Pod) []*corev1.Pod { return filter(pods, IsActive) }

// Terminating returns the pods that are terminating, in order.
func Terminating(pods []*corev1.Pod) []*corev1.Pod { return filter(pods, IsTerminating) }

func filter(pods []*corev1.Pod, keep func(*corev1.Pod) bool) []*corev1.Pod {
	var kept []*corev1.Pod
	for _, pod := range pods {
		if keep(pod) {
			kept = append(kept, pod)
		}
	}
	return kept
}

// AvailableIn returns how long from now the pod becomes available if it stays
// ready: zero if it is available, ok false if it is not ready.
func AvailableIn(pod *corev1.Pod, minReadySeconds int32, now time.Time) (wait time.Duration, ok bool) {
	ready := Condition(pod, corev1.PodReady)
	if ready == nil || ready.Status != corev1.ConditionTrue {
		return 0, false
	}
	if minReadySeconds <= 0 {
		return 0, true
	}
	if ready.LastTransitionTime.IsZero() {
		return time.Duration(minReadySeconds) * time.Second, true
	}
	return max(0, time.Duration(minReadySeconds)*time.Second-now.Sub(ready.LastTransitionTime.Time)), true
}

// IsAvailable says whether the pod has been ready for minReadySeconds.
func IsAvailable(pod *corev1.Pod, minReadySeconds int32, now time.Time) bool {
	wait, ok := AvailableIn(pod, minReadySeconds, now)
	return ok && wait == 0
}
