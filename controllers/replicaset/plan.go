package replicaset

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/yare-io/yare/controllers/podstatus"
)

// burst is how many pods one pass creates or deletes at most.
const burst = 500

// plan says how many pods to create or which to delete so that the set has as
// many active pods as it wants. related are the active pods of all sets of the
// same owner: among equals, pods on nodes crowded with them go first.
func plan(set *appsv1.ReplicaSet, active, related []*corev1.Pod, now time.Time) (create int, doomed []*corev1.Pod) {
	surplus := len(active) - int(wanted(set))
	if surplus <= 0 {
		return min(-surplus, burst), nil
	}
	surplus = min(surplus, burst)
	candidates := append([]*corev1.Pod(nil), active...)
	if surplus < len(candidates) {
		podstatus.SortForDeletion(candidates, countByNode(related), now)
	}
	return 0, candidates[:surplus]
}

func wanted(set *appsv1.ReplicaSet) int32 {
	if set.Spec.Replicas == nil {
		return 1
	}
	return *set.Spec.Replicas
}

func countByNode(pods []*corev1.Pod) map[string]int {
	count := map[string]int{}
	for _, pod := range pods {
		if podstatus.IsActive(pod) {
			count[pod.Spec.NodeName]++
		}
	}
	return count
}

// calculateStatus returns the set's status as its pods show it. failure is what
// went wrong in creating or deleting pods, if anything.
func calculateStatus(set *appsv1.ReplicaSet, pods []*corev1.Pod, failure *failure, now time.Time) appsv1.ReplicaSetStatus {
	status := *set.Status.DeepCopy()
	status.Replicas, status.FullyLabeledReplicas, status.ReadyReplicas, status.AvailableReplicas = 0, 0, 0, 0
	template := labels.SelectorFromSet(set.Spec.Template.Labels)
	for _, pod := range podstatus.Active(pods) {
		status.Replicas++
		if template.Matches(labels.Set(pod.Labels)) {
			status.FullyLabeledReplicas++
		}
		if podstatus.IsReady(pod) {
			status.ReadyReplicas++
		}
		if podstatus.IsAvailable(pod, set.Spec.MinReadySeconds, now) {
			status.AvailableReplicas++
		}
	}
	terminating := int32(len(podstatus.Terminating(pods)))
	status.TerminatingReplicas = &terminating
	status.ObservedGeneration = set.Generation
	setFailure(&status, failure, now)
	return status
}

// nextAvailable returns when the next ready pod becomes available, zero if none
// will without a change.
func nextAvailable(set *appsv1.ReplicaSet, pods []*corev1.Pod, now time.Time) time.Duration {
	var next time.Duration
	for _, pod := range podstatus.Active(pods) {
		if wait, ready := podstatus.AvailableIn(pod, set.Spec.MinReadySeconds, now); ready && wait > 0 && (next == 0 || wait < next) {
			next = wait
		}
	}
	return next
}
