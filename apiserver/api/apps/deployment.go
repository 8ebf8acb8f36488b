package apps

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

func deployments() *registry.Resource {
	return &registry.Resource{
		Kind: kind("Deployment"), Name: "deployments", Singular: "deployment", ShortNames: []string{"deploy"}, Categories: []string{"all"},
		Namespaced: true, Verbs: row.AllVerbs(), StoragePrefix: "deployments",
		New: row.New[appsv1.Deployment], NewList: row.New[appsv1.DeploymentList],
		Strategy: registry.Strategy{
			Default: registry.Do(defaultDeployment),
			PrepareForCreate: registry.Prepare(func(d *appsv1.Deployment) {
				d.Status = appsv1.DeploymentStatus{}
				d.Generation = 1
			}),
			PrepareForUpdate: registry.PrepareUpdate(func(d, old *appsv1.Deployment) {
				d.Status = old.Status
				row.NextGeneration(d, old, !row.Same(d.Spec, old.Spec) || !row.Same(d.Annotations, old.Annotations))
			}),
			Validate:       registry.Check(func(d *appsv1.Deployment) field.ErrorList { return validateDeployment(d, nil) }),
			ValidateUpdate: registry.CheckUpdate(validateDeploymentUpdate),
			Warnings: func(_ context.Context, o, old runtime.Object) []string {
				if was, ok := typed[*appsv1.Deployment](old); ok {
					return templateWarnings(&o.(*appsv1.Deployment).Spec.Template, &was.Spec.Template)
				}
				return templateWarnings(&o.(*appsv1.Deployment).Spec.Template, nil)
			},
		},
		Columns: deploymentColumns(),
		Subresources: []registry.Subresource{
			row.Scale(row.Scalable[*appsv1.Deployment]{
				Read: func(d *appsv1.Deployment) (int32, int32, string, error) {
					return selected(d.Spec.Replicas, d.Status.Replicas, d.Spec.Selector)
				},
				Set: func(d *appsv1.Deployment, n int32) { d.Spec.Replicas = &n },
			}),
			row.Status(registry.Strategy{
				Default: registry.Do(defaultDeployment),
				PrepareForUpdate: registry.PrepareUpdate(func(d, old *appsv1.Deployment) {
					d.Spec, d.Labels = old.Spec, old.Labels
				}),
				ValidateUpdate: registry.CheckUpdate(validateDeploymentStatus),
				Untouched:      []string{"spec", "metadata.labels"},
			}),
		},
	}
}

func defaultDeployment(d *appsv1.Deployment) {
	podspec.DefaultTemplate(&d.Spec.Template)
	defaultInt(&d.Spec.Replicas, 1)
	defaultInt(&d.Spec.RevisionHistoryLimit, 10)
	defaultInt(&d.Spec.ProgressDeadlineSeconds, 600)
	s := &d.Spec.Strategy
	if s.Type == "" {
		s.Type = appsv1.RollingUpdateDeploymentStrategyType
	}
	if s.Type != appsv1.RollingUpdateDeploymentStrategyType {
		return
	}
	if s.RollingUpdate == nil {
		s.RollingUpdate = &appsv1.RollingUpdateDeployment{}
	}
	quarter := intstr.FromString("25%")
	if s.RollingUpdate.MaxUnavailable == nil {
		s.RollingUpdate.MaxUnavailable = &quarter
	}
	if s.RollingUpdate.MaxSurge == nil {
		surge := quarter
		s.RollingUpdate.MaxSurge = &surge
	}
}

func validateDeployment(d, old *appsv1.Deployment) field.ErrorList {
	spec := field.NewPath("spec")
	errs := rule.NonNegativePtr(spec.Child("replicas"), d.Spec.Replicas)
	var oldSelector *metav1.LabelSelector
	if old != nil {
		oldSelector = old.Spec.Selector
	}
	selector, found := podspec.ValidateSelector(spec.Child("selector"), d.Spec.Selector, oldSelector, "deployment")
	errs = append(errs, found...)
	errs = append(errs, podspec.ValidateWorkloadTemplate(spec.Child("template"), &d.Spec.Template, selector)...)
	errs = append(errs, validateDeploymentStrategy(spec.Child("strategy"), &d.Spec.Strategy)...)
	errs = append(errs, rule.NonNegative(spec.Child("minReadySeconds"), d.Spec.MinReadySeconds)...)
	errs = append(errs, rule.NonNegativePtr(spec.Child("revisionHistoryLimit"), d.Spec.RevisionHistoryLimit)...)
	if p := d.Spec.ProgressDeadlineSeconds; p != nil {
		errs = append(errs, rule.NonNegative(spec.Child("progressDeadlineSeconds"), *p)...)
		if *p <= d.Spec.MinReadySeconds {
			errs = append(errs, field.Invalid(spec.Child("progressDeadlineSeconds"), *p, "must be greater than minReadySeconds"))
		}
	}
	return errs
}

