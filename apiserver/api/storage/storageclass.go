package storage

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

// How much a class can tell its provisioner.
const (
	maxParameters     = 512
	maxParametersSize = 256 * 1024
	defaultClass      = "storageclass.kubernetes.io/is-default-class"
	betaDefaultClass  = "storageclass.beta.kubernetes.io/is-default-class"
)

func storageClasses() *registry.Resource {
	return &registry.Resource{
		Kind: kind("StorageClass"), Name: "storageclasses", Singular: "storageclass", ShortNames: []string{"sc"},
		Verbs: row.AllVerbs(), StoragePrefix: "storageclasses", New: row.New[storagev1.StorageClass], NewList: row.New[storagev1.StorageClassList],
		Strategy: registry.Strategy{
			Default:        registry.Do(defaultStorageClass),
			Validate:       registry.Check(validateStorageClass),
			ValidateUpdate: registry.CheckUpdate(validateStorageClassUpdate),
			RequireVersion: true,
		},
		Columns: []registry.Column{
			defaultNameColumn(),
			row.Text("Provisioner", func(c *storagev1.StorageClass) any { return c.Provisioner }),
			row.Text("ReclaimPolicy", func(c *storagev1.StorageClass) any { return string(row.Pointed(c.ReclaimPolicy)) }),
			row.Text("VolumeBindingMode", func(c *storagev1.StorageClass) any { return row.PointedOrUnset(c.VolumeBindingMode) }),
			row.Text("AllowVolumeExpansion", func(c *storagev1.StorageClass) any { return strconv.FormatBool(row.Pointed(c.AllowVolumeExpansion)) }),
			row.AgeColumn(),
		},
	}
}

// defaultNameColumn marks the class that claims get which name none.
func defaultNameColumn() registry.Column {
	c := row.NameColumn()
	marked := row.Text(c.Name, func(s *storagev1.StorageClass) any {
		if s.Annotations[defaultClass] == "true" || s.Annotations[betaDefaultClass] == "true" {
			return s.Name + " (default)"
		}
		return s.Name
	})
	marked.Format, marked.Description = c.Format, c.Description
	return marked
}

func defaultStorageClass(c *storagev1.StorageClass) {
	if c.ReclaimPolicy == nil {
		policy := corev1.PersistentVolumeReclaimDelete
		c.ReclaimPolicy = &policy
	}
	if c.VolumeBindingMode == nil {
		mode := storagev1.VolumeBindingImmediate
		c.VolumeBindingMode = &mode
	}
}

func validateStorageClass(c *storagev1.StorageClass) field.ErrorList {
	errs := validateProvisioner(field.NewPath("provisioner"), c.Provisioner)
	errs = append(errs, validateParameters(c.Parameters, true)...)
	errs = append(errs, rule.OptionalOneOf(field.NewPath("reclaimPolicy"), c.ReclaimPolicy,
		corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRetain)...)
	if c.VolumeBindingMode == nil {
		errs = append(errs, field.Required(field.NewPath("volumeBindingMode"), ""))
	}
	errs = append(errs, rule.OptionalOneOf(field.NewPath("volumeBindingMode"), c.VolumeBindingMode,
		storagev1.VolumeBindingImmediate, storagev1.VolumeBindingWaitForFirstConsumer)...)
	return append(errs, validateTopologies(field.NewPath("allowedTopologies"), c.AllowedTopologies)...)
}

func validateProvisioner(at *field.Path, name string) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	return rule.QualifiedName(at, strings.ToLower(name))
}

func validateParameters(parameters map[string]string, mayBeEmpty bool) field.ErrorList {
	at := field.NewPath("parameters")
	if len(parameters) > maxParameters {
		return field.ErrorList{field.TooLong(at, "", maxParameters)}
	}
	size := 0
	var errs field.ErrorList
	for key, value := range parameters {
		if key == "" {
			errs = append(errs, field.Invalid(at, key, "field must not be empty."))
		}
		size += len(key) + len(value)
	}
	if size > maxParametersSize {
		errs = append(errs, field.TooLong(at, "", maxParametersSize))
	}
	if len(parameters) == 0 && !mayBeEmpty {
		errs = append(errs, field.Required(at, "must contain at least one key/value pair"))
	}
	return errs
}

func validateTopologies(at *field.Path, terms []corev1.TopologySelectorTerm) field.ErrorList {
	var errs field.ErrorList
	for i, t := range terms {
		keys := sets.New[string]()
		for j, e := range t.MatchLabelExpressions {
			p := at.Index(i).Child("matchLabelExpressions").Index(j)
			if len(e.Values) == 0 {
				errs = append(errs, field.Required(p.Child("values"), ""))
			}
			for k, v := range e.Values {
				errs = append(errs, rule.Invalid(p.Child("values").Index(k), v, validation.IsValidLabelValue(v))...)
			}
			errs = append(errs, rule.QualifiedName(p.Child("key"), e.Key)...)
			if keys.Has(e.Key) {
				errs = append(errs, field.Duplicate(p.Child("key"), e.Key))
			}
			keys.Insert(e.Key)
		}
	}
	return errs
}

func validateStorageClassUpdate(c, old *storagev1.StorageClass) field.ErrorList {
	errs := validateStorageClass(c)
	if !row.Same(c.Parameters, old.Parameters) {
		errs = append(errs, field.Forbidden(field.NewPath("parameters"), "updates to parameters are forbidden."))
	}
	if c.Provisioner != old.Provisioner {
		errs = append(errs, field.Forbidden(field.NewPath("provisioner"), "updates to provisioner are forbidden."))
	}
	if row.Pointed(c.ReclaimPolicy) != row.Pointed(old.ReclaimPolicy) {
		errs = append(errs, field.Forbidden(field.NewPath("reclaimPolicy"), "updates to reclaimPolicy are forbidden."))
	}
	return append(errs, rule.Immutable(field.NewPath("volumeBindingMode"), c.VolumeBindingMode, old.VolumeBindingMode)...)
}
