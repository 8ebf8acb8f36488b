package builtin

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/apiserver/api/usage"
)

// LimitedResource is what may be used only where a quota covers it, as in a
// ResourceQuotaConfiguration.
type LimitedResource struct {
	// APIGroup and Resource name the objects that use it.
	APIGroup string `json:"apiGroup,omitempty"`
	Resource string `json:"resource"`
	// MatchContains are parts of the names of resources.
	MatchContains []string `json:"matchContains,omitempty"`
	// MatchScopes are scopes that the objects are in.
	MatchScopes []corev1.ScopedResourceSelectorRequirement `json:"matchScopes,omitempty"`
}

// covered wants a quota for everything the request uses that may not be used
// without one.
func (p *resourceQuota) covered(a *admission.Attributes, due []*corev1.ResourceQuota, used corev1.ResourceList) error {
	if a.Operation != admission.Create {
		return nil
	}
	for _, l := range p.limited {
		if l.APIGroup != a.Resource.Group || l.Resource != a.Resource.Resource {
			continue
		}
		if open := l.uncovered(due, used); len(open) > 0 {
			return admission.Forbidden(a, fmt.Errorf("insufficient quota to consume: %s", strings.Join(open, ",")))
		}
		for _, scope := range l.MatchScopes {
			if usage.Meets(scope, a.Object) && !slices.ContainsFunc(due, selects(scope)) {
				return admission.Forbidden(a, fmt.Errorf("insufficient quota to match these scopes: %v", []corev1.ScopedResourceSelectorRequirement{scope}))
			}
		}
	}
	return nil
}

// uncovered are the limited resources in use that no quota has.
func (l LimitedResource) uncovered(due []*corev1.ResourceQuota, used corev1.ResourceList) []string {
	var open []string
	for _, name := range usage.Names(used) {
		limited := slices.ContainsFunc(l.MatchContains, func(part string) bool { return strings.Contains(string(name), part) })
		has := func(q *corev1.ResourceQuota) bool { _, ok := q.Spec.Hard[name]; return ok }
		if amount := used[name]; limited && !amount.IsZero() && !slices.ContainsFunc(due, has) {
			open = append(open, string(name))
		}
	}
	return open
}

// selects finds quotas that have a scope.
func selects(scope corev1.ScopedResourceSelectorRequirement) func(*corev1.ResourceQuota) bool {
	return func(q *corev1.ResourceQuota) bool {
		return slices.ContainsFunc(usage.Selectors(q), func(s corev1.ScopedResourceSelectorRequirement) bool {
			return s.ScopeName == scope.ScopeName
		})
	}
}
