package podspec

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MergeLabelKeys turns the keys whose values are the new pod's own into plain
// requirements of the selectors beside them.
func MergeLabelKeys(pod *corev1.Pod) {
	if a := pod.Spec.Affinity; a != nil {
		if a.PodAffinity != nil {
			mergeTerms(pod.Labels, a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
		}
		if a.PodAntiAffinity != nil {
			mergeTerms(pod.Labels, a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
		}
	}
	for i := range pod.Spec.TopologySpreadConstraints {
		c := &pod.Spec.TopologySpreadConstraints[i]
		mergeKeys(pod.Labels, c.MatchLabelKeys, metav1.LabelSelectorOpIn, c.LabelSelector)
	}
}

func mergeTerms(labels map[string]string, must []corev1.PodAffinityTerm, may []corev1.WeightedPodAffinityTerm) {
	for i := range must {
		mergeTerm(labels, &must[i])
	}
	for i := range may {
		mergeTerm(labels, &may[i].PodAffinityTerm)
	}
}

func mergeTerm(labels map[string]string, t *corev1.PodAffinityTerm) {
	mergeKeys(labels, t.MatchLabelKeys, metav1.LabelSelectorOpIn, t.LabelSelector)
	mergeKeys(labels, t.MismatchLabelKeys, metav1.LabelSelectorOpNotIn, t.LabelSelector)
}

func mergeKeys(labels map[string]string, keys []string, op metav1.LabelSelectorOperator, s *metav1.LabelSelector) {
	if s == nil {
		return
	}
	for _, key := range keys {
		if value, ok := labels[key]; ok {
			s.MatchExpressions = append(s.MatchExpressions, metav1.LabelSelectorRequirement{Key: key, Operator: op, Values: []string{value}})
		}
	}
}
