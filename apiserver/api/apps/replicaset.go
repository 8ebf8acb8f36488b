package apps

import (
	"context"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

func replicaSets() *registry.Resource {
	return &registry.Resource{
		Kind: kind("ReplicaSet"), Name: "replicasets", Singular: "replicaset", ShortNames: []string{"rs"}, Categories: []string{"all"},
		Namespaced: true, Verbs: row.AllVerbs(), StoragePrefix: "replicasets",
		New: row.New[appsv1.ReplicaSet], NewList: row.New[appsv1.ReplicaSetList],
		Strategy: registry.Strategy{
			Default: registry.Do(defaultReplicaSet),
			PrepareForCreate: registry.Prepare(func(r *appsv1.ReplicaSet) {
				r.Status = appsv1.ReplicaSetStatus{}
				r.Generation = 1
			}),
			PrepareForUpdate: registry.PrepareUpdate(func(r, old *appsv1.ReplicaSet) {
				r.Status = old.Status
				row.NextGeneration(r, old, !row.Same(r.Spec, old.Spec))
			}),
			Validate: registry.Check(func(r *appsv1.ReplicaSet) field.ErrorList { return validateReplicaSet(r, nil) }),
			ValidateUpdate: registry.CheckUpdate(func(r, old *appsv1.ReplicaSet) field.ErrorList {
				errs := validateReplicaSet(r, old.Spec.Selector)
				return append(errs, rule.Immutable(field.NewPath("spec", "selector"), r.Spec.Selector, old.Spec.Selector)...)
			}),
			Warnings: func(_ context.Context, o, old runtime.Object) []string {
				if was, ok := typed[*appsv1.ReplicaSet](old); ok {
					return templateWarnings(&o.(*appsv1.ReplicaSet).Spec.Template, &was.Spec.Template)
				}
				return templateWarnings(&o.(*appsv1.ReplicaSet).Spec.Template, nil)
			},
		},
		Columns: replicaSetColumns(),
		Fields: func(o runtime.Object) fields.Set {
			return fields.Set{"status.replicas": strconv.Itoa(int(o.(*appsv1.ReplicaSet).Status.Replicas))}
		},
		Subresources: []registry.Subresource{
			row.Scale(row.Scalable[*appsv1.ReplicaSet]{
				Read: func(r *appsv1.ReplicaSet) (int32, int32, string, error) {
					return selected(r.Spec.Replicas, r.Status.Replicas, r.Spec.Selector)
				},
				Set: func(r *appsv1.ReplicaSet, n int32) { r.Spec.Replicas = &n },
			}),
			row.Status(registry.Strategy{
				Default:          registry.Do(defaultReplicaSet),
				PrepareForUpdate: registry.PrepareUpdate(func(r, old *appsv1.ReplicaSet) { r.Spec = old.Spec }),
				ValidateUpdate:   registry.CheckUpdate(validateReplicaSetStatus),
			}),
		},
	}
}

func defaultReplicaSet(r *appsv1.ReplicaSet) {
	podspec.DefaultTemplate(&r.Spec.Template)
	defaultInt(&r.Spec.Replicas, 1)
}

func validateReplicaSet(r *appsv1.ReplicaSet, oldSelector *metav1.LabelSelector) field.ErrorList {
	spec := field.NewPath("spec")
	errs := rule.NonNegativePtr(spec.Child("replicas"), r.Spec.Replicas)
	errs = append(errs, rule.NonNegative(spec.Child("minReadySeconds"), r.Spec.MinReadySeconds)...)
	selector, found := podspec.ValidateSelector(spec.Child("selector"), r.Spec.Selector, oldSelector, "deployment")
	errs = append(errs, found...)
	return append(errs, podspec.ValidateWorkloadTemplate(spec.Child("template"), &r.Spec.Template, selector)...)
}

func validateReplicaSetStatus(r, _ *appsv1.ReplicaSet) field.ErrorList {
	at, s := field.NewPath("status"), &r.Status
	errs := validateCounts(at, s.Replicas, s.ReadyReplicas, s.AvailableReplicas, s.ObservedGeneration)
	errs = append(errs, rule.NonNegative(at.Child("fullyLabeledReplicas"), s.FullyLabeledReplicas)...)
	if s.FullyLabeledReplicas > s.Replicas {
		errs = append(errs, field.Invalid(at.Child("fullyLabeledReplicas"), s.FullyLabeledReplicas, moreThanAll))
	}
	return errs
}

func replicaSetColumns() []registry.Column {
	columns := []registry.Column{
		row.NameColumn(),
		row.Integer("Desired", func(r *appsv1.ReplicaSet) any { return int64(row.Pointed(r.Spec.Replicas)) }),
		row.Integer("Current", func(r *appsv1.ReplicaSet) any { return int64(r.Status.Replicas) }),
		row.Integer("Ready", func(r *appsv1.ReplicaSet) any { return int64(r.Status.ReadyReplicas) }),
		row.AgeColumn(),
	}
	columns = append(columns, row.ContainerColumns(func(r *appsv1.ReplicaSet) *corev1.PodTemplateSpec { return &r.Spec.Template })...)
	return append(columns, row.Wide(row.Text("Selector", func(r *appsv1.ReplicaSet) any { return row.Selector(r.Spec.Selector) })))
}
