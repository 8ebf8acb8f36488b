package podspec

import (
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// narrowedPlacement allows a pod that is held back by scheduling gates to be
// restricted to fewer nodes. What is allowed is put back to old in s, so that
// a comparison finds only the rest.
func narrowedPlacement(path *field.Path, s, old *corev1.PodSpec) field.ErrorList {
	var errs field.ErrorList
	if !apiequality.Semantic.DeepEqual(s.NodeSelector, old.NodeSelector) {
		for key, value := range old.NodeSelector {
			if now, ok := s.NodeSelector[key]; !ok || now != value {
				errs = append(errs, field.Invalid(path.Child("nodeSelector"), s.NodeSelector, "only additions are allowed (no changes or deletions)"))
				break
			}
		}
		s.NodeSelector = old.NodeSelector
	}
	if apiequality.Semantic.DeepEqual(nodeAffinity(s), nodeAffinity(old)) {
		return errs
	}
	errs = append(errs, narrowedAffinity(path.Child("affinity", "nodeAffinity"), nodeAffinity(s), nodeAffinity(old))...)
	putBackNodeAffinity(s, old)
	return errs
}

func nodeAffinity(s *corev1.PodSpec) *corev1.NodeAffinity {
	if s.Affinity == nil {
		return nil
	}
	return s.Affinity.NodeAffinity
}

func putBackNodeAffinity(s, old *corev1.PodSpec) {
	if s.Affinity == nil {
		s.Affinity = &corev1.Affinity{}
	}
	s.Affinity.NodeAffinity = nodeAffinity(old)
	if old.Affinity == nil && *s.Affinity == (corev1.Affinity{}) {
		s.Affinity = nil
	}
}

// narrowedAffinity wants the terms that must hold to be kept and each to be
// stricter than before; what is only preferred may change freely.
func narrowedAffinity(path *field.Path, a, old *corev1.NodeAffinity) field.ErrorList {
	if old == nil || old.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return nil
	}
	at := path.Child(required, "nodeSelectorTerms")
	was := old.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	var is []corev1.NodeSelectorTerm
	if a != nil && a.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		is = a.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	}
	if len(was) > 0 && len(is) != len(was) {
		return field.ErrorList{field.Invalid(at, is, "no additions/deletions to non-empty NodeSelectorTerms list are allowed")}
	}
	var errs field.ErrorList
	for i := range was {
		if !extends(is[i].MatchExpressions, was[i].MatchExpressions) || !extends(is[i].MatchFields, was[i].MatchFields) {
			errs = append(errs, field.Invalid(at.Index(i), is[i], "only additions are allowed (no changes or deletions)"))
		}
	}
	return errs
}

// extends reports whether is begins with all of was.
func extends(is, was []corev1.NodeSelectorRequirement) bool {
	return len(is) >= len(was) && apiequality.Semantic.DeepEqual(is[:len(was)], was)
}
