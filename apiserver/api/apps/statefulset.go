package apps

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

func statefulSets() *registry.Resource {
	return &registry.Resource{
		Kind: kind("StatefulSet"), Name: "statefulsets", Singular: "statefulset", ShortNames: []string{"sts"}, Categories: []string{"all"},
		Namespaced: true, Verbs: row.AllVerbs(), StoragePrefix: "statefulsets",
		New: row.New[appsv1.StatefulSet], NewList: row.New[appsv1.StatefulSetList],
		Strategy: registry.Strategy{
			Default: registry.Do(defaultStatefulSet),
			PrepareForCreate: registry.Prepare(func(s *appsv1.StatefulSet) {
				s.Status = appsv1.StatefulSetStatus{}
				s.Generation = 1
			}),
			PrepareForUpdate: registry.PrepareUpdate(func(s, old *appsv1.StatefulSet) {
				s.Status = old.Status
				row.NextGeneration(s, old, !row.Same(s.Spec, old.Spec))
			}),
			Validate:       registry.Check(func(s *appsv1.StatefulSet) field.ErrorList { return validateStatefulSet(s, nil) }),
			ValidateUpdate: registry.CheckUpdate(validateStatefulSetUpdate),
			Warnings: func(_ context.Context, o, old runtime.Object) []string {
				if was, ok := typed[*appsv1.StatefulSet](old); ok {
					return templateWarnings(&o.(*appsv1.StatefulSet).Spec.Template, &was.Spec.Template)
				}
				return templateWarnings(&o.(*appsv1.StatefulSet).Spec.Template, nil)
			},
		},
		Columns: append([]registry.Column{
			row.NameColumn(),
			row.Text("Ready", func(s *appsv1.StatefulSet) any {
				return row.Fraction(s.Status.ReadyReplicas, row.Pointed(s.Spec.Replicas))
			}),
			row.AgeColumn(),
		}, row.ContainerColumns(func(s *appsv1.StatefulSet) *corev1.PodTemplateSpec { return &s.Spec.Template })...),
		Subresources: []registry.Subresource{
			row.Scale(row.Scalable[*appsv1.StatefulSet]{
				Read: func(s *appsv1.StatefulSet) (int32, int32, string, error) {
					return selected(s.Spec.Replicas, s.Status.Replicas, s.Spec.Selector)
				},
				Set: func(s *appsv1.StatefulSet, n int32) { s.Spec.Replicas = &n },
			}),
			row.Status(registry.Strategy{
				Default:          registry.Do(defaultStatefulSet),
				PrepareForUpdate: registry.PrepareUpdate(func(s, old *appsv1.StatefulSet) { s.Spec = old.Spec }),
				ValidateUpdate:   registry.CheckUpdate(validateStatefulSetStatus),
			}),
		},
	}
}

func defaultStatefulSet(s *appsv1.StatefulSet) {
	podspec.DefaultTemplate(&s.Spec.Template)
	if s.Spec.PodManagementPolicy == "" {
		s.Spec.PodManagementPolicy = appsv1.OrderedReadyPodManagement
	}
	u := &s.Spec.UpdateStrategy
	if u.Type == "" {
		u.Type = appsv1.RollingUpdateStatefulSetStrategyType
		if u.RollingUpdate == nil {
			u.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{}
		}
	}
	if u.Type == appsv1.RollingUpdateStatefulSetStrategyType && u.RollingUpdate != nil {
		defaultInt(&u.RollingUpdate.Partition, 0)
		if u.RollingUpdate.MaxUnavailable == nil {
			one := intstr.FromInt32(1)
			u.RollingUpdate.MaxUnavailable = &one
		}
	}
	defaultRetention(s)
	defaultInt(&s.Spec.Replicas, 1)
	defaultInt(&s.Spec.RevisionHistoryLimit, 10)
	for i := range s.Spec.VolumeClaimTemplates {
		c := &s.Spec.VolumeClaimTemplates[i]
		// The store does not keep it, but clients have always seen it.
		c.APIVersion, c.Kind = "v1", "PersistentVolumeClaim"
		if c.Spec.VolumeMode == nil {
			mode := corev1.PersistentVolumeFilesystem
			c.Spec.VolumeMode = &mode
		}
		if c.Status.Phase == "" {
			c.Status.Phase = corev1.ClaimPending
		}
		podspec.RoundUp(c.Spec.Resources.Limits)
		podspec.RoundUp(c.Spec.Resources.Requests)
	}
}

func defaultRetention(s *appsv1.StatefulSet) {
	if s.Spec.PersistentVolumeClaimRetentionPolicy == nil {
		s.Spec.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{}
	}
	p := s.Spec.PersistentVolumeClaimRetentionPolicy
	if p.WhenDeleted == "" {
		p.WhenDeleted = appsv1.RetainPersistentVolumeClaimRetentionPolicyType
	}
	if p.WhenScaled == "" {
		p.WhenScaled = appsv1.RetainPersistentVolumeClaimRetentionPolicyType
	}
}

