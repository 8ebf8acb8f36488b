package storage

import (
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

func volumeAttributesClasses() *registry.Resource {
	validate := func(c *storagev1.VolumeAttributesClass) field.ErrorList {
		return append(podspec.ValidateCSIDriverName(field.NewPath("driverName"), c.DriverName), validateParameters(c.Parameters, false)...)
	}
	return &registry.Resource{
		Kind: kind("VolumeAttributesClass"), Name: "volumeattributesclasses", Singular: "volumeattributesclass", ShortNames: []string{"vac"},
		Verbs: row.AllVerbs(), StoragePrefix: "volumeattributesclasses",
		New: row.New[storagev1.VolumeAttributesClass], NewList: row.New[storagev1.VolumeAttributesClassList],
		Strategy: registry.Strategy{
			Validate: registry.Check(validate),
			ValidateUpdate: registry.CheckUpdate(func(c, old *storagev1.VolumeAttributesClass) field.ErrorList {
				errs := validate(c)
				if c.DriverName != old.DriverName {
					errs = append(errs, field.Forbidden(field.NewPath("driverName"), "updates to driverName are forbidden."))
				}
				return append(errs, rule.Immutable(field.NewPath("parameters"), c.Parameters, old.Parameters)...)
			}),
		},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("DriverName", func(c *storagev1.VolumeAttributesClass) any { return c.DriverName }),
			row.AgeColumn(),
		},
	}
}
