package podspec

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

// ValidateTolerations returns what is wrong with a list of tolerations.
func ValidateTolerations(path *field.Path, tolerations []corev1.Toleration) field.ErrorList {
	var errs field.ErrorList
	for i := range tolerations {
		errs = append(errs, validateToleration(path.Index(i), &tolerations[i])...)
	}
	return errs
}

func validateToleration(path *field.Path, t *corev1.Toleration) field.ErrorList {
	var errs field.ErrorList
	if t.Key != "" {
		errs = append(errs, rule.QualifiedName(path.Child("key"), t.Key)...)
	}
	if t.Key == "" && t.Operator != corev1.TolerationOpExists {
		errs = append(errs, field.Invalid(path.Child("operator"), t.Operator,
			"operator must be Exists when `key` is empty, which means \"match all values and all keys\""))
	}
	if t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute {
		errs = append(errs, field.Invalid(path.Child("effect"), t.Effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"))
	}
	errs = append(errs, validateTolerated(path, t)...)
	if t.Effect != "" {
		errs = append(errs, ValidateTaintEffect(path.Child("effect"), t.Effect)...)
	}
	return errs
}

func validateTolerated(path *field.Path, t *corev1.Toleration) field.ErrorList {
	switch t.Operator {
	case corev1.TolerationOpEqual, "":
		return rule.Invalid(path.Child("operator"), t.Value, validation.IsValidLabelValue(t.Value))
	case corev1.TolerationOpExists:
		if t.Value != "" {
			return field.ErrorList{field.Invalid(path.Child("operator"), t.Value, "value must be empty when `operator` is 'Exists'")}
		}
		return nil
	case corev1.TolerationOpLt, corev1.TolerationOpGt:
		if _, err := strconv.ParseInt(t.Value, 10, 64); err != nil {
			return field.ErrorList{field.Invalid(path.Child("value"), t.Value, "value must be a valid integer when `operator` is 'Lt' or 'Gt'")}
		}
		return nil
	}
	return rule.Supported(path.Child("operator"), t.Operator,
		corev1.TolerationOpEqual, corev1.TolerationOpExists, corev1.TolerationOpLt, corev1.TolerationOpGt)
}

// ValidateTaintEffect wants one of the three effects.
func ValidateTaintEffect(path *field.Path, e corev1.TaintEffect) field.ErrorList {
	return rule.OneOf(path, e, corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)
}
