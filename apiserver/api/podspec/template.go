package podspec

import (
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

// ValidateTemplate returns what is wrong with a pod template.
func ValidateTemplate(path *field.Path, t *corev1.PodTemplateSpec) field.ErrorList {
	meta := path.Child("metadata")
	errs := metavalidation.ValidateLabels(t.Labels, meta.Child("labels"))
	errs = append(errs, apivalidation.ValidateAnnotations(t.Annotations, meta.Child("annotations"))...)
	errs = append(errs, ValidatePodAnnotations(meta.Child("annotations"), t.Annotations)...)
	errs = append(errs, ValidateSpec(path.Child("spec"), &t.Spec, Options{})...)
	spec := path.Child("spec")
	if len(t.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(spec.Child("ephemeralContainers"), "ephemeral containers not allowed in pod template"))
	}
	return errs
}

// ValidateWorkloadTemplate returns what is wrong with the template of a
// controller of long-running pods: besides all that can be wrong with one, it
// must match the controller's own selector and restart for ever.
func ValidateWorkloadTemplate(path *field.Path, t *corev1.PodTemplateSpec, selector labels.Selector) field.ErrorList {
	var errs field.ErrorList
	if selector != nil && !selector.Empty() && !selector.Matches(labels.Set(t.Labels)) {
		errs = append(errs, field.Invalid(path.Child("metadata", "labels"), t.Labels, "`selector` does not match template `labels`"))
	}
	errs = append(errs, ValidateTemplate(path, t)...)
	if t.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		errs = append(errs, field.NotSupported(path.Child("spec", "restartPolicy"), t.Spec.RestartPolicy, []corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if t.Spec.ActiveDeadlineSeconds != nil {
		errs = append(errs, field.Forbidden(path.Child("spec", "activeDeadlineSeconds"), "activeDeadlineSeconds in this type of pod template is not supported"))
	}
	return errs
}

// ValidateSelector returns what is wrong with a workload's own selector, and
// the selector when it can be used.
func ValidateSelector(path *field.Path, s *metav1.LabelSelector, old *metav1.LabelSelector, kind string) (labels.Selector, field.ErrorList) {
	if s == nil {
		return nil, field.ErrorList{field.Required(path, "")}
	}
	errs := rule.SelectorRatcheted(path, s, old)
	if len(s.MatchLabels)+len(s.MatchExpressions) == 0 {
		errs = append(errs, field.Invalid(path, s, "empty selector is invalid for "+kind))
	}
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return nil, append(errs, field.Invalid(path, s, "invalid label selector"))
	}
	return selector, errs
}
