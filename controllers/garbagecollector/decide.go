package garbagecollector

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ownerState is what is known of an owner reference after asking the API.
type ownerState int

const (
	solid    ownerState = iota // the owner exists and stays
	dangling                   // there is no such owner
	waiting                    // the owner waits for its dependents to go
)

// verdict is what to do with an object that has owners.
type verdict struct {
	// forget are owners whose references are to be removed: the object stays.
	forget []types.UID
	// delete with this policy; "" means that the object stays.
	delete metav1.DeletionPropagation
}

// judge decides over an object by the states of its owners. An object with a
// solid owner stays. One whose only owners wait for it goes, and if it has
// dependents itself, they go first. One without owners goes as its own
// finalizers ask.
func judge(owners []metav1.OwnerReference, state func(metav1.OwnerReference) ownerState, finalizers []string, hasDependents bool) verdict {
	var keep bool
	var gone []types.UID
	var wait bool
	for _, ref := range owners {
		switch state(ref) {
		case solid:
			keep = true
		case waiting:
			wait = true
			gone = append(gone, ref.UID)
		case dangling:
			gone = append(gone, ref.UID)
		}
	}
	switch {
	case len(owners) == 0:
		return verdict{}
	case keep:
		return verdict{forget: gone}
	case wait && hasDependents:
		return verdict{delete: metav1.DeletePropagationForeground}
	case slices.Contains(finalizers, metav1.FinalizerOrphanDependents):
		return verdict{delete: metav1.DeletePropagationOrphan}
	case slices.Contains(finalizers, metav1.FinalizerDeleteDependents):
		return verdict{delete: metav1.DeletePropagationForeground}
	}
	return verdict{delete: metav1.DeletePropagationBackground}
}
