package framework

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"
)

// AffinityTerm is one compiled pod (anti-)affinity term.
type AffinityTerm struct {
	Namespaces        sets.Set[string]
	NamespaceSelector labels.Selector
	Selector          labels.Selector
	TopologyKey       string
	// Weight is 1 to 100 for preferred terms, 0 for required ones.
	Weight int32
}

// Matches reports whether the term selects the pod. namespaceLabels are the
// labels of the pod's namespace.
func (t *AffinityTerm) Matches(pod *v1.Pod, namespaceLabels labels.Set) bool {
	inNamespace := t.Namespaces.Has(pod.Namespace) || t.NamespaceSelector.Matches(namespaceLabels)
	return inNamespace && t.Selector.Matches(labels.Set(pod.Labels))
}

func newAffinityTerm(pod *v1.Pod, term *v1.PodAffinityTerm, weight int32) (AffinityTerm, error) {
	selector, err := metav1.LabelSelectorAsSelector(term.LabelSelector)
	if err != nil {
		return AffinityTerm{}, fmt.Errorf("label selector of pod affinity term: %w", err)
	}
	if selector, err = withLabelKeys(selector, pod, term.MatchLabelKeys, term.MismatchLabelKeys); err != nil {
		return AffinityTerm{}, err
	}
	namespaceSelector, err := metav1.LabelSelectorAsSelector(term.NamespaceSelector)
	if err != nil {
		return AffinityTerm{}, fmt.Errorf("namespace selector of pod affinity term: %w", err)
	}
	namespaces := sets.New(term.Namespaces...)
	if len(namespaces) == 0 && term.NamespaceSelector == nil {
		namespaces.Insert(pod.Namespace)
	}
	return AffinityTerm{Namespaces: namespaces, NamespaceSelector: namespaceSelector, Selector: selector,
		TopologyKey: term.TopologyKey, Weight: weight}, nil
}

// withLabelKeys narrows selector to pods whose labels agree with the pod's
// under each of match and differ under each of mismatch. The API server does
// the same on creation; doing it again changes nothing.
func withLabelKeys(selector labels.Selector, pod *v1.Pod, match, mismatch []string) (labels.Selector, error) {
	if _, selectable := selector.Requirements(); !selectable {
		return selector, nil
	}
	narrowed, err := MatchLabelKeys(selector, pod, match)
	if err != nil {
		return nil, err
	}
	for _, key := range mismatch {
		value, ok := pod.Labels[key]
		if !ok {
			continue
		}
		requirement, err := labels.NewRequirement(key, "notin", []string{value})
		if err != nil {
			return nil, fmt.Errorf("mismatchLabelKeys: %w", err)
		}
		narrowed = narrowed.Add(*requirement)
	}
	return narrowed, nil
}

// MatchLabelKeys narrows selector to pods that carry the pod's own value under
// each of keys; keys that the pod does not carry are ignored.
func MatchLabelKeys(selector labels.Selector, pod *v1.Pod, keys []string) (labels.Selector, error) {
	for _, key := range keys {
		value, ok := pod.Labels[key]
		if !ok {
			continue
		}
		requirement, err := labels.NewRequirement(key, "in", []string{value})
		if err != nil {
			return nil, fmt.Errorf("matchLabelKeys: %w", err)
		}
		selector = selector.Add(*requirement)
	}
	return selector, nil
}

func requiredTerms(pod *v1.Pod, terms []v1.PodAffinityTerm) ([]AffinityTerm, error) {
	var out []AffinityTerm
	for i := range terms {
		term, err := newAffinityTerm(pod, &terms[i], 0)
		if err != nil {
			return nil, err
		}
		out = append(out, term)
	}
	return out, nil
}

func preferredTerms(pod *v1.Pod, terms []v1.WeightedPodAffinityTerm) ([]AffinityTerm, error) {
	var out []AffinityTerm
	for i := range terms {
		term, err := newAffinityTerm(pod, &terms[i].PodAffinityTerm, terms[i].Weight)
		if err != nil {
			return nil, err
		}
		out = append(out, term)
	}
	return out, nil
}
