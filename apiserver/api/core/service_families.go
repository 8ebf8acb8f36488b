package core

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// chooseFamilies settles a service's family policy and families from what the
// client asked for and what the cluster has, its default family first.
func chooseFamilies(s, old *corev1.Service, cluster []corev1.IPFamily) field.ErrorList {
	if !hasClusterIP(s) {
		return nil
	}
	if old != nil {
		narrow(s, old)
	}
	spec := &s.Spec
	inferFamilies(spec)
	if headless(s) && len(spec.Selector) == 0 {
		chooseUnselected(spec, cluster)
		return nil
	}
	if spec.IPFamilyPolicy == nil {
		setPolicy(spec, corev1.IPFamilyPolicySingleStack)
	}
	if len(spec.IPFamilies) == 0 {
		spec.IPFamilies = []corev1.IPFamily{cluster[0]}
	}
	path := field.NewPath("spec")
	if *spec.IPFamilyPolicy == corev1.IPFamilyPolicyRequireDualStack && len(cluster) < 2 {
		return field.ErrorList{field.Invalid(path.Child("ipFamilyPolicy"), *spec.IPFamilyPolicy, "this cluster is not configured for dual-stack services")}
	}
	for i, f := range spec.IPFamilies {
		if !slices.Contains(cluster, f) {
			return field.ErrorList{field.Invalid(path.Child("ipFamilies").Index(i), f, "not configured on this cluster")}
		}
	}
	if *spec.IPFamilyPolicy != corev1.IPFamilyPolicySingleStack {
		for _, f := range cluster {
			if !slices.Contains(spec.IPFamilies, f) {
				spec.IPFamilies = append(spec.IPFamilies, f)
			}
		}
	}
	return nil
}

// narrow drops the second family of a service that is now to have one, where
// the client did not do it.
func narrow(s, old *corev1.Service) {
	if p := s.Spec.IPFamilyPolicy; p == nil || *p != corev1.IPFamilyPolicySingleStack {
		return
	}
	if len(s.Spec.ClusterIPs) > 1 && equalStrings(s.Spec.ClusterIPs, old.Spec.ClusterIPs) {
		s.Spec.ClusterIPs = s.Spec.ClusterIPs[:1]
	}
	if len(s.Spec.IPFamilies) > 1 && slices.Equal(s.Spec.IPFamilies, old.Spec.IPFamilies) {
		s.Spec.IPFamilies = s.Spec.IPFamilies[:1]
	}
}

// inferFamilies learns families from the addresses that were asked for.
func inferFamilies(spec *corev1.ServiceSpec) {
	for i, ip := range spec.ClusterIPs {
		if ip == corev1.ClusterIPNone || ip == "" || i < len(spec.IPFamilies) {
			continue
		}
		spec.IPFamilies = append(spec.IPFamilies, familyOf(ip))
	}
}

// chooseUnselected: who writes endpoints by hand may write them in both
// families, whatever the cluster has.
func chooseUnselected(spec *corev1.ServiceSpec, cluster []corev1.IPFamily) {
	if spec.IPFamilyPolicy == nil {
		setPolicy(spec, corev1.IPFamilyPolicyRequireDualStack)
	}
	if len(spec.IPFamilies) == 0 {
		spec.IPFamilies = []corev1.IPFamily{cluster[0]}
	}
	if *spec.IPFamilyPolicy == corev1.IPFamilyPolicySingleStack || len(spec.IPFamilies) > 1 {
		return
	}
	other := corev1.IPv6Protocol
	if spec.IPFamilies[0] == corev1.IPv6Protocol {
		other = corev1.IPv4Protocol
	}
	spec.IPFamilies = append(spec.IPFamilies, other)
}

func setPolicy(spec *corev1.ServiceSpec, p corev1.IPFamilyPolicy) { spec.IPFamilyPolicy = &p }
