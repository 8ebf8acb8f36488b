package flowcontrol

import (
	"fmt"
	"slices"
	"strings"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"

	"github.com/yare-io/yare/apiserver/api/rule"
)

const all = "*"

var knownVerbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"}

func validateSchema(s *flowcontrolv1.FlowSchema) field.ErrorList {
	path, spec := field.NewPath("spec"), &s.Spec
	var errs field.ErrorList
	for _, fixed := range bootstrap.MandatoryFlowSchemas {
		if s.Name == fixed.Name && !apiequality.Semantic.DeepEqual(*spec, fixed.Spec) {
			errs = append(errs, field.Invalid(path, *spec, fmt.Sprintf("spec of '%s' must equal the fixed value", s.Name)))
		}
	}
	errs = append(errs, validatePrecedence(path.Child("matchingPrecedence"), s)...)
	if m := spec.DistinguisherMethod; m != nil {
		errs = append(errs, rule.Supported(path.Child("distinguisherMethod", "type"), m.Type,
			flowcontrolv1.FlowDistinguisherMethodByNamespaceType, flowcontrolv1.FlowDistinguisherMethodByUserType)...)
	}
	level := path.Child("priorityLevelConfiguration", "name")
	if spec.PriorityLevelConfiguration.Name == "" {
		errs = append(errs, field.Required(level, "must reference a priority level"))
	} else {
		errs = append(errs, rule.DNSSubdomain(level, spec.PriorityLevelConfiguration.Name)...)
	}
	for i := range spec.Rules {
		errs = append(errs, validateRules(path.Child("rules").Index(i), &spec.Rules[i])...)
	}
	return errs
}

func validatePrecedence(path *field.Path, s *flowcontrolv1.FlowSchema) field.ErrorList {
	n := s.Spec.MatchingPrecedence
	switch {
	case n <= 0:
		return field.ErrorList{field.Invalid(path, n, "must be a positive value")}
	case n > flowcontrolv1.FlowSchemaMaxMatchingPrecedence:
		return field.ErrorList{field.Invalid(path, n, fmt.Sprintf("must not be greater than %v", flowcontrolv1.FlowSchemaMaxMatchingPrecedence))}
	case n == 1 && s.Name != flowcontrolv1.FlowSchemaNameExempt:
		return field.ErrorList{field.Invalid(path, n, "only the schema named 'exempt' may have matchingPrecedence 1")}
	}
	return nil
}

func validateRules(path *field.Path, r *flowcontrolv1.PolicyRulesWithSubjects) field.ErrorList {
	var errs field.ErrorList
	if len(r.Subjects) == 0 {
		errs = append(errs, field.Required(path.Child("subjects"), "subjects must contain at least one value"))
	}
	for i := range r.Subjects {
		errs = append(errs, validateSubject(path.Child("subjects").Index(i), &r.Subjects[i])...)
	}
	if len(r.ResourceRules) == 0 && len(r.NonResourceRules) == 0 {
		errs = append(errs, field.Required(path, "at least one of resourceRules and nonResourceRules has to be non-empty"))
	}
	for i := range r.ResourceRules {
		errs = append(errs, validateResourceRule(path.Child("resourceRules").Index(i), &r.ResourceRules[i])...)
	}
	for i := range r.NonResourceRules {
		errs = append(errs, validateNonResourceRule(path.Child("nonResourceRules").Index(i), &r.NonResourceRules[i])...)
	}
	return errs
}

func validateSubject(path *field.Path, s *flowcontrolv1.Subject) field.ErrorList {
	var errs field.ErrorList
	check := func(kind flowcontrolv1.SubjectKind, name string, there bool, valid func(*field.Path) field.ErrorList) {
		at := path.Child(name)
		switch {
		case s.Kind == kind && there:
			errs = append(errs, valid(at)...)
		case s.Kind == kind:
			errs = append(errs, field.Required(at, fmt.Sprintf("%s is required when subject kind is '%s'", name, kind)))
		case there:
			errs = append(errs, field.Forbidden(at, fmt.Sprintf("%s is forbidden when subject kind is not '%s'", name, kind)))
		}
	}
	switch s.Kind {
	case flowcontrolv1.SubjectKindUser, flowcontrolv1.SubjectKindGroup, flowcontrolv1.SubjectKindServiceAccount:
	default:
		return rule.Supported(path.Child("kind"), s.Kind, flowcontrolv1.SubjectKindUser, flowcontrolv1.SubjectKindGroup, flowcontrolv1.SubjectKindServiceAccount)
	}
	check(flowcontrolv1.SubjectKindServiceAccount, "serviceAccount", s.ServiceAccount != nil, func(at *field.Path) field.ErrorList { return validateAccount(at, s.ServiceAccount) })
	check(flowcontrolv1.SubjectKindUser, "user", s.User != nil, func(at *field.Path) field.ErrorList { return rule.Required(at.Child("name"), s.User.Name) })
	check(flowcontrolv1.SubjectKindGroup, "group", s.Group != nil, func(at *field.Path) field.ErrorList { return rule.Required(at.Child("name"), s.Group.Name) })
	return errs
}

