package podspec

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

// ValidateClaimSpec returns what is wrong with a claim for a volume, be it an
// object of its own or a template in another.
func ValidateClaimSpec(path *field.Path, s *corev1.PersistentVolumeClaimSpec) field.ErrorList {
	errs := ValidateAccessModes(path.Child("accessModes"), s.AccessModes)
	errs = append(errs, rule.Selector(path.Child("selector"), s.Selector)...)
	storage, ok := s.Resources.Requests[corev1.ResourceStorage]
	request := path.Child("resources").Key(string(corev1.ResourceStorage))
	switch {
	case !ok:
		errs = append(errs, field.Required(request, ""))
	case storage.Sign() <= 0:
		errs = append(errs, field.Invalid(request, storage.String(), rule.NotPositive))
	}
	if s.StorageClassName != nil && *s.StorageClassName != "" {
		errs = append(errs, rule.DNSSubdomain(path.Child("storageClassName"), *s.StorageClassName)...)
	}
	errs = append(errs, rule.OptionalOneOf(path.Child("volumeMode"), s.VolumeMode, corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)...)
	errs = append(errs, validateDataSources(path, s)...)
	if s.VolumeAttributesClassName != nil && *s.VolumeAttributesClassName != "" {
		errs = append(errs, rule.DNSSubdomain(path.Child("volumeAttributesClassName"), *s.VolumeAttributesClassName)...)
	}
	return errs
}

// ValidateAccessModes wants at least one mode, and no other beside exclusive
// use by one pod.
func ValidateAccessModes(path *field.Path, modes []corev1.PersistentVolumeAccessMode) field.ErrorList {
	if len(modes) == 0 {
		return field.ErrorList{field.Required(path, "at least 1 access mode is required")}
	}
	var errs field.ErrorList
	exclusive, shared := false, false
	for _, m := range modes {
		errs = append(errs, rule.Supported(path, m,
			corev1.ReadWriteOnce, corev1.ReadOnlyMany, corev1.ReadWriteMany, corev1.ReadWriteOncePod)...)
		exclusive = exclusive || m == corev1.ReadWriteOncePod
		shared = shared || m != corev1.ReadWriteOncePod
	}
	if exclusive && shared {
		errs = append(errs, field.Forbidden(path, "may not use ReadWriteOncePod with other access modes"))
	}
	return errs
}

func validateDataSources(path *field.Path, s *corev1.PersistentVolumeClaimSpec) field.ErrorList {
	var errs field.ErrorList
	if d := s.DataSource; d != nil {
		at := path.Child("dataSource")
		errs = append(errs, needed(at, need{"name", d.Name}, need{"kind", d.Kind})...)
		if (d.APIGroup == nil || *d.APIGroup == "") && d.Kind != "PersistentVolumeClaim" {
			errs = append(errs, field.Invalid(at, d.Kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup"))
		}
	}
	d := s.DataSourceRef
	if d == nil {
		return errs
	}
	at := path.Child("dataSourceRef")
	errs = append(errs, needed(at, need{"name", d.Name}, need{"kind", d.Kind})...)
	if d.APIGroup != nil && *d.APIGroup != "" {
		errs = append(errs, rule.Invalid(at.Child("apiGroup"), *d.APIGroup, subdomain(strings.ToLower(*d.APIGroup)))...)
	} else if d.Kind != "PersistentVolumeClaim" {
		errs = append(errs, field.Invalid(at, d.Kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup"))
	}
	if d.Namespace != nil && *d.Namespace != "" {
		errs = append(errs, rule.DNSLabel(at.Child("namespace"), *d.Namespace)...)
		if s.DataSource != nil {
			errs = append(errs, field.Invalid(path, path.Child("dataSource").String(), "may not be specified when dataSourceRef.namespace is specified"))
		}
		return errs
	}
	return append(errs, sameDataSource(path, s)...)
}

// sameDataSource wants the old and the new way to name a claim's source to
// agree where both are used.
func sameDataSource(path *field.Path, s *corev1.PersistentVolumeClaimSpec) field.ErrorList {
	if s.DataSource == nil {
		return nil
	}
	d := s.DataSourceRef
	var group, oldGroup string
	if d.APIGroup != nil {
		group = *d.APIGroup
	}
	if s.DataSource.APIGroup != nil {
		oldGroup = *s.DataSource.APIGroup
	}
	if group == oldGroup && s.DataSource.Kind == d.Kind && s.DataSource.Name == d.Name {
		return nil
	}
	return field.ErrorList{field.Invalid(path, path.Child("dataSource").String(), "must match dataSourceRef")}
}
