package core

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

func replicationControllers() *registry.Resource {
	return &registry.Resource{
		Kind: kind("ReplicationController"), Name: "replicationcontrollers", Singular: "replicationcontroller",
		ShortNames: []string{"rc"}, Categories: []string{"all"}, Namespaced: true, Verbs: row.AllVerbs(), StoragePrefix: "controllers",
		New: row.New[corev1.ReplicationController], NewList: row.New[corev1.ReplicationControllerList],
		Strategy: registry.Strategy{
			Default: registry.Do(defaultController),
			PrepareForCreate: registry.Prepare(func(c *corev1.ReplicationController) {
				c.Status = corev1.ReplicationControllerStatus{}
				c.Generation = 1
			}),
			PrepareForUpdate: registry.PrepareUpdate(func(c, old *corev1.ReplicationController) {
				c.Status = old.Status
				row.NextGeneration(c, old, !row.Same(c.Spec, old.Spec))
			}),
			Validate:       registry.Check(validateController),
			ValidateUpdate: registry.CheckUpdate(func(c, _ *corev1.ReplicationController) field.ErrorList { return validateController(c) }),
		},
		Delete:  registry.DeleteStrategy{OrphanByDefault: true},
		Columns: controllerColumns(),
		Fields: func(o runtime.Object) fields.Set {
			return fields.Set{"status.replicas": strconv.Itoa(int(o.(*corev1.ReplicationController).Status.Replicas))}
		},
		Subresources: []registry.Subresource{
			row.Scale(row.Scalable[*corev1.ReplicationController]{Read: readController, Set: setControllerReplicas}),
			row.Status(registry.Strategy{
				Default:          registry.Do(defaultController),
				PrepareForUpdate: registry.PrepareUpdate(func(c, old *corev1.ReplicationController) { c.Spec = old.Spec }),
				ValidateUpdate:   registry.CheckUpdate(validateControllerStatus),
			}),
		},
	}
}

func defaultController(c *corev1.ReplicationController) {
	if c.Spec.Template != nil {
		podspec.DefaultTemplate(c.Spec.Template)
		if own := c.Spec.Template.Labels; len(own) > 0 {
			if len(c.Spec.Selector) == 0 {
				c.Spec.Selector = copied(own)
			}
			if len(c.Labels) == 0 {
				c.Labels = copied(own)
			}
		}
	}
	if c.Spec.Replicas == nil {
		one := int32(1)
		c.Spec.Replicas = &one
	}
}

func copied(m map[string]string) map[string]string {
	c := make(map[string]string, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

func validateController(c *corev1.ReplicationController) field.ErrorList {
	spec := field.NewPath("spec")
	errs := rule.NonNegative(spec.Child("minReadySeconds"), c.Spec.MinReadySeconds)
	selector := labels.Set(c.Spec.Selector).AsSelectorPreValidated()
	if selector.Empty() {
		errs = append(errs, field.Required(spec.Child("selector"), ""))
	}
	errs = append(errs, rule.NonNegativePtr(spec.Child("replicas"), c.Spec.Replicas)...)
	if c.Spec.Template == nil {
		return append(errs, field.Required(spec.Child("template"), ""))
	}
	return append(errs, podspec.ValidateWorkloadTemplate(spec.Child("template"), c.Spec.Template, selector)...)
}

func validateControllerStatus(c, _ *corev1.ReplicationController) field.ErrorList {
	return ValidateReplicaCounts(field.NewPath("status"), c.Status.Replicas, c.Status.FullyLabeledReplicas,
		c.Status.ReadyReplicas, c.Status.AvailableReplicas, c.Status.ObservedGeneration)
}

// ValidateReplicaCounts wants the counts of a status to be possible: none below
// zero, no part above the whole.
func ValidateReplicaCounts(status *field.Path, all, labeled, ready, available int32, generation int64) field.ErrorList {
	errs := rule.NonNegative(status.Child("replicas"), all)
	errs = append(errs, rule.NonNegative(status.Child("fullyLabeledReplicas"), labeled)...)
	errs = append(errs, rule.NonNegative(status.Child("readyReplicas"), ready)...)
	errs = append(errs, rule.NonNegative(status.Child("availableReplicas"), available)...)
	errs = append(errs, rule.NonNegative(status.Child("observedGeneration"), generation)...)
	const tooMany = "cannot be greater than status.replicas"
	if labeled > all {
		errs = append(errs, field.Invalid(status.Child("fullyLabeledReplicas"), labeled, tooMany))
	}
	if ready > all {
		errs = append(errs, field.Invalid(status.Child("readyReplicas"), ready, tooMany))
	}
	if available > all {
		errs = append(errs, field.Invalid(status.Child("availableReplicas"), available, tooMany))
	}
	if available > ready {
		errs = append(errs, field.Invalid(status.Child("availableReplicas"), available, "cannot be greater than readyReplicas"))
	}
	return errs
}

func readController(c *corev1.ReplicationController) (int32, int32, string, error) {
	return row.Pointed(c.Spec.Replicas), c.Status.Replicas, labels.SelectorFromSet(c.Spec.Selector).String(), nil
}

func setControllerReplicas(c *corev1.ReplicationController, n int32) { c.Spec.Replicas = &n }

func controllerColumns() []registry.Column {
	columns := []registry.Column{
		row.NameColumn(),
		row.Integer("Desired", func(c *corev1.ReplicationController) any { return int64(row.Pointed(c.Spec.Replicas)) }),
		row.Integer("Current", func(c *corev1.ReplicationController) any { return int64(c.Status.Replicas) }),
		row.Integer("Ready", func(c *corev1.ReplicationController) any { return int64(c.Status.ReadyReplicas) }),
		row.AgeColumn(),
	}
	columns = append(columns, row.ContainerColumns(func(c *corev1.ReplicationController) *corev1.PodTemplateSpec { return c.Spec.Template })...)
	return append(columns, row.Wide(row.Text("Selector", func(c *corev1.ReplicationController) any { return row.SelectorMap(c.Spec.Selector) })))
}
