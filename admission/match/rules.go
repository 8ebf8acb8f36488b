// Package match says which requests a webhook or policy is about: by rules,
// equivalent versions, selectors of namespaces and objects, and match
// conditions. It also shows a request in the version that matched. It neither
// calls webhooks nor evaluates policies.
package match

import (
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/admission"
)

const all = "*"

// group is the API group whose objects webhooks and policies never apply to, so
// that none can lock others out of repairing it.
const group = admissionregistrationv1.GroupName

// virtual are resources that are answers, not objects: asking about access must
// not depend on webhooks and policies.
var virtual = map[string]bool{"authentication.k8s.io": true, "authorization.k8s.io": true}

// Exempt reports whether a request passes webhooks and policies by: it is for
// their own configuration, or a review.
func Exempt(a *admission.Attributes) bool {
	return a.Resource.Group == group || virtual[a.Resource.Group]
}

// rule reports whether a rule is about a resource of the request.
func rule(r *admissionregistrationv1.RuleWithOperations, a *admission.Attributes, resource schema.GroupVersionResource) bool {
	return has(r.Operations, admissionregistrationv1.OperationType(a.Operation)) &&
		has(r.APIGroups, resource.Group) && has(r.APIVersions, resource.Version) &&
		hasResource(r.Resources, resource.Resource, a.Subresource) && inScope(r.Scope, a)
}

func has[S ~string](given []S, wanted S) bool {
	return slices.Contains(given, wanted) || slices.Contains(given, all)
}

func hasResource(given []string, resource, subresource string) bool {
	for _, g := range given {
		r, s, _ := strings.Cut(g, "/")
		if (r == all || r == resource) && (s == all || s == subresource) {
			return true
		}
	}
	return false
}

func inScope(scope *admissionregistrationv1.ScopeType, a *admission.Attributes) bool {
	if scope == nil {
		return true
	}
	switch *scope {
	case admissionregistrationv1.NamespacedScope:
		return a.Namespace != ""
	case admissionregistrationv1.ClusterScope:
		return a.Namespace == ""
	}
	return *scope == admissionregistrationv1.AllScopes
}