func validateAccount(path *field.Path, a *flowcontrolv1.ServiceAccountSubject) field.ErrorList {
	errs := rule.Required(path.Child("name"), a.Name)
	if a.Name != "" && a.Name != all {
		errs = append(errs, rule.Invalid(path.Child("name"), a.Name, apivalidation.ValidateServiceAccountName(a.Name, false))...)
	}
	if a.Namespace == "" {
		return append(errs, field.Required(path.Child("namespace"), "must specify namespace for service account"))
	}
	return append(errs, rule.Invalid(path.Child("namespace"), a.Namespace, apivalidation.ValidateNamespaceName(a.Namespace, false))...)
}

// notMixed wants a list that is not empty, and in which * stands alone.
func notMixed(path *field.Path, values []string, empty, others string) field.ErrorList {
	switch {
	case len(values) == 0:
		return field.ErrorList{field.Required(path, empty)}
	case len(values) > 1 && slices.Contains(values, all):
		return field.ErrorList{field.Invalid(path, values, "if '*' is present, must not specify other "+others)}
	}
	return nil
}

func validateVerbs(path *field.Path, verbs []string) field.ErrorList {
	errs := notMixed(path, verbs, "verbs must contain at least one value", "verbs")
	if len(errs) > 0 || slices.Contains(verbs, all) {
		return errs
	}
	for _, verb := range verbs {
		if !slices.Contains(knownVerbs, verb) {
			return field.ErrorList{field.NotSupported(path, verbs, knownVerbs)}
		}
	}
	return nil
}

func validateResourceRule(path *field.Path, r *flowcontrolv1.ResourcePolicyRule) field.ErrorList {
	errs := validateVerbs(path.Child("verbs"), r.Verbs)
	errs = append(errs, notMixed(path.Child("apiGroups"), r.APIGroups, "resource rules must supply at least one api group", "api groups")...)
	errs = append(errs, notMixed(path.Child("resources"), r.Resources, "resource rules must supply at least one resource", "resources")...)
	namespaces := path.Child("namespaces")
	if len(r.Namespaces) == 0 && r.ClusterScope {
		return errs
	}
	mixed := notMixed(namespaces, r.Namespaces, "resource rules that are not cluster scoped must supply at least one namespace", "namespaces")
	if len(mixed) > 0 || slices.Contains(r.Namespaces, all) {
		return append(errs, mixed...)
	}
	for i, namespace := range r.Namespaces {
		for _, message := range apivalidation.ValidateNamespaceName(namespace, false) {
			errs = append(errs, field.Invalid(namespaces.Index(i), namespace, "each member of this list must be '*' or a DNS-1123 label; "+message))
		}
	}
	return errs
}

func validateNonResourceRule(path *field.Path, r *flowcontrolv1.NonResourcePolicyRule) field.ErrorList {
	errs := validateVerbs(path.Child("verbs"), r.Verbs)
	urls := path.Child("nonResourceURLs")
	mixed := notMixed(urls, r.NonResourceURLs, "nonResourceURLs must contain at least one value", "non-resource URLs")
	if len(mixed) > 0 || slices.Contains(r.NonResourceURLs, all) {
		return append(errs, mixed...)
	}
	for i, url := range r.NonResourceURLs {
		if problem := urlProblem(url); problem != "" {
			errs = append(errs, field.Invalid(urls.Index(i), url, problem))
		}
	}
	return errs
}

func urlProblem(url string) string {
	wildcards := strings.Count(url, all)
	switch {
	case url == "":
		return "must not be empty"
	case url == "/":
		return ""
	case !strings.HasPrefix(url, "/"):
		return "must start with slash"
	case strings.Contains(url, " "):
		return "must not contain white-space"
	case strings.Contains(url, "//"):
		return "must not contain double slash"
	case wildcards > 1, wildcards == 1 && !strings.HasSuffix(url, "/*"):
		return "wildcard can only do suffix matching"
	}
	return ""
}

// validateConditions wants each type of condition once.
func validateConditions[C any](conditions []C, kind func(C) string) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, c := range conditions {
		at := field.NewPath("status", "conditions").Index(i)
		if seen[kind(c)] {
			errs = append(errs, field.Duplicate(at.Child("type"), kind(c)))
		}
		seen[kind(c)] = true
		errs = append(errs, rule.Required(at.Child("type"), kind(c))...)
	}
	return errs
}
