package core

import (
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
)

const claimImmutable = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n"

// validateClaimUpdate lets a claim be bound once, and a bound one grow.
func validateClaimUpdate(c, old *corev1.PersistentVolumeClaim) field.ErrorList {
	spec := field.NewPath("spec")
	errs := validateClaim(c)
	rest := c.Spec.DeepCopy()
	if old.Spec.VolumeName == "" {
		rest.VolumeName = ""
	}
	if old.Spec.StorageClassName == nil && rest.StorageClassName != nil {
		// A class may be given to a claim that was made without one.
		rest.StorageClassName = nil
	}
	bound := old.Status.Phase == corev1.ClaimBound
	if bound {
		putBackStorage(rest, old)
		rest.VolumeAttributesClassName = old.Spec.VolumeAttributesClassName
		errs = append(errs, validateGrowth(spec, c, old)...)
	}
	if !row.Same(rest, &old.Spec) {
		errs = append(errs, field.Forbidden(spec, claimImmutable+cmp.Diff(&old.Spec, rest)))
	}
	errs = append(errs, rule.Immutable(spec.Child("volumeMode"), c.Spec.VolumeMode, old.Spec.VolumeMode)...)
	if old.Spec.VolumeAttributesClassName != nil && c.Spec.VolumeAttributesClassName == nil && bound {
		errs = append(errs, field.Forbidden(spec.Child("volumeAttributesClassName"), "update from non-nil value to nil is forbidden"))
	}
	return errs
}

func putBackStorage(rest *corev1.PersistentVolumeClaimSpec, old *corev1.PersistentVolumeClaim) {
	if q, ok := old.Spec.Resources.Requests[corev1.ResourceStorage]; ok && rest.Resources.Requests != nil {
		rest.Resources.Requests[corev1.ResourceStorage] = q
	}
}

// validateGrowth refuses to make a claim smaller than it is, or than it asked
// to become unless that attempt is still open.
func validateGrowth(spec *field.Path, c, old *corev1.PersistentVolumeClaim) field.ErrorList {
	size, before := c.Spec.Resources.Requests[corev1.ResourceStorage], old.Spec.Resources.Requests[corev1.ResourceStorage]
	have := old.Status.Capacity[corev1.ResourceStorage]
	if size.Cmp(before) >= 0 || size.Cmp(have) > 0 && !have.IsZero() {
		return nil
	}
	return field.ErrorList{field.Forbidden(spec.Child("resources", "requests", "storage"), "field can not be less than status.capacity")}
}

func validateClaimStatus(c, _ *corev1.PersistentVolumeClaim) field.ErrorList {
	status := field.NewPath("status")
	var errs field.ErrorList
	for name, q := range c.Status.Capacity {
		errs = append(errs, rule.Quantity(status.Child("capacity").Key(string(name)), q)...)
	}
	for name, q := range c.Status.AllocatedResources {
		errs = append(errs, podspec.ValidateAmount(status.Child("allocatedResources").Key(string(name)), name, q)...)
	}
	return errs
}
