package podstatus

import (
	"cmp"
	"math"
	"sort"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SortForDeletion orders pods so that those whose loss matters least come
// first, as users of Kubernetes expect when they scale down: unassigned, then
// pending, then not ready, then cheap (controller.kubernetes.io/pod-deletion-cost),
// then crowded (neighbours counts related pods per node), then recently ready,
// then restarted often, then young. Times are compared by order of magnitude,
// so that a mass of equally old pods is thinned at random.
func SortForDeletion(pods []*corev1.Pod, neighbours map[string]int, now time.Time) {
	sort.SliceStable(pods, func(i, j int) bool {
		return compareForDeletion(pods[i], pods[j], neighbours, now) < 0
	})
}

func compareForDeletion(a, b *corev1.Pod, neighbours map[string]int, now time.Time) int {
	readyA, readyB := IsReady(a), IsReady(b)
	order := cmp.Or(
		falseFirst(a.Spec.NodeName != "", b.Spec.NodeName != ""),
		cmp.Compare(phaseRank(a), phaseRank(b)),
		falseFirst(readyA, readyB),
		cmp.Compare(deletionCost(a), deletionCost(b)),
		cmp.Compare(neighbours[b.Spec.NodeName], neighbours[a.Spec.NodeName]),
	)
	if order == 0 && readyA && readyB {
		order = youngerFirst(readySince(a), readySince(b), a, b, now)
	}
	if order == 0 {
		order = compareRestarts(b, a)
	}
	if order == 0 {
		order = youngerFirst(a.CreationTimestamp, b.CreationTimestamp, a, b, now)
	}
	return order
}

func falseFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func phaseRank(pod *corev1.Pod) int {
	switch pod.Status.Phase {
	case corev1.PodPending:
		return 0
	case corev1.PodUnknown:
		return 1
	}
	return 2
}

func deletionCost(pod *corev1.Pod) int32 {
	cost, err := strconv.ParseInt(pod.Annotations[corev1.PodDeletionCost], 10, 32)
	if err != nil {
		return 0
	}
	return int32(cost)
}

func readySince(pod *corev1.Pod) metav1.Time {
	return Condition(pod, corev1.PodReady).LastTransitionTime
}

// youngerFirst puts the later time first; times of the same magnitude are
// ordered by UID, which is as good as chance. An unknown time is the youngest.
func youngerFirst(ta, tb metav1.Time, a, b *corev1.Pod, now time.Time) int {
	if ta.Equal(&tb) {
		return 0
	}
	if ta.IsZero() || tb.IsZero() {
		return falseFirst(!ta.IsZero(), !tb.IsZero())
	}
	magnitude := cmp.Compare(ageMagnitude(ta, now), ageMagnitude(tb, now))
	return cmp.Or(magnitude, cmp.Compare(a.UID, b.UID))
}

func ageMagnitude(t metav1.Time, now time.Time) int64 {
	age := now.Sub(t.Time).Nanoseconds()
	if age <= 0 {
		return 0
	}
	return int64(math.Log2(float64(age)))
}

func compareRestarts(a, b *corev1.Pod) int {
	appA, sidecarA := maxRestarts(a)
	appB, sidecarB := maxRestarts(b)
	return cmp.Or(cmp.Compare(appA, appB), cmp.Compare(sidecarA, sidecarB))
}

func maxRestarts(pod *corev1.Pod) (app, sidecar int32) {
	for _, status := range pod.Status.ContainerStatuses {
		app = max(app, status.RestartCount)
	}
	restartable := map[string]bool{}
	for _, container := range pod.Spec.InitContainers {
		if container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			restartable[container.Name] = true
		}
	}
	for _, status := range pod.Status.InitContainerStatuses {
		if restartable[status.Name] {
			sidecar = max(sidecar, status.RestartCount)
		}
	}
	return app, sidecar
}
