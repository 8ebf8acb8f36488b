package deployment

import (
	"cmp"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
)

func byCreation(sets []*appsv1.ReplicaSet) []*appsv1.ReplicaSet {
	sorted := slices.Clone(sets)
	slices.SortStableFunc(sorted, compareCreation)
	return sorted
}

func compareCreation(a, b *appsv1.ReplicaSet) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
}

// bySize puts the largest sets first; among equals the newest if newerFirst,
// else the oldest.
func bySize(sets []*appsv1.ReplicaSet, newerFirst bool) []*appsv1.ReplicaSet {
	sorted := slices.Clone(sets)
	slices.SortStableFunc(sorted, func(a, b *appsv1.ReplicaSet) int {
		age := compareCreation(a, b)
		if newerFirst {
			age = -age
		}
		return cmp.Or(cmp.Compare(replicasOf(b.Spec.Replicas), replicasOf(a.Spec.Replicas)), age)
	})
	return sorted
}

func byRevision(sets []*appsv1.ReplicaSet) []*appsv1.ReplicaSet {
	sorted := slices.Clone(sets)
	slices.SortStableFunc(sorted, func(a, b *appsv1.ReplicaSet) int {
		return cmp.Or(cmp.Compare(revisionOf(a), revisionOf(b)), compareCreation(a, b))
	})
	return sorted
}

// active returns the sets that want pods.
func active(sets []*appsv1.ReplicaSet) []*appsv1.ReplicaSet {
	var kept []*appsv1.ReplicaSet
	for _, set := range sets {
		if replicasOf(set.Spec.Replicas) > 0 {
			kept = append(kept, set)
		}
	}
	return kept
}

func sum(sets []*appsv1.ReplicaSet, of func(*appsv1.ReplicaSet) int32) int32 {
	var total int32
	for _, set := range sets {
		if set != nil {
			total += of(set)
		}
	}
	return total
}

func wantedBy(set *appsv1.ReplicaSet) int32    { return replicasOf(set.Spec.Replicas) }
func actualOf(set *appsv1.ReplicaSet) int32    { return set.Status.Replicas }
func readyOf(set *appsv1.ReplicaSet) int32     { return set.Status.ReadyReplicas }
func availableOf(set *appsv1.ReplicaSet) int32 { return set.Status.AvailableReplicas }

// newest returns the oldest of the sets that have the deployment's template:
// should there be several, every pass must pick the same one.
func newest(d *appsv1.Deployment, sets []*appsv1.ReplicaSet) *appsv1.ReplicaSet {
	for _, set := range byCreation(sets) {
		if sameTemplate(&set.Spec.Template, &d.Spec.Template) {
			return set
		}
	}
	return nil
}
