package admissionregistration

import (
	"fmt"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

const all = "*"

var (
	operations = []admissionregistrationv1.OperationType{
		admissionregistrationv1.OperationAll, admissionregistrationv1.Connect, admissionregistrationv1.Create,
		admissionregistrationv1.Delete, admissionregistrationv1.Update,
	}
	scopes = []admissionregistrationv1.ScopeType{
		admissionregistrationv1.AllScopes, admissionregistrationv1.ClusterScope, admissionregistrationv1.NamespacedScope,
	}
)

func validateRule(at *field.Path, r *admissionregistrationv1.RuleWithOperations) field.ErrorList {
	errs := validateOperations(at.Child("operations"), r.Operations)
	errs = append(errs, validateWildcard(at.Child("apiGroups"), r.APIGroups, "API groups")...)
	errs = append(errs, validateWildcard(at.Child("apiVersions"), r.APIVersions, "API versions")...)
	for i, version := range r.APIVersions {
		errs = append(errs, rule.Required(at.Child("apiVersions").Index(i), version)...)
	}
	errs = append(errs, validateResources(at.Child("resources"), r.Resources)...)
	return append(errs, rule.OptionalOneOf(at.Child("scope"), r.Scope, scopes...)...)
}

func validateOperations(at *field.Path, given []admissionregistrationv1.OperationType) field.ErrorList {
	errs := validateWildcard(at, given, "operations")
	for i, operation := range given {
		errs = append(errs, rule.Supported(at.Index(i), operation, operations...)...)
	}
	return errs
}

// validateWildcard wants a list that is not empty and where * stands alone.
func validateWildcard[S ~string](at *field.Path, given []S, what string) field.ErrorList {
	switch {
	case len(given) == 0:
		return field.ErrorList{field.Required(at, "")}
	case len(given) > 1 && slices.Contains(given, S(all)):
		return field.ErrorList{field.Invalid(at, given, fmt.Sprintf("if '*' is present, must not specify other %s", what))}
	}
	return nil
}

// validateResources wants resources and subresources that do not contain each
// other.
func validateResources(at *field.Path, resources []string) field.ErrorList {
	var errs field.ErrorList
	if len(resources) == 0 {
		errs = append(errs, field.Required(at, ""))
	}
	wholeResources, wholeSubresources := sets.New[string](), sets.New[string]()
	plain := false
	for i, given := range resources {
		if given == "" {
			errs = append(errs, field.Required(at.Index(i), ""))
			continue
		}
		resource, sub, found := strings.Cut(given, "/")
		if !found {
			plain = plain || given != all
			continue
		}
		if wholeResources.Has(resource) {
			errs = append(errs, field.Invalid(at.Index(i), given, fmt.Sprintf("if '%s/*' is present, must not specify %s", resource, given)))
		}
		if wholeSubresources.Has(sub) {
			errs = append(errs, field.Invalid(at.Index(i), given, fmt.Sprintf("if '*/%s' is present, must not specify %s", sub, given)))
		}
		if sub == all {
			wholeResources.Insert(resource)
		}
		if resource == all {
			wholeSubresources.Insert(sub)
		}
	}
	if len(resources) > 1 && slices.Contains(resources, "*/*") {
		errs = append(errs, field.Invalid(at, resources, "if '*/*' is present, must not specify other resources"))
	}
	if plain && slices.Contains(resources, all) {
		errs = append(errs, field.Invalid(at, resources, "if '*' is present, must not specify other resources without subresources"))
	}
	return errs
}

func validateMatch(at *field.Path, m *admissionregistrationv1.MatchResources) field.ErrorList {
	if m == nil {
		return nil
	}
	var errs field.ErrorList
	if m.MatchPolicy == nil {
		errs = append(errs, field.Required(at.Child("matchPolicy"), ""))
	}
	errs = append(errs, rule.OptionalOneOf(at.Child("matchPolicy"), m.MatchPolicy, matchPolicies...)...)
	if m.NamespaceSelector == nil {
		errs = append(errs, field.Required(at.Child("namespaceSelector"), ""))
	}
	errs = append(errs, rule.Selector(at.Child("namespaceSelector"), m.NamespaceSelector)...)
	if m.ObjectSelector == nil {
		errs = append(errs, field.Required(at.Child("objectSelector"), ""))
	}
	errs = append(errs, rule.Selector(at.Child("objectSelector"), m.ObjectSelector)...)
	errs = append(errs, validateNamedRules(at.Child("resourceRules"), m.ResourceRules)...)
	return append(errs, validateNamedRules(at.Child("excludeResourceRules"), m.ExcludeResourceRules)...)
}

func validateNamedRules(at *field.Path, rules []admissionregistrationv1.NamedRuleWithOperations) field.ErrorList {
	var errs field.ErrorList
	for i := range rules {
		names := sets.New[string]()
		for j, name := range rules[i].ResourceNames {
			p := at.Index(i).Child("resourceNames").Index(j)
			errs = append(errs, rule.Invalid(p, name, content.IsPathSegmentName(name))...)
			if names.Has(name) {
				errs = append(errs, field.Duplicate(p, name))
			}
			names.Insert(name)
		}
		errs = append(errs, validateRule(at.Index(i), &rules[i].RuleWithOperations)...)
	}
	return errs
}

// validateConstraints is validateMatch for a policy, which must say what it is
// about.
func validateConstraints(at *field.Path, m *admissionregistrationv1.MatchResources) field.ErrorList {
	if m == nil {
		return field.ErrorList{field.Required(at, "")}
	}
	errs := validateMatch(at, m)
	if len(m.ResourceRules) == 0 {
		errs = append(errs, field.Required(at.Child("resourceRules"), ""))
	}
	return errs
}
