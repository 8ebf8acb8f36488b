package batch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
)

const (
	maxPolicyRules      = 20
	maxPolicyConditions = 20
	maxExitCodes        = 255
	maxIndexesLength    = 64 * 1024
)

// validateFailurePolicy checks what the failure of a pod means for the job.
func validateFailurePolicy(path *field.Path, s *batchv1.JobSpec) field.ErrorList {
	p := s.PodFailurePolicy
	if p == nil {
		return nil
	}
	var errs field.ErrorList
	if s.Template.Spec.RestartPolicy != corev1.RestartPolicyNever {
		errs = append(errs, field.Invalid(path.Child("restartPolicy"), s.Template.Spec.RestartPolicy,
			fmt.Sprintf("only %q is supported when podFailurePolicy is specified", corev1.RestartPolicyNever)))
	}
	rules := path.Child("rules")
	errs = append(errs, rule.MaxItems(rules, len(p.Rules), maxPolicyRules)...)
	for i := range p.Rules {
		errs = append(errs, validateFailureRule(rules.Index(i), &p.Rules[i], s)...)
	}
	return errs
}

func validateFailureRule(path *field.Path, r *batchv1.PodFailurePolicyRule, s *batchv1.JobSpec) field.ErrorList {
	errs := rule.OneOf(path.Child("action"), r.Action, batchv1.PodFailurePolicyActionCount, batchv1.PodFailurePolicyActionFailIndex,
		batchv1.PodFailurePolicyActionFailJob, batchv1.PodFailurePolicyActionIgnore)
	if r.Action == batchv1.PodFailurePolicyActionFailIndex && s.BackoffLimitPerIndex == nil {
		errs = append(errs, field.Invalid(path.Child("action"), r.Action, "requires the backoffLimitPerIndex to be set"))
	}
	switch {
	case r.OnExitCodes != nil && len(r.OnPodConditions) > 0:
		errs = append(errs, field.Invalid(path, field.OmitValueType{}, "specifying both OnExitCodes and OnPodConditions is not supported"))
	case r.OnExitCodes == nil && len(r.OnPodConditions) == 0:
		errs = append(errs, field.Invalid(path, field.OmitValueType{}, "specifying one of OnExitCodes and OnPodConditions is required"))
	case r.OnExitCodes != nil:
		errs = append(errs, validateExitCodes(path.Child("onExitCodes"), r.OnExitCodes, s)...)
	}
	conditions := path.Child("onPodConditions")
	errs = append(errs, rule.MaxItems(conditions, len(r.OnPodConditions), maxPolicyConditions)...)
	for i, c := range r.OnPodConditions {
		errs = append(errs, rule.QualifiedName(conditions.Index(i).Child("type"), string(c.Type))...)
		errs = append(errs, rule.OneOf(conditions.Index(i).Child("status"), c.Status, corev1.ConditionTrue, corev1.ConditionFalse, corev1.ConditionUnknown)...)
	}
	return errs
}

func validateExitCodes(path *field.Path, c *batchv1.PodFailurePolicyOnExitCodesRequirement, s *batchv1.JobSpec) field.ErrorList {
	errs := rule.OneOf(path.Child("operator"), c.Operator, batchv1.PodFailurePolicyOnExitCodesOpIn, batchv1.PodFailurePolicyOnExitCodesOpNotIn)
	if name := c.ContainerName; name != nil && !hasContainer(s, *name) {
		errs = append(errs, field.Invalid(path.Child("containerName"), *name, "must be one of the container or initContainer names in the pod template"))
	}
	values := path.Child("values")
	if len(c.Values) == 0 {
		return append(errs, field.Invalid(values, c.Values, "at least one value is required"))
	}
	errs = append(errs, rule.MaxItems(values, len(c.Values), maxExitCodes)...)
	for i, v := range c.Values {
		if c.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn && v == 0 {
			errs = append(errs, field.Invalid(values.Index(i), v, "must not be 0 for the In operator"))
		}
		if i > 0 && c.Values[i-1] == v {
			errs = append(errs, field.Duplicate(values.Index(i), v))
		}
	}
	if !slices.IsSorted(c.Values) {
		errs = append(errs, field.Invalid(values, c.Values, "must be ordered"))
	}
	return errs
}

