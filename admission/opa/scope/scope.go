// Package scope says which requests policies are asked about: by operation,
// resource, namespace and user. It refuses to know what policies say.
package scope

import (
	"fmt"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/yare-io/yare/admission"
)

// Rule is one of a webhook's rules: a request matches when all of its lists do.
// "*" stands for all; a resource is "pods", "pods/exec", "pods/*", "*/scale",
// "*" (no subresources) or "*/*".
type Rule struct {
	Operations  []admission.Operation `json:"operations"`
	APIGroups   []string              `json:"apiGroups"`
	APIVersions []string              `json:"apiVersions"`
	Resources   []string              `json:"resources"`
}

// Scope is a set of requests.
type Scope struct {
	// Rules, any of which a request must match. When empty: creates and updates
	// of everything, and of the subresources that change what a pod runs.
	Rules []Rule `json:"rules,omitempty"`
	// ExcludedNamespaces are left alone; a trailing * stands for any ending.
	// When nil: kube-system, kube-node-lease and kube-public.
	ExcludedNamespaces []string `json:"excludedNamespaces,omitempty"`
	// NamespaceSelector selects namespaces by label. Cluster-scoped objects
	// other than namespaces are not concerned.
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`
	// ExcludedUsers are not asked about, by name. The API server itself always
	// is one of them.
	ExcludedUsers []string `json:"excludedUsers,omitempty"`
	// ExcludedGroups are not asked about, by a group of the user.
	ExcludedGroups []string `json:"excludedGroups,omitempty"`

	selector labels.Selector
}

// defaultRules are the requests that OPA's documents send to a webhook, and
// those by which containers get past rules for pods.
var defaultRules = []Rule{{
	Operations:  []admission.Operation{admission.Create, admission.Update},
	APIGroups:   []string{"*"},
	APIVersions: []string{"*"},
	Resources:   []string{"*", "pods/ephemeralcontainers", "pods/resize", "*/scale"},
}}

var defaultExcluded = []string{"kube-system", "kube-node-lease", "kube-public"}

// Complete fills in defaults and checks the scope.
func (s *Scope) Complete() error {
	if len(s.Rules) == 0 {
		s.Rules = defaultRules
	}
	if s.ExcludedNamespaces == nil {
		s.ExcludedNamespaces = defaultExcluded
	}
	for i, rule := range s.Rules {
		if len(rule.Operations) == 0 || len(rule.APIGroups) == 0 || len(rule.APIVersions) == 0 || len(rule.Resources) == 0 {
			return fmt.Errorf("rules[%d]: operations, apiGroups, apiVersions and resources are all needed", i)
		}
		for _, operation := range rule.Operations {
			if !slices.Contains([]admission.Operation{"*", admission.Create, admission.Update, admission.Delete, admission.Connect}, operation) {
				return fmt.Errorf("rules[%d]: there is no operation %q", i, operation)
			}
		}
	}
	s.selector = nil
	if s.NamespaceSelector != nil {
		selector, err := metav1.LabelSelectorAsSelector(s.NamespaceSelector)
		if err != nil {
			return fmt.Errorf("namespaceSelector: %w", err)
		}
		s.selector = selector
	}
	return nil
}

// Handles reports whether any request with this operation may be in scope.
func (s *Scope) Handles(operation admission.Operation) bool {
	return slices.ContainsFunc(s.Rules, func(r Rule) bool { return has(r.Operations, operation) })
}

// Includes reports whether a request is in scope, its namespace's labels not
// looked at.
func (s *Scope) Includes(a *admission.Attributes) bool {
	if isReview(a) || s.excludesUser(a.User) || Matches(s.ExcludedNamespaces, namespaceOf(a)) {
		return false
	}
	return slices.ContainsFunc(s.Rules, func(r Rule) bool { return r.matches(a) })
}

// SelectsLabels reports whether labels of namespaces matter.
func (s *Scope) SelectsLabels() bool { return s.selector != nil }

// Selects reports whether a namespace with such labels is in scope.
func (s *Scope) Selects(namespace map[string]string) bool {
	return s.selector == nil || s.selector.Matches(labels.Set(namespace))
}

// isReview: questions about identity and rights are not objects to have a
// policy on; a policy could lock out even those who would repair it.
func isReview(a *admission.Attributes) bool {
	return a.Resource.Group == authenticationv1.GroupName || a.Resource.Group == authorizationv1.GroupName
}

func (s *Scope) excludesUser(u user.Info) bool {
	if u == nil {
		return false
	}
	if u.GetName() == user.APIServerUser || slices.Contains(s.ExcludedUsers, u.GetName()) {
		return true
	}
	return slices.ContainsFunc(u.GetGroups(), func(g string) bool { return slices.Contains(s.ExcludedGroups, g) })
}

// namespaceOf is the namespace that a request concerns: a Namespace is in itself.
func namespaceOf(a *admission.Attributes) string {
	if a.Resource.Group == "" && a.Resource.Resource == "namespaces" {
		return a.Name
	}
	return a.Namespace
}

func (r Rule) matches(a *admission.Attributes) bool {
	return has(r.Operations, a.Operation) && has(r.APIGroups, a.Resource.Group) && has(r.APIVersions, a.Resource.Version) &&
		slices.ContainsFunc(r.Resources, func(pattern string) bool { return matchesResource(pattern, a.Resource.Resource, a.Subresource) })
}

func matchesResource(pattern, resource, subresource string) bool {
	of, sub, _ := strings.Cut(pattern, "/")
	return (of == "*" || of == resource) && (sub == "*" || sub == subresource)
}

func has[S ~string](list []S, item S) bool {
	return slices.Contains(list, item) || slices.Contains(list, "*")
}

// Matches reports whether a name is in a list in which a * at the beginning or
// the end of an entry stands for anything. The empty name is in no list.
func Matches(list []string, name string) bool {
	return name != "" && slices.ContainsFunc(list, func(pattern string) bool {
		rest, suffix := strings.CutPrefix(pattern, "*")
		rest, prefix := strings.CutSuffix(rest, "*")
		switch {
		case prefix && suffix:
			return strings.Contains(name, rest)
		case prefix:
			return strings.HasPrefix(name, rest)
		case suffix:
			return strings.HasSuffix(name, rest)
		}
		return pattern == name
	})
}
