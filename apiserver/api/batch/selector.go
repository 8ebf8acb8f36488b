package batch

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
)

// The labels by which a job knows its pods; each is also kept under the name it
// had before it got a prefix.
const (
	oldControllerUID = "controller-uid"
	oldJobName       = "job-name"
)

func ownLabels(j *batchv1.Job) map[string]string {
	return map[string]string{
		oldControllerUID:           string(j.UID),
		batchv1.ControllerUidLabel: string(j.UID),
		oldJobName:                 j.Name,
		batchv1.JobNameLabel:       j.Name,
	}
}

// generateSelector leaves alone what a client set itself; validation then
// tells it.
func generateSelector(j *batchv1.Job) {
	if j.Spec.Template.Labels == nil {
		j.Spec.Template.Labels = map[string]string{}
	}
	for key, value := range ownLabels(j) {
		if _, set := j.Spec.Template.Labels[key]; !set {
			j.Spec.Template.Labels[key] = value
		}
	}
	if j.Spec.Selector == nil {
		j.Spec.Selector = &metav1.LabelSelector{}
	}
	if j.Spec.Selector.MatchLabels == nil {
		j.Spec.Selector.MatchLabels = map[string]string{}
	}
	if _, set := j.Spec.Selector.MatchLabels[batchv1.ControllerUidLabel]; !set {
		j.Spec.Selector.MatchLabels[batchv1.ControllerUidLabel] = string(j.UID)
	}
}

// validateGenerated wants the labels and the selector to be the server's own
// unless the client takes care of them.
func validateGenerated(j *batchv1.Job) field.ErrorList {
	if row.Pointed(j.Spec.ManualSelector) {
		return nil
	}
	var errs field.ErrorList
	template := field.NewPath("spec", "template", "metadata", "labels")
	for _, key := range []string{batchv1.ControllerUidLabel, oldControllerUID, batchv1.JobNameLabel, oldJobName} {
		if want, got := ownLabels(j)[key], j.Spec.Template.Labels[key]; got != want {
			errs = append(errs, field.Invalid(template, j.Spec.Template.Labels, fmt.Sprintf("must be '%s'", want)))
		}
	}
	own := &metav1.LabelSelector{MatchLabels: map[string]string{batchv1.ControllerUidLabel: string(j.UID)}}
	old := &metav1.LabelSelector{MatchLabels: map[string]string{oldControllerUID: string(j.UID)}}
	if !row.Same(j.Spec.Selector, own) && !row.Same(j.Spec.Selector, old) {
		errs = append(errs, field.Invalid(field.NewPath("spec", "selector"), j.Spec.Selector, "`selector` not auto-generated"))
	}
	return errs
}

// validateSelector wants the selector to match the template.
func validateSelector(path *field.Path, s *batchv1.JobSpec) field.ErrorList {
	if s.Selector == nil {
		return field.ErrorList{field.Required(path.Child("selector"), "")}
	}
	errs := rule.Selector(path.Child("selector"), s.Selector)
	selector, err := metav1.LabelSelectorAsSelector(s.Selector)
	if err == nil && !selector.Matches(labels.Set(s.Template.Labels)) {
		errs = append(errs, field.Invalid(path.Child("template", "metadata", "labels"), s.Template.Labels, "`selector` does not match template `labels`"))
	}
	return errs
}

// validateIndexedName: the pods of an indexed job have host names made of the
// job's name and their index.
func validateIndexedName(j *batchv1.Job) field.ErrorList {
	if row.Pointed(j.Spec.CompletionMode) != batchv1.IndexedCompletion || j.Spec.Completions == nil || *j.Spec.Completions <= 0 {
		return nil
	}
	host := fmt.Sprintf("%s-%d", j.Name, *j.Spec.Completions-1)
	if messages := validation.IsDNS1123Label(host); len(messages) > 0 {
		return field.ErrorList{field.Invalid(field.NewPath("metadata", "name"), j.Name, fmt.Sprintf("will not able to create pod with invalid DNS label: %s", host))}
	}
	return nil
}
