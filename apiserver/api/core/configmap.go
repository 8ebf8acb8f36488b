package core

import (
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

// maxDataSize is how many bytes a config map or a secret can hold.
const maxDataSize = corev1.MaxSecretSize

func configMaps() *registry.Resource {
	return &registry.Resource{
		Kind: kind("ConfigMap"), Name: "configmaps", Singular: "configmap", ShortNames: []string{"cm"}, Namespaced: true,
		Verbs: row.AllVerbs(), StoragePrefix: "configmaps", New: row.New[corev1.ConfigMap], NewList: row.New[corev1.ConfigMapList],
		Strategy: registry.Strategy{
			Default: registry.Do(func(c *corev1.ConfigMap) {
				if c.Data == nil {
					c.Data = map[string]string{}
				}
			}),
			Validate:       registry.Check(validateConfigMap),
			ValidateUpdate: registry.CheckUpdate(validateConfigMapUpdate),
		},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("Data", func(c *corev1.ConfigMap) any { return int64(len(c.Data) + len(c.BinaryData)) }),
			row.AgeColumn(),
		},
	}
}

func validateConfigMap(c *corev1.ConfigMap) field.ErrorList {
	var errs field.ErrorList
	total := 0
	for key, value := range c.Data {
		at := field.NewPath("data").Key(key)
		errs = append(errs, rule.Invalid(at, key, validation.IsConfigMapKey(key))...)
		if _, twice := c.BinaryData[key]; twice {
			errs = append(errs, field.Invalid(at, key, "duplicate of key present in binaryData"))
		}
		total += len(value)
	}
	for key, value := range c.BinaryData {
		errs = append(errs, rule.Invalid(field.NewPath("binaryData").Key(key), key, validation.IsConfigMapKey(key))...)
		total += len(value)
	}
	if total > maxDataSize {
		errs = append(errs, field.TooLong(field.NewPath(""), "", maxDataSize))
	}
	return errs
}

func validateConfigMapUpdate(c, old *corev1.ConfigMap) field.ErrorList {
	var errs field.ErrorList
	if old.Immutable != nil && *old.Immutable {
		errs = append(errs, stillImmutable(c.Immutable)...)
		errs = append(errs, unchanged("data", c.Data, old.Data)...)
		errs = append(errs, unchanged("binaryData", c.BinaryData, old.BinaryData)...)
	}
	return append(errs, validateConfigMap(c)...)
}

const immutableData = "field is immutable when `immutable` is set"

func stillImmutable(immutable *bool) field.ErrorList {
	if immutable == nil || !*immutable {
		return field.ErrorList{field.Forbidden(field.NewPath("immutable"), immutableData)}
	}
	return nil
}

func unchanged(name string, data, old any) field.ErrorList {
	if apiequality.Semantic.DeepEqual(data, old) {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath(name), immutableData)}
}
