// Package node holds the rows of the node.k8s.io group: runtime classes.
package node

import (
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

// Resources returns the rows of the group.
func Resources() []*registry.Resource { return []*registry.Resource{runtimeClasses()} }

func runtimeClasses() *registry.Resource {
	return &registry.Resource{
		Kind: nodev1.SchemeGroupVersion.WithKind("RuntimeClass"), Name: "runtimeclasses", Singular: "runtimeclass",
		Verbs: row.AllVerbs(), StoragePrefix: "runtimeclasses", New: row.New[nodev1.RuntimeClass], NewList: row.New[nodev1.RuntimeClassList],
		Strategy: registry.Strategy{
			Default: registry.Do(func(c *nodev1.RuntimeClass) {
				if c.Overhead != nil {
					podspec.RoundUp(c.Overhead.PodFixed)
				}
			}),
			Validate: registry.Check(validateRuntimeClass),
			ValidateUpdate: registry.CheckUpdate(func(c, old *nodev1.RuntimeClass) field.ErrorList {
				return append(validateRuntimeClass(c), rule.Immutable(field.NewPath("handler"), c.Handler, old.Handler)...)
			}),
			RequireVersion: true,
		},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("Handler", func(c *nodev1.RuntimeClass) any { return c.Handler }),
			row.AgeColumn(),
		},
	}
}

func validateRuntimeClass(c *nodev1.RuntimeClass) field.ErrorList {
	var errs field.ErrorList
	if c.Handler == "" {
		errs = append(errs, field.Required(field.NewPath("handler"), ""))
	} else {
		errs = append(errs, rule.DNSLabel(field.NewPath("handler"), c.Handler)...)
	}
	if c.Overhead != nil {
		errs = append(errs, podspec.ValidateRequirements(field.NewPath("overhead", "podFixed"), &corev1.ResourceRequirements{Limits: c.Overhead.PodFixed})...)
	}
	if s := c.Scheduling; s != nil {
		at := field.NewPath("scheduling")
		errs = append(errs, metavalidation.ValidateLabels(s.NodeSelector, at.Child("nodeSelector"))...)
		errs = append(errs, podspec.ValidateTolerations(at.Child("tolerations"), s.Tolerations)...)
	}
	return errs
}