func validateDeploymentStrategy(at *field.Path, s *appsv1.DeploymentStrategy) field.ErrorList {
	rolling := at.Child("rollingUpdate")
	switch s.Type {
	case appsv1.RecreateDeploymentStrategyType:
		if s.RollingUpdate != nil {
			return field.ErrorList{field.Forbidden(rolling, "may not be specified when strategy `type` is '"+string(appsv1.RecreateDeploymentStrategyType)+"'")}
		}
		return nil
	case appsv1.RollingUpdateDeploymentStrategyType:
		if s.RollingUpdate == nil {
			return field.ErrorList{field.Required(rolling, "this should be defaulted and never be nil")}
		}
		return validateRolling(rolling, s.RollingUpdate.MaxUnavailable, s.RollingUpdate.MaxSurge)
	}
	return rule.Supported(at, s.Type, appsv1.RecreateDeploymentStrategyType, appsv1.RollingUpdateDeploymentStrategyType)
}

// validateRolling wants a rollout that can make a step: either one more than
// wished or one less must be allowed.
func validateRolling(at *field.Path, unavailable, surge *intstr.IntOrString) field.ErrorList {
	u, s := intstr.FromInt32(0), intstr.FromInt32(0)
	if unavailable != nil {
		u = *unavailable
	}
	if surge != nil {
		s = *surge
	}
	errs := rule.CountOrPercent(at.Child("maxUnavailable"), u)
	errs = append(errs, rule.CountOrPercent(at.Child("maxSurge"), s)...)
	if rule.CountOrZero(u) == 0 && rule.CountOrZero(s) == 0 {
		errs = append(errs, field.Invalid(at.Child("maxUnavailable"), u.String(), "may not be 0 when `maxSurge` is 0"))
	}
	return append(errs, rule.AtMostAll(at.Child("maxUnavailable"), u)...)
}

func validateDeploymentUpdate(d, old *appsv1.Deployment) field.ErrorList {
	errs := validateDeployment(d, old)
	return append(errs, rule.Immutable(field.NewPath("spec", "selector"), d.Spec.Selector, old.Spec.Selector)...)
}

func validateDeploymentStatus(d, old *appsv1.Deployment) field.ErrorList {
	at, s := field.NewPath("status"), &d.Status
	errs := validateCounts(at, s.Replicas, s.ReadyReplicas, s.AvailableReplicas, s.ObservedGeneration)
	errs = append(errs, rule.NonNegative(at.Child("updatedReplicas"), s.UpdatedReplicas)...)
	errs = append(errs, rule.NonNegative(at.Child("unavailableReplicas"), s.UnavailableReplicas)...)
	if s.UpdatedReplicas > s.Replicas {
		errs = append(errs, field.Invalid(at.Child("updatedReplicas"), s.UpdatedReplicas, moreThanAll))
	}
	return append(errs, validateCollisions(at, s.CollisionCount, old.Status.CollisionCount)...)
}

const moreThanAll = "cannot be greater than status.replicas"

func validateCounts(at *field.Path, all, ready, available int32, generation int64) field.ErrorList {
	errs := rule.NonNegative(at.Child("replicas"), all)
	errs = append(errs, rule.NonNegative(at.Child("readyReplicas"), ready)...)
	errs = append(errs, rule.NonNegative(at.Child("availableReplicas"), available)...)
	errs = append(errs, rule.NonNegative(at.Child("observedGeneration"), generation)...)
	if ready > all {
		errs = append(errs, field.Invalid(at.Child("readyReplicas"), ready, moreThanAll))
	}
	if available > all {
		errs = append(errs, field.Invalid(at.Child("availableReplicas"), available, moreThanAll))
	}
	if available > ready {
		errs = append(errs, field.Invalid(at.Child("availableReplicas"), available, "cannot be greater than readyReplicas"))
	}
	return errs
}

// validateCollisions: the count of name collisions only grows.
func validateCollisions(at *field.Path, n, old *int32) field.ErrorList {
	path := at.Child("collisionCount")
	errs := rule.NonNegativePtr(path, n)
	if old != nil && (n == nil || *n < *old) {
		errs = append(errs, field.Invalid(path, row.Pointed(n), "cannot be decremented"))
	}
	return errs
}

func deploymentColumns() []registry.Column {
	columns := []registry.Column{
		row.NameColumn(),
		row.Text("Ready", func(d *appsv1.Deployment) any {
			return row.Fraction(d.Status.ReadyReplicas, row.Pointed(d.Spec.Replicas))
		}),
		row.Text("Up-to-date", func(d *appsv1.Deployment) any { return int64(d.Status.UpdatedReplicas) }),
		row.Text("Available", func(d *appsv1.Deployment) any { return int64(d.Status.AvailableReplicas) }),
		row.AgeColumn(),
	}
	columns = append(columns, row.ContainerColumns(func(d *appsv1.Deployment) *corev1.PodTemplateSpec { return &d.Spec.Template })...)
	return append(columns, row.Wide(row.Text("Selector", func(d *appsv1.Deployment) any { return row.Selector(d.Spec.Selector) })))
}
