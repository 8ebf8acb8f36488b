package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

func persistentVolumeClaims() *registry.Resource {
	return &registry.Resource{
		Kind: kind("PersistentVolumeClaim"), Name: "persistentvolumeclaims", Singular: "persistentvolumeclaim", ShortNames: []string{"pvc"}, Namespaced: true,
		Verbs: row.AllVerbs(), StoragePrefix: "persistentvolumeclaims", New: row.New[corev1.PersistentVolumeClaim], NewList: row.New[corev1.PersistentVolumeClaimList],
		Strategy: registry.Strategy{
			Default: registry.Do(defaultClaim),
			PrepareForCreate: registry.Prepare(func(c *corev1.PersistentVolumeClaim) {
				c.Status = corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending}
				alignDataSources(&c.Spec)
			}),
			PrepareForUpdate: registry.PrepareUpdate(func(c, old *corev1.PersistentVolumeClaim) {
				c.Status = old.Status
				if old.Spec.DataSourceRef == nil && old.Spec.DataSource == nil {
					alignDataSources(&c.Spec)
				}
			}),
			Validate:       registry.Check(validateClaim),
			ValidateUpdate: registry.CheckUpdate(validateClaimUpdate),
		},
		Delete:  registry.DeleteStrategy{ReturnObject: true},
		Columns: claimColumns(),
		Subresources: []registry.Subresource{row.Status(registry.Strategy{
			Default:          registry.Do(defaultClaim),
			PrepareForUpdate: registry.PrepareUpdate(func(c, old *corev1.PersistentVolumeClaim) { c.Spec = old.Spec }),
			ValidateUpdate:   registry.CheckUpdate(validateClaimStatus),
		})},
	}
}

func defaultClaim(c *corev1.PersistentVolumeClaim) {
	if c.Status.Phase == "" {
		c.Status.Phase = corev1.ClaimPending
	}
	if c.Spec.VolumeMode == nil {
		mode := corev1.PersistentVolumeFilesystem
		c.Spec.VolumeMode = &mode
	}
	podspec.RoundUp(c.Spec.Resources.Limits)
	podspec.RoundUp(c.Spec.Resources.Requests)
	podspec.RoundUp(c.Status.Capacity)
	podspec.RoundUp(c.Status.AllocatedResources)
}

// alignDataSources fills the old or the new way to name a claim's source from
// the other.
func alignDataSources(s *corev1.PersistentVolumeClaimSpec) {
	d := s.DataSource
	switch {
	case s.DataSourceRef == nil && d != nil:
		s.DataSourceRef = &corev1.TypedObjectReference{APIGroup: d.APIGroup, Kind: d.Kind, Name: d.Name}
	case s.DataSourceRef != nil && d == nil:
		r := s.DataSourceRef
		if knownSource(r) && (r.Namespace == nil || *r.Namespace == "") {
			s.DataSource = &corev1.TypedLocalObjectReference{APIGroup: r.APIGroup, Kind: r.Kind, Name: r.Name}
		}
	}
}

// knownSource: the old field can only hold claims and snapshots.
func knownSource(r *corev1.TypedObjectReference) bool {
	group := ""
	if r.APIGroup != nil {
		group = *r.APIGroup
	}
	return group == "" && r.Kind == "PersistentVolumeClaim" || group == "snapshot.storage.k8s.io" && r.Kind == "VolumeSnapshot"
}

func validateClaim(c *corev1.PersistentVolumeClaim) field.ErrorList {
	return podspec.ValidateClaimSpec(field.NewPath("spec"), &c.Spec)
}

func claimColumns() []registry.Column {
	return []registry.Column{
		row.NameColumn(),
		row.Text("Status", func(c *corev1.PersistentVolumeClaim) any {
			if c.DeletionTimestamp != nil {
				return "Terminating"
			}
			return string(c.Status.Phase)
		}),
		row.Text("Volume", func(c *corev1.PersistentVolumeClaim) any { return c.Spec.VolumeName }),
		row.Text("Capacity", func(c *corev1.PersistentVolumeClaim) any {
			if c.Spec.VolumeName == "" {
				return ""
			}
			return storageCell(c.Status.Capacity)
		}),
		row.Text("Access Modes", func(c *corev1.PersistentVolumeClaim) any {
			if c.Spec.VolumeName == "" {
				return ""
			}
			return accessModes(c.Status.AccessModes)
		}),
		row.Text("StorageClass", func(c *corev1.PersistentVolumeClaim) any {
			if class, ok := c.Annotations[corev1.BetaStorageClassAnnotation]; ok {
				return class
			}
			return row.Pointed(c.Spec.StorageClassName)
		}),
		row.Text("VolumeAttributesClass", func(c *corev1.PersistentVolumeClaim) any {
			return row.PointedOrUnset(c.Spec.VolumeAttributesClassName)
		}),
		row.AgeColumn(),
		row.Wide(row.Text("VolumeMode", func(c *corev1.PersistentVolumeClaim) any { return row.PointedOrUnset(c.Spec.VolumeMode) })),
	}
}
