package usage

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"github.com/yare-io/yare/apiserver/api/podspec"
)

// Selectors are all scopes of a quota, as requirements.
func Selectors(quota *corev1.ResourceQuota) []corev1.ScopedResourceSelectorRequirement {
	var out []corev1.ScopedResourceSelectorRequirement
	for _, scope := range quota.Spec.Scopes {
		out = append(out, corev1.ScopedResourceSelectorRequirement{ScopeName: scope, Operator: corev1.ScopeSelectorOpExists})
	}
	if quota.Spec.ScopeSelector != nil {
		out = append(out, quota.Spec.ScopeSelector.MatchExpressions...)
	}
	return out
}

// InScope reports whether an object falls under a quota's scopes. Kinds that
// know no scopes fall under quotas without.
func InScope(quota *corev1.ResourceQuota, obj runtime.Object) bool {
	for _, s := range Selectors(quota) {
		if !Meets(s, obj) {
			return false
		}
	}
	return true
}

// Meets reports whether an object is in a scope.
func Meets(s corev1.ScopedResourceSelectorRequirement, obj runtime.Object) bool {
	switch o := obj.(type) {
	case *corev1.Pod:
		return podMeets(s, o)
	case *corev1.PersistentVolumeClaim:
		return s.ScopeName == corev1.ResourceQuotaScopeVolumeAttributesClass && claimMeets(s, o)
	}
	return false
}

func podMeets(s corev1.ScopedResourceSelectorRequirement, pod *corev1.Pod) bool {
	switch s.ScopeName {
	case corev1.ResourceQuotaScopeTerminating:
		return pod.Spec.ActiveDeadlineSeconds != nil
	case corev1.ResourceQuotaScopeNotTerminating:
		return pod.Spec.ActiveDeadlineSeconds == nil
	case corev1.ResourceQuotaScopeBestEffort:
		return podspec.QOSClass(&pod.Spec) == corev1.PodQOSBestEffort
	case corev1.ResourceQuotaScopeNotBestEffort:
		return podspec.QOSClass(&pod.Spec) != corev1.PodQOSBestEffort
	case corev1.ResourceQuotaScopePriorityClass:
		return among(s, pod.Spec.PriorityClassName)
	case corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
		return crossesNamespaces(pod.Spec.Affinity)
	}
	return false
}

// among matches a value, which may be missing, with a requirement.
func among(s corev1.ScopedResourceSelectorRequirement, value string) bool {
	switch s.Operator {
	case corev1.ScopeSelectorOpIn:
		return value != "" && slices.Contains(s.Values, value)
	case corev1.ScopeSelectorOpNotIn:
		return !slices.Contains(s.Values, value)
	case corev1.ScopeSelectorOpExists:
		return value != ""
	case corev1.ScopeSelectorOpDoesNotExist:
		return value == ""
	}
	return false
}

// claimMeets: a claim is under the class it asks for, the one it has, and the
// one it is being given.
func claimMeets(s corev1.ScopedResourceSelectorRequirement, claim *corev1.PersistentVolumeClaim) bool {
	classes := []string{ptr.Deref(claim.Spec.VolumeAttributesClassName, ""), ptr.Deref(claim.Status.CurrentVolumeAttributesClassName, "")}
	if change := claim.Status.ModifyVolumeStatus; change != nil {
		classes = append(classes, change.TargetVolumeAttributesClassName)
	}
	if s.Operator == corev1.ScopeSelectorOpNotIn || s.Operator == corev1.ScopeSelectorOpDoesNotExist {
		for _, class := range classes {
			if class != "" && !among(s, class) {
				return false
			}
		}
		return true
	}
	return slices.ContainsFunc(classes, func(class string) bool { return among(s, class) })
}

func crossesNamespaces(a *corev1.Affinity) bool {
	if a == nil {
		return false
	}
	var terms []corev1.PodAffinityTerm
	if p := a.PodAffinity; p != nil {
		terms = append(terms, p.RequiredDuringSchedulingIgnoredDuringExecution...)
		terms = append(terms, unweighted(p.PreferredDuringSchedulingIgnoredDuringExecution)...)
	}
	if p := a.PodAntiAffinity; p != nil {
		terms = append(terms, p.RequiredDuringSchedulingIgnoredDuringExecution...)
		terms = append(terms, unweighted(p.PreferredDuringSchedulingIgnoredDuringExecution)...)
	}
	return slices.ContainsFunc(terms, func(t corev1.PodAffinityTerm) bool { return len(t.Namespaces) > 0 || t.NamespaceSelector != nil })
}

func unweighted(terms []corev1.WeightedPodAffinityTerm) []corev1.PodAffinityTerm {
	out := make([]corev1.PodAffinityTerm, len(terms))
	for i, t := range terms {
		out[i] = t.PodAffinityTerm
	}
	return out
}