func hasContainer(s *batchv1.JobSpec, name string) bool {
	named := func(c corev1.Container) bool { return c.Name == name }
	return slices.ContainsFunc(s.Template.Spec.Containers, named) || slices.ContainsFunc(s.Template.Spec.InitContainers, named)
}

// validateSuccessPolicy checks when a job is done although not all its indexes
// are.
func validateSuccessPolicy(path *field.Path, s *batchv1.JobSpec) field.ErrorList {
	p := s.SuccessPolicy
	if p == nil {
		return nil
	}
	if row.Pointed(s.CompletionMode) != batchv1.IndexedCompletion {
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "requires indexed completion mode")}
	}
	rules := path.Child("rules")
	if len(p.Rules) == 0 {
		return field.ErrorList{field.Required(rules, "at least one rules must be specified when the successPolicy is specified")}
	}
	errs := rule.MaxItems(rules, len(p.Rules), maxPolicyRules)
	for i := range p.Rules {
		errs = append(errs, validateSuccessRule(rules.Index(i), &p.Rules[i], row.Pointed(s.Completions))...)
	}
	return errs
}

func validateSuccessRule(path *field.Path, r *batchv1.SuccessPolicyRule, completions int32) field.ErrorList {
	if r.SucceededIndexes == nil && r.SucceededCount == nil {
		return field.ErrorList{field.Required(path, "at least one of succeededCount or succeededIndexes must be specified")}
	}
	var errs field.ErrorList
	total := completions
	if r.SucceededIndexes != nil {
		at := path.Child("succeededIndexes")
		errs = append(errs, rule.MaxLength(at, *r.SucceededIndexes, maxIndexesLength)...)
		n, err := countIndexes(*r.SucceededIndexes, completions)
		if err != nil {
			errs = append(errs, field.Invalid(at, *r.SucceededIndexes, "error parsing succeededIndexes: "+err.Error()))
		}
		total = n
	}
	if c := r.SucceededCount; c != nil {
		at := path.Child("succeededCount")
		errs = append(errs, rule.Positive(at, *c)...)
		if *c > completions {
			errs = append(errs, field.Invalid(at, *c, fmt.Sprintf("must be less than or equal to %d (the number of specified completions)", completions)))
		}
		if r.SucceededIndexes != nil && *c > total {
			errs = append(errs, field.Invalid(at, *c, fmt.Sprintf("must be less than or equal to %d (the number of indexes in the specified succeededIndexes field)", total)))
		}
	}
	return errs
}

// countIndexes returns how many indexes a text like 0,2-4 names, which must be
// in order and below the number of completions.
func countIndexes(text string, completions int32) (int32, error) {
	var total int32
	last := int32(-1)
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(part, "-")
		from, err := strconv.ParseInt(low, 10, 32)
		if err != nil {
			return 0, fmt.Errorf("cannot convert string to integer for index: %q", low)
		}
		to := from
		if isRange {
			if to, err = strconv.ParseInt(high, 10, 32); err != nil {
				return 0, fmt.Errorf("cannot convert string to integer for index: %q", high)
			}
		}
		switch {
		case int32(from) <= last:
			return 0, fmt.Errorf("non-increasing order, previous: %d, current: %d", last, from)
		case isRange && to <= from:
			return 0, fmt.Errorf("non-increasing order, previous: %d, current: %d", from, to)
		case int32(to) >= completions:
			return 0, fmt.Errorf("too large index: %q", part)
		}
		total += int32(to-from) + 1
		last = int32(to)
	}
	return total, nil
}
