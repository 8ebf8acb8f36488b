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

func daemonSets() *registry.Resource {
	return &registry.Resource{
		Kind: kind("DaemonSet"), Name: "daemonsets", Singular: "daemonset", ShortNames: []string{"ds"}, Categories: []string{"all"},
		Namespaced: true, Verbs: row.AllVerbs(), StoragePrefix: "daemonsets",
		New: row.New[appsv1.DaemonSet], NewList: row.New[appsv1.DaemonSetList],
		Strategy: registry.Strategy{
			Default: registry.Do(defaultDaemonSet),
			PrepareForCreate: registry.Prepare(func(d *appsv1.DaemonSet) {
				d.Status = appsv1.DaemonSetStatus{}
				d.Generation = 1
			}),
			PrepareForUpdate: registry.PrepareUpdate(func(d, old *appsv1.DaemonSet) {
				d.Status = old.Status
				row.NextGeneration(d, old, !row.Same(d.Spec, old.Spec))
			}),
			Validate: registry.Check(func(d *appsv1.DaemonSet) field.ErrorList { return validateDaemonSet(d, nil) }),
			ValidateUpdate: registry.CheckUpdate(func(d, old *appsv1.DaemonSet) field.ErrorList {
				errs := validateDaemonSet(d, old.Spec.Selector)
				return append(errs, rule.Immutable(field.NewPath("spec", "selector"), d.Spec.Selector, old.Spec.Selector)...)
			}),
			Warnings: func(_ context.Context, o, old runtime.Object) []string {
				if was, ok := typed[*appsv1.DaemonSet](old); ok {
					return templateWarnings(&o.(*appsv1.DaemonSet).Spec.Template, &was.Spec.Template)
				}
				return templateWarnings(&o.(*appsv1.DaemonSet).Spec.Template, nil)
			},
		},
		Columns: daemonSetColumns(),
		Subresources: []registry.Subresource{row.Status(registry.Strategy{
			Default:          registry.Do(defaultDaemonSet),
			PrepareForUpdate: registry.PrepareUpdate(func(d, old *appsv1.DaemonSet) { d.Spec = old.Spec }),
			ValidateUpdate:   registry.CheckUpdate(validateDaemonSetStatus),
		})},
	}
}

func defaultDaemonSet(d *appsv1.DaemonSet) {
	podspec.DefaultTemplate(&d.Spec.Template)
	u := &d.Spec.UpdateStrategy
	if u.Type == "" {
		u.Type = appsv1.RollingUpdateDaemonSetStrategyType
	}
	if u.Type == appsv1.RollingUpdateDaemonSetStrategyType {
		if u.RollingUpdate == nil {
			u.RollingUpdate = &appsv1.RollingUpdateDaemonSet{}
		}
		if u.RollingUpdate.MaxUnavailable == nil {
			one := intstr.FromInt32(1)
			u.RollingUpdate.MaxUnavailable = &one
		}
		if u.RollingUpdate.MaxSurge == nil {
			none := intstr.FromInt32(0)
			u.RollingUpdate.MaxSurge = &none
		}
	}
	defaultInt(&d.Spec.RevisionHistoryLimit, 10)
}

func validateDaemonSet(d *appsv1.DaemonSet, oldSelector *metav1.LabelSelector) field.ErrorList {
	spec := field.NewPath("spec")
	selector, errs := podspec.ValidateSelector(spec.Child("selector"), d.Spec.Selector, oldSelector, "daemonset")
	errs = append(errs, podspec.ValidateWorkloadTemplate(spec.Child("template"), &d.Spec.Template, selector)...)
	errs = append(errs, rule.NonNegative(spec.Child("minReadySeconds"), d.Spec.MinReadySeconds)...)
	errs = append(errs, validateDaemonStrategy(spec.Child("updateStrategy"), &d.Spec.UpdateStrategy)...)
	return append(errs, rule.NonNegativePtr(spec.Child("revisionHistoryLimit"), d.Spec.RevisionHistoryLimit)...)
}

