package podspec

import (
	"fmt"
	"math"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
)

// mutableFields is what a client may change of a pod, in Kubernetes' words.
const mutableFields = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`," +
	"`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations)," +
	"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"

// ValidateUpdate returns what is wrong with a client's change to a pod's
// specification. Both must have been defaulted.
func ValidateUpdate(path *field.Path, s, old *corev1.PodSpec) field.ErrorList {
	if errs := sameContainers(path, s, old); len(errs) > 0 {
		return errs
	}
	errs := validateDeadlineUpdate(path.Child("activeDeadlineSeconds"), s.ActiveDeadlineSeconds, old.ActiveDeadlineSeconds)
	errs = append(errs, onlyAddedTolerations(path.Child("tolerations"), s.Tolerations, old.Tolerations)...)
	errs = append(errs, onlyRemovedGates(path.Child("schedulingGates"), s.SchedulingGates, old.SchedulingGates)...)
	rest := s.DeepCopy()
	for i := range rest.Containers {
		rest.Containers[i].Image = old.Containers[i].Image
	}
	for i := range rest.InitContainers {
		rest.InitContainers[i].Image = old.InitContainers[i].Image
	}
	rest.ActiveDeadlineSeconds = old.ActiveDeadlineSeconds
	rest.Tolerations = old.Tolerations
	rest.SchedulingGates = old.SchedulingGates
	if g := old.TerminationGracePeriodSeconds; g != nil && *g < 0 && rest.TerminationGracePeriodSeconds != nil && *rest.TerminationGracePeriodSeconds == 1 {
		rest.TerminationGracePeriodSeconds = g
	}
	if len(old.SchedulingGates) > 0 {
		errs = append(errs, narrowedPlacement(path, rest, old)...)
	}
	if !row.Same(*rest, *old) {
		errs = append(errs, field.Forbidden(path, mutableFields+cmp.Diff(old, rest)))
	}
	return errs
}

func sameContainers(path *field.Path, s, old *corev1.PodSpec) field.ErrorList {
	var errs field.ErrorList
	check := func(path *field.Path, n, o int) {
		if n != o {
			errs = append(errs, field.Forbidden(path, "pod updates may not add or remove containers"))
		}
	}
	check(path.Child("containers"), len(s.Containers), len(old.Containers))
	check(path.Child("initContainers"), len(s.InitContainers), len(old.InitContainers))
	return errs
}

func validateDeadlineUpdate(path *field.Path, d, old *int64) field.ErrorList {
	switch {
	case d == nil && old == nil:
		return nil
	case d == nil:
		return field.ErrorList{field.Invalid(path, d, "must not update from a positive integer to nil value")}
	case *d < 0 || *d > math.MaxInt32:
		return field.ErrorList{field.Invalid(path, *d, validation.InclusiveRangeError(0, math.MaxInt32))}
	case old != nil && *old < *d:
		return field.ErrorList{field.Invalid(path, *d, "must be less than or equal to previous value")}
	}
	return nil
}

// onlyAddedTolerations wants every old toleration to be there still; how long
// it tolerates may differ.
func onlyAddedTolerations(path *field.Path, tolerations, old []corev1.Toleration) field.ErrorList {
	for _, o := range old {
		o.TolerationSeconds = nil
		kept := false
		for _, t := range tolerations {
			t.TolerationSeconds = nil
			kept = kept || t == o
		}
		if !kept {
			return field.ErrorList{field.Forbidden(path, "existing toleration can not be modified except its tolerationSeconds")}
		}
	}
	return nil
}

func onlyRemovedGates(path *field.Path, gates, old []corev1.PodSchedulingGate) field.ErrorList {
	var errs field.ErrorList
	had := sets.New(old...)
	for i, g := range gates {
		if !had.Has(g) {
			errs = append(errs, field.Forbidden(path.Index(i), fmt.Sprintf("only deletion is allowed, but found new scheduling gate '%s'", g.Name)))
		}
	}
	return errs
}

// ValidateEphemeralUpdate returns what is wrong with a change of a pod's
// ephemeral containers: they can be added, and nothing else.
func ValidateEphemeralUpdate(path *field.Path, s, old *corev1.PodSpec) field.ErrorList {
	at := path.Child("ephemeralContainers")
	now := make(map[string]*corev1.EphemeralContainer, len(s.EphemeralContainers))
	for i := range s.EphemeralContainers {
		now[s.EphemeralContainers[i].Name] = &s.EphemeralContainers[i]
	}
	var errs field.ErrorList
	for i := range old.EphemeralContainers {
		was := &old.EphemeralContainers[i]
		is, ok := now[was.Name]
		switch {
		case !ok:
			errs = append(errs, field.Forbidden(at, fmt.Sprintf("existing ephemeral containers %q may not be removed", was.Name)))
		case !apiequality.Semantic.DeepEqual(is, was):
			errs = append(errs, field.Forbidden(at, fmt.Sprintf("existing ephemeral containers %q may not be changed", was.Name)))
		}
	}
	return errs
}
