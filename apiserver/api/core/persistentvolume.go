package core

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

func persistentVolumes(d Deps) *registry.Resource {
	return &registry.Resource{
		Kind: kind("PersistentVolume"), Name: "persistentvolumes", Singular: "persistentvolume", ShortNames: []string{"pv"},
		Verbs: row.AllVerbs(), StoragePrefix: "persistentvolumes", New: row.New[corev1.PersistentVolume], NewList: row.New[corev1.PersistentVolumeList],
		Strategy: registry.Strategy{
			Default: registry.Do(defaultVolume),
			PrepareForCreate: registry.Prepare(func(v *corev1.PersistentVolume) {
				v.Status = corev1.PersistentVolumeStatus{Phase: corev1.VolumePending}
			}),
			PrepareForUpdate: registry.PrepareUpdate(func(v, old *corev1.PersistentVolume) { v.Status = old.Status }),
			Validate:         registry.Check(validateVolume),
			ValidateUpdate:   registry.CheckUpdate(validateVolumeUpdate),
		},
		Delete:  registry.DeleteStrategy{ReturnObject: true},
		Columns: volumeColumns(),
		Subresources: []registry.Subresource{row.Status(registry.Strategy{
			Default: registry.Do(defaultVolume),
			PrepareForUpdate: registry.PrepareUpdate(func(v, old *corev1.PersistentVolume) {
				v.Spec = old.Spec
				datePhase(v, old, metav1.NewTime(d.Clock.Now()))
			}),
		})},
	}
}

func defaultVolume(v *corev1.PersistentVolume) {
	if v.Status.Phase == "" {
		v.Status.Phase = corev1.VolumePending
	}
	if v.Spec.PersistentVolumeReclaimPolicy == "" {
		v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
	}
	if v.Spec.VolumeMode == nil {
		mode := corev1.PersistentVolumeFilesystem
		v.Spec.VolumeMode = &mode
	}
	podspec.RoundUp(v.Spec.Capacity)
	podspec.DefaultPersistentSource(&v.Spec.PersistentVolumeSource)
}

