package gatekeeper

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/admission/opa/scope"
)

// match is the match field of a constraint: all that it names must hold.
type match struct {
	Kinds []struct {
		APIGroups []string `json:"apiGroups"`
		Kinds     []string `json:"kinds"`
	} `json:"kinds"`
	Scope              string                `json:"scope"`
	Namespaces         []string              `json:"namespaces"`
	ExcludedNamespaces []string              `json:"excludedNamespaces"`
	LabelSelector      *metav1.LabelSelector `json:"labelSelector"`
	NamespaceSelector  *metav1.LabelSelector `json:"namespaceSelector"`
	Name               string                `json:"name"`
	Source             string                `json:"source"`

	labels, namespaceLabels labels.Selector
}

// compile checks the fields and prepares the selectors.
func (m *match) compile() (err error) {
	if !slices.Contains([]string{"", "*", "Cluster", "Namespaced"}, m.Scope) {
		return fmt.Errorf("match.scope must be *, Cluster or Namespaced, not %q", m.Scope)
	}
	if !slices.Contains([]string{"", "All", "Original", "Generated"}, m.Source) {
		return fmt.Errorf("match.source must be All, Original or Generated, not %q", m.Source)
	}
	if m.LabelSelector != nil {
		if m.labels, err = metav1.LabelSelectorAsSelector(m.LabelSelector); err != nil {
			return fmt.Errorf("match.labelSelector: %w", err)
		}
	}
	if m.NamespaceSelector != nil {
		if m.namespaceLabels, err = metav1.LabelSelectorAsSelector(m.NamespaceSelector); err != nil {
			return fmt.Errorf("match.namespaceSelector: %w", err)
		}
	}
	return nil
}

// subject is the object that constraints are matched with.
type subject struct {
	kind schema.GroupVersionKind
	name string
	// generateName stands for the name where there is none yet.
	generateName string
	namespace    string
	// objects are the labels of the new and of the old object, where there are
	// such: either may match.
	objects []labels.Set
	// in is the namespace that the object is in, or that it is; nil when the
	// object is in none, or when nobody knows it.
	in *corev1.Namespace
}

func (s *subject) isNamespace() bool { return s.kind.Group == "" && s.kind.Kind == "Namespace" }

// matches reports whether a constraint concerns the object.
func (m *match) matches(s *subject) bool {
	return m.Source != "Generated" && m.matchesKind(s.kind) && m.matchesScope(s) && m.matchesName(s) &&
		m.matchesNamespace(s) && m.matchesLabels(s) && m.matchesNamespaceLabels(s)
}

// kindNames are the kinds that can match, of any group; "" alone stands for
// all.
func (m *match) kindNames() []string {
	var names []string
	for _, k := range m.Kinds {
		if len(k.Kinds) == 0 || slices.Contains(k.Kinds, "*") {
			return []string{""}
		}
		names = append(names, k.Kinds...)
	}
	if len(names) == 0 {
		return []string{""}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (m *match) matchesKind(kind schema.GroupVersionKind) bool {
	if len(m.Kinds) == 0 {
		return true
	}
	for _, k := range m.Kinds {
		if hasOrAll(k.APIGroups, kind.Group) && hasOrAll(k.Kinds, kind.Kind) {
			return true
		}
	}
	return false
}

// hasOrAll: an empty list stands for all, as * does.
func hasOrAll(list []string, item string) bool {
	return len(list) == 0 || slices.Contains(list, "*") || slices.Contains(list, item)
}

func (m *match) matchesScope(s *subject) bool {
	switch m.Scope {
	case "Cluster":
		return s.namespace == "" || s.isNamespace()
	case "Namespaced":
		return s.namespace != "" && !s.isNamespace()
	}
	return true
}

func (m *match) matchesName(s *subject) bool {
	return m.Name == "" || scope.Matches([]string{m.Name}, s.name) || scope.Matches([]string{m.Name}, s.generateName)
}

// matchesNamespace: objects of the cluster as a whole are in no namespace, so
// neither list concerns them; a Namespace is in itself.
func (m *match) matchesNamespace(s *subject) bool {
	namespace := s.namespace
	if s.isNamespace() {
		namespace = s.name
	}
	if namespace == "" {
		return true
	}
	if len(m.Namespaces) > 0 && !scope.Matches(m.Namespaces, namespace) {
		return false
	}
	return !scope.Matches(m.ExcludedNamespaces, namespace)
}

func (m *match) matchesLabels(s *subject) bool {
	return m.labels == nil || slices.ContainsFunc(s.objects, func(set labels.Set) bool { return m.labels.Matches(set) })
}

// matchesNamespaceLabels: a namespace that nobody knows matches, so that the
// constraint is asked rather than passed over.
func (m *match) matchesNamespaceLabels(s *subject) bool {
	switch {
	case m.namespaceLabels == nil || s.isNamespace() && s.in == nil:
		return true
	case s.namespace == "" && !s.isNamespace():
		return true
	case s.in == nil:
		return true
	}
	return m.namespaceLabels.Matches(labels.Set(s.in.Labels))
}
