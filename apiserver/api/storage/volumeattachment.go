package storage

import (
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

// How much a driver can say about an attachment.
const (
	maxMessage      = 1024
	maxMetadataSize = 256 * 1024
)

func volumeAttachments() *registry.Resource {
	return &registry.Resource{
		Kind: kind("VolumeAttachment"), Name: "volumeattachments", Singular: "volumeattachment",
		Verbs: row.AllVerbs(), StoragePrefix: "volumeattachments", New: row.New[storagev1.VolumeAttachment], NewList: row.New[storagev1.VolumeAttachmentList],
		Strategy: registry.Strategy{
			PrepareForCreate: registry.Prepare(func(a *storagev1.VolumeAttachment) { a.Status = storagev1.VolumeAttachmentStatus{} }),
			PrepareForUpdate: registry.PrepareUpdate(func(a, old *storagev1.VolumeAttachment) { a.Status = old.Status }),
			Validate:         registry.Check(validateAttachment),
			ValidateUpdate:   registry.CheckUpdate(validateAttachmentUpdate),
			RequireVersion:   true,
		},
		Columns: []registry.Column{
			row.NameColumn(),
			attacherColumn(),
			row.Text("PV", func(a *storagev1.VolumeAttachment) any { return row.Pointed(a.Spec.Source.PersistentVolumeName) }),
			row.Text("Node", func(a *storagev1.VolumeAttachment) any { return a.Spec.NodeName }),
			row.Boolean("Attached", func(a *storagev1.VolumeAttachment) any { return a.Status.Attached }),
			row.AgeColumn(),
		},
		Subresources: []registry.Subresource{row.Status(registry.Strategy{
			PrepareForUpdate: registry.PrepareUpdate(func(a, old *storagev1.VolumeAttachment) {
				a.Spec = old.Spec
				metav1.ResetObjectMetaForStatus(&a.ObjectMeta, &old.ObjectMeta)
			}),
			ValidateUpdate: registry.CheckUpdate(validateAttachmentUpdate),
		})},
	}
}

func attacherColumn() registry.Column {
	c := row.Text("Attacher", func(a *storagev1.VolumeAttachment) any { return a.Spec.Attacher })
	c.Format = "name"
	return c
}

func validateAttachment(a *storagev1.VolumeAttachment) field.ErrorList {
	spec := field.NewPath("spec")
	errs := podspec.ValidateCSIDriverName(spec.Child("attacher"), a.Spec.Attacher)
	source := spec.Child("source")
	switch s := a.Spec.Source; {
	case s.InlineVolumeSpec == nil && s.PersistentVolumeName == nil:
		errs = append(errs, field.Required(source, "must specify exactly one of inlineVolumeSpec and persistentVolumeName"))
	case s.InlineVolumeSpec != nil && s.PersistentVolumeName != nil:
		errs = append(errs, field.Forbidden(source, "must specify exactly one of inlineVolumeSpec and persistentVolumeName"))
	case s.PersistentVolumeName != nil && *s.PersistentVolumeName == "":
		errs = append(errs, field.Required(source.Child("persistentVolumeName"), "must specify non empty persistentVolumeName"))
	case s.InlineVolumeSpec != nil:
		errs = append(errs, podspec.ValidatePersistentSource(source.Child("inlineVolumeSpec"), &s.InlineVolumeSpec.PersistentVolumeSource)...)
	}
	errs = append(errs, rule.DNSSubdomain(spec.Child("nodeName"), a.Spec.NodeName)...)
	return append(errs, validateAttachmentStatus(field.NewPath("status"), &a.Status)...)
}

func validateAttachmentStatus(at *field.Path, s *storagev1.VolumeAttachmentStatus) field.ErrorList {
	var errs field.ErrorList
	size := 0
	for key, value := range s.AttachmentMetadata {
		size += len(key) + len(value)
	}
	if size > maxMetadataSize {
		errs = append(errs, field.TooLong(at.Child("attachmentMetadata"), "", maxMetadataSize))
	}
	for _, e := range []struct {
		name string
		err  *storagev1.VolumeError
	}{{"attachError", s.AttachError}, {"detachError", s.DetachError}} {
		if e.err == nil {
			continue
		}
		errs = append(errs, rule.MaxLength(at.Child(e.name, "message"), e.err.Message, maxMessage)...)
		errs = append(errs, rule.NonNegativePtr(at.Child(e.name, "errorCode"), e.err.ErrorCode)...)
	}
	return errs
}

func validateAttachmentUpdate(a, old *storagev1.VolumeAttachment) field.ErrorList {
	return append(validateAttachment(a), rule.Immutable(field.NewPath("spec"), a.Spec, old.Spec)...)
}