func validateVolume(v *corev1.PersistentVolume) field.ErrorList {
	spec := field.NewPath("spec")
	errs := podspec.ValidateAccessModes(spec.Child("accessModes"), v.Spec.AccessModes)
	errs = append(errs, validateCapacity(spec.Child("capacity"), v.Spec.Capacity)...)
	errs = append(errs, podspec.ValidatePersistentSource(spec, &v.Spec.PersistentVolumeSource)...)
	errs = append(errs, rule.Supported(spec.Child("persistentVolumeReclaimPolicy"), v.Spec.PersistentVolumeReclaimPolicy,
		corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRecycle, corev1.PersistentVolumeReclaimRetain)...)
	errs = append(errs, rule.OptionalOneOf(spec.Child("volumeMode"), v.Spec.VolumeMode, corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)...)
	if p := v.Spec.HostPath; p != nil && strings.TrimRight(p.Path, "/") == "" && v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
		errs = append(errs, field.Forbidden(spec.Child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'"))
	}
	if v.Spec.StorageClassName != "" {
		errs = append(errs, rule.DNSSubdomain(spec.Child("storageClassName"), v.Spec.StorageClassName)...)
	}
	return append(errs, validateVolumeAffinity(spec.Child("nodeAffinity"), v)...)
}

func validateCapacity(at *field.Path, capacity corev1.ResourceList) field.ErrorList {
	if len(capacity) == 0 {
		return field.ErrorList{field.Required(at, "")}
	}
	storage, ok := capacity[corev1.ResourceStorage]
	if !ok || len(capacity) > 1 {
		return field.ErrorList{field.NotSupported(at, capacity, []corev1.ResourceName{corev1.ResourceStorage})}
	}
	return rule.PositiveQuantity(at.Key(string(corev1.ResourceStorage)), storage)
}

func validateVolumeAffinity(at *field.Path, v *corev1.PersistentVolume) field.ErrorList {
	a := v.Spec.NodeAffinity
	if a == nil {
		if v.Spec.Local != nil {
			return field.ErrorList{field.Required(at, "Local volume requires node affinity")}
		}
		return nil
	}
	if a.Required == nil {
		return field.ErrorList{field.Required(at.Child("required"), "must specify required node constraints")}
	}
	return podspec.ValidateNodeSelector(at.Child("required"), a.Required)
}

func validateVolumeUpdate(v, old *corev1.PersistentVolume) field.ErrorList {
	spec := field.NewPath("spec")
	errs := validateVolume(v)
	if !row.Same(v.Spec.PersistentVolumeSource, old.Spec.PersistentVolumeSource) {
		errs = append(errs, field.Forbidden(spec.Child("persistentvolumesource"), "spec.persistentvolumesource is immutable after creation"))
	}
	errs = append(errs, rule.Immutable(spec.Child("volumeMode"), v.Spec.VolumeMode, old.Spec.VolumeMode)...)
	if old.Spec.NodeAffinity != nil && !row.Same(v.Spec.NodeAffinity, old.Spec.NodeAffinity) {
		errs = append(errs, field.Invalid(spec.Child("nodeAffinity"), v.Spec.NodeAffinity, apivalidation.FieldImmutableErrorMsg))
	}
	return errs
}

func volumeColumns() []registry.Column {
	return []registry.Column{
		row.NameColumn(),
		row.Text("Capacity", func(v *corev1.PersistentVolume) any { return storageCell(v.Spec.Capacity) }),
		row.Text("Access Modes", func(v *corev1.PersistentVolume) any { return accessModes(v.Spec.AccessModes) }),
		row.Text("Reclaim Policy", func(v *corev1.PersistentVolume) any { return string(v.Spec.PersistentVolumeReclaimPolicy) }),
		row.Text("Status", func(v *corev1.PersistentVolume) any {
			if v.DeletionTimestamp != nil {
				return "Terminating"
			}
			return string(v.Status.Phase)
		}),
		row.Text("Claim", func(v *corev1.PersistentVolume) any {
			if c := v.Spec.ClaimRef; c != nil {
				return fmt.Sprintf("%s/%s", c.Namespace, c.Name)
			}
			return ""
		}),
		row.Text("StorageClass", func(v *corev1.PersistentVolume) any {
			if class, ok := v.Annotations[corev1.BetaStorageClassAnnotation]; ok {
				return class
			}
			return v.Spec.StorageClassName
		}),
		row.Text("VolumeAttributesClass", func(v *corev1.PersistentVolume) any { return row.PointedOrUnset(v.Spec.VolumeAttributesClassName) }),
		row.Text("Reason", func(v *corev1.PersistentVolume) any { return v.Status.Reason }),
		row.AgeColumn(),
		row.Wide(row.Text("VolumeMode", func(v *corev1.PersistentVolume) any { return row.PointedOrUnset(v.Spec.VolumeMode) })),
	}
}

func storageCell(list corev1.ResourceList) string {
	q, ok := list[corev1.ResourceStorage]
	if !ok {
		return ""
	}
	return q.String()
}

// accessModes shows each mode once, in short and in a fixed order.
func accessModes(modes []corev1.PersistentVolumeAccessMode) string {
	has := map[corev1.PersistentVolumeAccessMode]bool{}
	for _, m := range modes {
		has[m] = true
	}
	var short []string
	for _, m := range []struct {
		mode corev1.PersistentVolumeAccessMode
		text string
	}{{corev1.ReadWriteOnce, "RWO"}, {corev1.ReadOnlyMany, "ROX"}, {corev1.ReadWriteMany, "RWX"}, {corev1.ReadWriteOncePod, "RWOP"}} {
		if has[m.mode] {
			short = append(short, m.text)
		}
	}
	return strings.Join(short, ",")
}

// datePhase remembers when a volume's phase changed, unless whoever changed it
// said so.
func datePhase(v, old *corev1.PersistentVolume, now metav1.Time) {
	switch {
	case v.Status.Phase == old.Status.Phase:
		v.Status.LastPhaseTransitionTime = old.Status.LastPhaseTransitionTime
	case v.Status.LastPhaseTransitionTime == nil || v.Status.LastPhaseTransitionTime.Equal(old.Status.LastPhaseTransitionTime):
		v.Status.LastPhaseTransitionTime = &now
	}
}