func validateStatefulSet(s, old *appsv1.StatefulSet) field.ErrorList {
	spec := field.NewPath("spec")
	errs := rule.OneOf(spec.Child("podManagementPolicy"), s.Spec.PodManagementPolicy, appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement)
	errs = append(errs, validateStatefulStrategy(spec.Child("updateStrategy"), &s.Spec.UpdateStrategy)...)
	errs = append(errs, validateRetention(spec.Child("persistentVolumeClaimRetentionPolicy"), s.Spec.PersistentVolumeClaimRetentionPolicy)...)
	errs = append(errs, rule.NonNegativePtr(spec.Child("replicas"), s.Spec.Replicas)...)
	errs = append(errs, rule.NonNegative(spec.Child("minReadySeconds"), s.Spec.MinReadySeconds)...)
	errs = append(errs, rule.NonNegativePtr(spec.Child("revisionHistoryLimit"), s.Spec.RevisionHistoryLimit)...)
	if o := s.Spec.Ordinals; o != nil {
		errs = append(errs, rule.NonNegative(spec.Child("ordinals", "start"), o.Start)...)
	}
	if s.Spec.ServiceName != "" {
		errs = append(errs, rule.DNSSubdomain(spec.Child("serviceName"), s.Spec.ServiceName)...)
	}
	was := s.Spec.Selector
	if old != nil {
		was = old.Spec.Selector
	}
	selector, found := podspec.ValidateSelector(spec.Child("selector"), s.Spec.Selector, was, "statefulset")
	errs = append(errs, found...)
	return append(errs, podspec.ValidateWorkloadTemplate(spec.Child("template"), &s.Spec.Template, selector)...)
}

func validateStatefulStrategy(at *field.Path, u *appsv1.StatefulSetUpdateStrategy) field.ErrorList {
	switch u.Type {
	case "":
		return field.ErrorList{field.Required(at, "")}
	case appsv1.OnDeleteStatefulSetStrategyType:
		if u.RollingUpdate != nil {
			return field.ErrorList{field.Invalid(at.Child("rollingUpdate"), u.RollingUpdate,
				fmt.Sprintf("only allowed for updateStrategy '%s'", appsv1.RollingUpdateStatefulSetStrategyType))}
		}
		return nil
	case appsv1.RollingUpdateStatefulSetStrategyType:
		if u.RollingUpdate == nil {
			return nil
		}
		rolling := at.Child("rollingUpdate")
		errs := rule.NonNegativePtr(rolling.Child("partition"), u.RollingUpdate.Partition)
		if m := u.RollingUpdate.MaxUnavailable; m != nil {
			errs = append(errs, rule.CountOrPercent(rolling.Child("maxUnavailable"), *m)...)
			if rule.CountOrZero(*m) == 0 {
				errs = append(errs, field.Invalid(rolling.Child("maxUnavailable"), *m, "cannot be 0"))
			}
			errs = append(errs, rule.AtMostAll(rolling.Child("maxUnavailable"), *m)...)
		}
		return errs
	}
	return field.ErrorList{field.Invalid(at, *u, fmt.Sprintf("must be '%s' or '%s'", appsv1.RollingUpdateStatefulSetStrategyType, appsv1.OnDeleteStatefulSetStrategyType))}
}

func validateRetention(at *field.Path, p *appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy) field.ErrorList {
	if p == nil {
		return nil
	}
	retain, remove := appsv1.RetainPersistentVolumeClaimRetentionPolicyType, appsv1.DeletePersistentVolumeClaimRetentionPolicyType
	errs := rule.Supported(at.Child("whenDeleted"), p.WhenDeleted, retain, remove)
	return append(errs, rule.Supported(at.Child("whenScaled"), p.WhenScaled, retain, remove)...)
}

func validateStatefulSetUpdate(s, old *appsv1.StatefulSet) field.ErrorList {
	errs := validateStatefulSet(s, old)
	rest := s.DeepCopy()
	rest.Spec.Replicas = old.Spec.Replicas
	rest.Spec.Template = old.Spec.Template
	rest.Spec.UpdateStrategy = old.Spec.UpdateStrategy
	rest.Spec.MinReadySeconds = old.Spec.MinReadySeconds
	rest.Spec.Ordinals = old.Spec.Ordinals
	rest.Spec.RevisionHistoryLimit = old.Spec.RevisionHistoryLimit
	rest.Spec.PersistentVolumeClaimRetentionPolicy = old.Spec.PersistentVolumeClaimRetentionPolicy
	if !row.Same(rest.Spec, old.Spec) {
		errs = append(errs, field.Forbidden(field.NewPath("spec"), "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "+
			"'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"))
	}
	return errs
}

func validateStatefulSetStatus(s, old *appsv1.StatefulSet) field.ErrorList {
	at, st := field.NewPath("status"), &s.Status
	errs := validateCounts(at, st.Replicas, st.ReadyReplicas, st.AvailableReplicas, st.ObservedGeneration)
	for _, c := range []struct {
		name string
		n    int32
	}{{"currentReplicas", st.CurrentReplicas}, {"updatedReplicas", st.UpdatedReplicas}} {
		errs = append(errs, rule.NonNegative(at.Child(c.name), c.n)...)
		if c.n > st.Replicas {
			errs = append(errs, field.Invalid(at.Child(c.name), c.n, moreThanAll))
		}
	}
	return append(errs, validateCollisions(at, st.CollisionCount, old.Status.CollisionCount)...)
}
