package bootstrap

import (
	"maps"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/auth/rbac/validation"
)

// protected objects have been taken out of our hands by their annotation.
func protected(m metav1.ObjectMeta) bool {
	return m.Annotations[rbacv1.AutoUpdateAnnotationKey] == "false"
}

// mergeMeta adds the labels and annotations that are wanted and not there;
// what is there stays as it is.
func mergeMeta(have *metav1.ObjectMeta, want metav1.ObjectMeta) (changed bool) {
	merge := func(have, want map[string]string) map[string]string {
		merged := maps.Clone(want)
		if merged == nil {
			merged = map[string]string{}
		}
		maps.Copy(merged, have)
		return merged
	}
	labels, annotations := merge(have.Labels, want.Labels), merge(have.Annotations, want.Annotations)
	changed = len(labels) != len(have.Labels) || len(annotations) != len(have.Annotations)
	have.Labels, have.Annotations = labels, annotations
	return changed
}

// mergeRules adds the wanted rules that those there do not cover.
func mergeRules(have, want []rbacv1.PolicyRule) (merged []rbacv1.PolicyRule, changed bool) {
	merged = slices.Clone(have)
	for _, rule := range want {
		if covered, _ := validation.Covers(merged, []rbacv1.PolicyRule{rule}); !covered {
			merged, changed = append(merged, rule), true
		}
	}
	return merged, changed
}

// mergeClusterRole brings a copy of have up to want.
func mergeClusterRole(have, want *rbacv1.ClusterRole) (*rbacv1.ClusterRole, bool) {
	if protected(have.ObjectMeta) {
		return have, false
	}
	merged := have.DeepCopy()
	changed := mergeMeta(&merged.ObjectMeta, want.ObjectMeta)
	if want.AggregationRule == nil {
		var more bool
		merged.Rules, more = mergeRules(merged.Rules, want.Rules)
		return merged, changed || more
	}
	if merged.AggregationRule == nil {
		merged.AggregationRule = &rbacv1.AggregationRule{}
	}
	for _, selector := range want.AggregationRule.ClusterRoleSelectors {
		same := func(s metav1.LabelSelector) bool { return equality.Semantic.DeepEqual(s, selector) }
		if !slices.ContainsFunc(merged.AggregationRule.ClusterRoleSelectors, same) {
			merged.AggregationRule.ClusterRoleSelectors = append(merged.AggregationRule.ClusterRoleSelectors, selector)
			changed = true
		}
	}
	return merged, changed
}

// mergeRole brings a copy of have up to want.
func mergeRole(have, want *rbacv1.Role) (*rbacv1.Role, bool) {
	if protected(have.ObjectMeta) {
		return have, false
	}
	merged := have.DeepCopy()
	changed := mergeMeta(&merged.ObjectMeta, want.ObjectMeta)
	var more bool
	merged.Rules, more = mergeRules(merged.Rules, want.Rules)
	return merged, changed || more
}

// mergeSubjects adds the wanted subjects that are not there.
func mergeSubjects(have, want []rbacv1.Subject) (merged []rbacv1.Subject, changed bool) {
	merged = slices.Clone(have)
	for _, subject := range want {
		if !slices.Contains(merged, subject) {
			merged, changed = append(merged, subject), true
		}
	}
	return merged, changed
}
