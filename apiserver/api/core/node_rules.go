package core

import (
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/rule"
)

func validateTaints(path *field.Path, taints []corev1.Taint) field.ErrorList {
	var errs field.ErrorList
	type id struct {
		key    string
		effect corev1.TaintEffect
	}
	seen := sets.New[id]()
	for i, t := range taints {
		at := path.Index(i)
		errs = append(errs, rule.QualifiedName(at.Child("key"), t.Key)...)
		errs = append(errs, rule.Invalid(at.Child("value"), t.Value, validation.IsValidLabelValue(t.Value))...)
		errs = append(errs, podspec.ValidateTaintEffect(at.Child("effect"), t.Effect)...)
		if seen.Has(id{t.Key, t.Effect}) {
			duplicate := field.Duplicate(at, t)
			duplicate.Detail = "taints must be unique by key and effect pair"
			errs = append(errs, duplicate)
		}
		seen.Insert(id{t.Key, t.Effect})
	}
	return errs
}

func validateNodeResources(status *field.Path, n *corev1.Node) field.ErrorList {
	var errs field.ErrorList
	for name, q := range n.Status.Capacity {
		errs = append(errs, podspec.ValidateAmount(status.Child("capacity").Key(string(name)), name, q)...)
	}
	for name, q := range n.Status.Allocatable {
		errs = append(errs, podspec.ValidateAmount(status.Child("allocatable").Key(string(name)), name, q)...)
	}
	return errs
}

func validatePodCIDRs(spec *field.Path, cidrs []string) field.ErrorList {
	var errs field.ErrorList
	at := spec.Child("podCIDRs")
	for i, c := range cidrs {
		errs = append(errs, rule.CIDR(at.Index(i), c)...)
	}
	if len(errs) > 0 || len(cidrs) < 2 {
		return errs
	}
	if len(cidrs) > 2 || isIPv6(cidrs[0]) == isIPv6(cidrs[1]) {
		return field.ErrorList{field.Invalid(at, cidrs, "may specify no more than one CIDR for each IP family")}
	}
	return nil
}

// validateNodeUpdate lets a node's identity be set once and never changed.
func validateNodeUpdate(n, old *corev1.Node) field.ErrorList {
	spec := field.NewPath("spec")
	errs := validateNode(n)
	addresses := sets.New[corev1.NodeAddress]()
	for i, a := range n.Status.Addresses {
		if addresses.Has(a) {
			errs = append(errs, field.Duplicate(field.NewPath("status", "addresses").Index(i), a))
		}
		addresses.Insert(a)
	}
	if len(old.Spec.PodCIDRs) > 0 {
		if !apiequality.Semantic.DeepEqual(n.Spec.PodCIDRs, old.Spec.PodCIDRs) {
			errs = append(errs, field.Forbidden(spec.Child("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid"))
		}
	}
	if old.Spec.ProviderID != "" && old.Spec.ProviderID != n.Spec.ProviderID {
		errs = append(errs, field.Forbidden(spec.Child("providerID"), "node updates may not change providerID except from \"\" to valid"))
	}
	return append(errs, onlySchedulingChanged(n, old)...)
}

func onlySchedulingChanged(n, old *corev1.Node) field.ErrorList {
	rest := n.Spec.DeepCopy()
	rest.Unschedulable, rest.Taints = old.Spec.Unschedulable, old.Spec.Taints
	rest.PodCIDR, rest.PodCIDRs = old.Spec.PodCIDR, old.Spec.PodCIDRs
	rest.ProviderID, rest.ConfigSource = old.Spec.ProviderID, old.Spec.ConfigSource
	rest.PodPreemptionPolicy = old.Spec.PodPreemptionPolicy
	if apiequality.Semantic.DeepEqual(rest, &old.Spec) {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath(""),
		"node updates may only change labels, taints, or capacity (or configSource, if the DynamicKubeletConfig feature gate is enabled)")}
}