// validateDaemonStrategy: a node runs one daemon, so that a rollout either
// stops the old one first or starts the new one beside it, never both.
func validateDaemonStrategy(at *field.Path, u *appsv1.DaemonSetUpdateStrategy) field.ErrorList {
	if u.Type == appsv1.OnDeleteDaemonSetStrategyType {
		return nil
	}
	if u.Type != appsv1.RollingUpdateDaemonSetStrategyType {
		return rule.Supported(at.Child("type"), u.Type, appsv1.RollingUpdateDaemonSetStrategyType, appsv1.OnDeleteDaemonSetStrategyType)
	}
	rolling := at.Child("rollingUpdate")
	if u.RollingUpdate == nil {
		return field.ErrorList{field.Required(rolling, "")}
	}
	unavailable, surge := *u.RollingUpdate.MaxUnavailable, *u.RollingUpdate.MaxSurge
	errs := rule.CountOrPercent(rolling.Child("maxUnavailable"), unavailable)
	errs = append(errs, rule.AtMostAll(rolling.Child("maxUnavailable"), unavailable)...)
	errs = append(errs, rule.CountOrPercent(rolling.Child("maxSurge"), surge)...)
	errs = append(errs, rule.AtMostAll(rolling.Child("maxSurge"), surge)...)
	some, more := rule.CountOrZero(unavailable) != 0, rule.CountOrZero(surge) != 0
	switch {
	case some && more:
		errs = append(errs, field.Invalid(rolling.Child("maxSurge"), u.RollingUpdate.MaxSurge, "may not be set when maxUnavailable is non-zero"))
	case !some && !more:
		errs = append(errs, field.Required(rolling.Child("maxUnavailable"), "cannot be 0 when maxSurge is 0"))
	}
	return errs
}

func validateDaemonSetStatus(d, old *appsv1.DaemonSet) field.ErrorList {
	at, s := field.NewPath("status"), &d.Status
	errs := rule.NonNegative(at.Child("observedGeneration"), s.ObservedGeneration)
	for _, c := range []struct {
		name string
		n    int32
	}{
		{"currentNumberScheduled", s.CurrentNumberScheduled}, {"numberMisscheduled", s.NumberMisscheduled},
		{"desiredNumberScheduled", s.DesiredNumberScheduled}, {"numberReady", s.NumberReady},
		{"updatedNumberScheduled", s.UpdatedNumberScheduled}, {"numberAvailable", s.NumberAvailable},
		{"numberUnavailable", s.NumberUnavailable},
	} {
		errs = append(errs, rule.NonNegative(at.Child(c.name), c.n)...)
	}
	return append(errs, validateCollisions(at, s.CollisionCount, old.Status.CollisionCount)...)
}

func daemonSetColumns() []registry.Column {
	count := func(name string, n func(appsv1.DaemonSetStatus) int32) registry.Column {
		return row.Integer(name, func(d *appsv1.DaemonSet) any { return int64(n(d.Status)) })
	}
	columns := []registry.Column{
		row.NameColumn(),
		count("Desired", func(s appsv1.DaemonSetStatus) int32 { return s.DesiredNumberScheduled }),
		count("Current", func(s appsv1.DaemonSetStatus) int32 { return s.CurrentNumberScheduled }),
		count("Ready", func(s appsv1.DaemonSetStatus) int32 { return s.NumberReady }),
		count("Up-to-date", func(s appsv1.DaemonSetStatus) int32 { return s.UpdatedNumberScheduled }),
		count("Available", func(s appsv1.DaemonSetStatus) int32 { return s.NumberAvailable }),
		row.Text("Node Selector", func(d *appsv1.DaemonSet) any { return row.SelectorMap(d.Spec.Template.Spec.NodeSelector) }),
		row.AgeColumn(),
	}
	columns = append(columns, row.ContainerColumns(func(d *appsv1.DaemonSet) *corev1.PodTemplateSpec { return &d.Spec.Template })...)
	return append(columns, row.Wide(row.Text("Selector", func(d *appsv1.DaemonSet) any { return row.Selector(d.Spec.Selector) })))
}
