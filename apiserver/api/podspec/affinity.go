package podspec

import (
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

func validateAffinity(path *field.Path, a *corev1.Affinity) field.ErrorList {
	if a == nil {
		return nil
	}
	var errs field.ErrorList
	if a.NodeAffinity != nil {
		errs = append(errs, validateNodeAffinity(path.Child("nodeAffinity"), a.NodeAffinity)...)
	}
	if p := a.PodAffinity; p != nil {
		errs = append(errs, validatePodTerms(path.Child("podAffinity"),
			p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution)...)
	}
	if p := a.PodAntiAffinity; p != nil {
		errs = append(errs, validatePodTerms(path.Child("podAntiAffinity"),
			p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution)...)
	}
	return errs
}

const (
	required  = "requiredDuringSchedulingIgnoredDuringExecution"
	preferred = "preferredDuringSchedulingIgnoredDuringExecution"
)

func validateNodeAffinity(path *field.Path, a *corev1.NodeAffinity) field.ErrorList {
	var errs field.ErrorList
	if a.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		errs = append(errs, ValidateNodeSelector(path.Child(required), a.RequiredDuringSchedulingIgnoredDuringExecution)...)
	}
	for i, t := range a.PreferredDuringSchedulingIgnoredDuringExecution {
		p := path.Child(preferred).Index(i)
		errs = append(errs, validateWeight(p.Child("weight"), t.Weight)...)
		errs = append(errs, validateNodeTerm(p.Child("preference"), &t.Preference)...)
	}
	return errs
}

func validateWeight(path *field.Path, weight int32) field.ErrorList {
	if weight >= 1 && weight <= 100 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, weight, "must be in the range 1-100")}
}

// ValidateNodeSelector returns what is wrong with a selector of nodes.
func ValidateNodeSelector(path *field.Path, s *corev1.NodeSelector) field.ErrorList {
	terms := path.Child("nodeSelectorTerms")
	if len(s.NodeSelectorTerms) == 0 {
		return field.ErrorList{field.Required(terms, "must have at least one node selector term")}
	}
	var errs field.ErrorList
	for i := range s.NodeSelectorTerms {
		errs = append(errs, validateNodeTerm(terms.Index(i), &s.NodeSelectorTerms[i])...)
	}
	return errs
}

func validateNodeTerm(path *field.Path, t *corev1.NodeSelectorTerm) field.ErrorList {
	var errs field.ErrorList
	for i := range t.MatchExpressions {
		errs = append(errs, validateNodeRequirement(path.Child("matchExpressions").Index(i), &t.MatchExpressions[i])...)
	}
	for i := range t.MatchFields {
		errs = append(errs, validateNodeField(path.Child("matchFields").Index(i), &t.MatchFields[i])...)
	}
	return errs
}

func validateNodeRequirement(path *field.Path, r *corev1.NodeSelectorRequirement) field.ErrorList {
	var errs field.ErrorList
	values := path.Child("values")
	switch r.Operator {
	case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
		if len(r.Values) == 0 {
			errs = append(errs, field.Required(values, "must be specified when `operator` is 'In' or 'NotIn'"))
		}
	case corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist:
		if len(r.Values) > 0 {
			errs = append(errs, field.Forbidden(values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
		}
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		if len(r.Values) != 1 {
			errs = append(errs, field.Required(values, "must be specified single value when `operator` is 'Lt' or 'Gt'"))
		} else if _, err := strconv.ParseInt(r.Values[0], 10, 64); err != nil {
			errs = append(errs, field.Invalid(values.Index(0), r.Values[0], "must be an integer when `operator` is 'Lt' or 'Gt'"))
		}
	default:
		errs = append(errs, field.Invalid(path.Child("operator"), r.Operator, "not a valid selector operator"))
	}
	errs = append(errs, metavalidation.ValidateLabelName(r.Key, path.Child("key"))...)
	for i, v := range r.Values {
		errs = append(errs, rule.Invalid(values.Index(i), v, validation.IsValidLabelValue(v))...)
	}
	return errs
}

func validateNodeField(path *field.Path, r *corev1.NodeSelectorRequirement) field.ErrorList {
	var errs field.ErrorList
	switch r.Operator {
	case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
		if len(r.Values) != 1 {
			errs = append(errs, field.Required(path.Child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"))
		}
	default:
		errs = append(errs, field.Invalid(path.Child("operator"), r.Operator, "not a valid selector operator"))
	}
	if r.Key != metav1.ObjectNameField {
		return append(errs, field.Invalid(path.Child("key"), r.Key, "not a valid field selector key"))
	}
	for i, v := range r.Values {
		errs = append(errs, rule.Invalid(path.Child("values").Index(i), v, apivalidation.NameIsDNSSubdomain(v, false))...)
	}
	return errs
}

func validatePodTerms(path *field.Path, must []corev1.PodAffinityTerm, may []corev1.WeightedPodAffinityTerm) field.ErrorList {
	var errs field.ErrorList
	for i := range must {
		errs = append(errs, validatePodTerm(path.Child(required).Index(i), &must[i])...)
	}
	for i := range may {
		p := path.Child(preferred).Index(i)
		errs = append(errs, validateWeight(p.Child("weight"), may[i].Weight)...)
		errs = append(errs, validatePodTerm(p.Child("podAffinityTerm"), &may[i].PodAffinityTerm)...)
	}
	return errs
}

func validatePodTerm(path *field.Path, t *corev1.PodAffinityTerm) field.ErrorList {
	errs := rule.Selector(path.Child("labelSelector"), t.LabelSelector)
	errs = append(errs, rule.Selector(path.Child("namespaceSelector"), t.NamespaceSelector)...)
	for i, ns := range t.Namespaces {
		errs = append(errs, rule.Invalid(path.Child("namespace").Index(i), ns, apivalidation.ValidateNamespaceName(ns, false))...)
	}
	errs = append(errs, validateLabelKeys(path, t)...)
	if t.TopologyKey == "" {
		return append(errs, field.Required(path.Child("topologyKey"), "can not be empty"))
	}
	return append(errs, metavalidation.ValidateLabelName(t.TopologyKey, path.Child("topologyKey"))...)
}

func validateLabelKeys(path *field.Path, t *corev1.PodAffinityTerm) field.ErrorList {
	errs := validateMatchKeys(path.Child("matchLabelKeys"), t.MatchLabelKeys, t.LabelSelector)
	errs = append(errs, validateMatchKeys(path.Child("mismatchLabelKeys"), t.MismatchLabelKeys, t.LabelSelector)...)
	mismatched := sets.New(t.MismatchLabelKeys...)
	for i, key := range t.MatchLabelKeys {
		if mismatched.Has(key) {
			errs = append(errs, field.Invalid(path.Child("matchLabelKeys").Index(i), key, "exists in both matchLabelKeys and mismatchLabelKeys"))
		}
	}
	return errs
}

// validateMatchKeys checks keys that are looked up on the incoming pod and so
// need a selector to go with.
func validateMatchKeys(path *field.Path, keys []string, s *metav1.LabelSelector) field.ErrorList {
	if len(keys) == 0 {
		return nil
	}
	if s == nil {
		return field.ErrorList{field.Forbidden(path, "must not be specified when labelSelector is not set")}
	}
	var errs field.ErrorList
	for i, key := range keys {
		errs = append(errs, metavalidation.ValidateLabelName(key, path.Index(i))...)
	}
	return errs
}

// validateSpread checks how the pod's kin is to be spread over the nodes.
func validateSpread(path *field.Path, constraints []corev1.TopologySpreadConstraint) field.ErrorList {
	var errs field.ErrorList
	seen := sets.New[string]()
	for i := range constraints {
		c, p := &constraints[i], path.Index(i)
		errs = append(errs, validateConstraint(p, c)...)
		key := fmt.Sprintf("{%s, %s}", c.TopologyKey, c.WhenUnsatisfiable)
		if seen.Has(key) {
			errs = append(errs, field.Duplicate(p.Child("{topologyKey, whenUnsatisfiable}"), key))
		}
		seen.Insert(key)
	}
	return errs
}

func validateConstraint(path *field.Path, c *corev1.TopologySpreadConstraint) field.ErrorList {
	errs := rule.Positive(path.Child("maxSkew"), c.MaxSkew)
	if c.TopologyKey == "" {
		errs = append(errs, field.Required(path.Child("topologyKey"), "can not be empty"))
	} else {
		errs = append(errs, metavalidation.ValidateLabelName(c.TopologyKey, path.Child("topologyKey"))...)
	}
	errs = append(errs, rule.Supported(path.Child("whenUnsatisfiable"), c.WhenUnsatisfiable, corev1.DoNotSchedule, corev1.ScheduleAnyway)...)
	if c.MinDomains != nil {
		errs = append(errs, rule.Positive(path.Child("minDomains"), *c.MinDomains)...)
		if c.WhenUnsatisfiable != corev1.DoNotSchedule {
			errs = append(errs, field.Invalid(path.Child("minDomains"), *c.MinDomains,
				fmt.Sprintf("can only use minDomains if whenUnsatisfiable=%s, not %s", corev1.DoNotSchedule, c.WhenUnsatisfiable)))
		}
	}
	errs = append(errs, rule.OptionalOneOf(path.Child("nodeAffinityPolicy"), c.NodeAffinityPolicy, corev1.NodeInclusionPolicyIgnore, corev1.NodeInclusionPolicyHonor)...)
	errs = append(errs, rule.OptionalOneOf(path.Child("nodeTaintsPolicy"), c.NodeTaintsPolicy, corev1.NodeInclusionPolicyIgnore, corev1.NodeInclusionPolicyHonor)...)
	errs = append(errs, validateMatchKeys(path.Child("matchLabelKeys"), c.MatchLabelKeys, c.LabelSelector)...)
	return append(errs, rule.Selector(path.Child("labelSelector"), c.LabelSelector)...)
}
