package batch

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
)

// How many indexes a job can have, so that its status stays small enough.
const (
	maxIndexes         = 100000
	maxManyCompletions = 1000000000
	maxManagedBy       = 63
)

func validateJobSpec(path *field.Path, s *batchv1.JobSpec) field.ErrorList {
	errs := validateSelector(path, s)
	return append(errs, validateJobTemplate(path, s)...)
}

// validateJobTemplate is what can be wrong with a job wherever it is written
// down; the selector only exists in jobs themselves.
func validateJobTemplate(path *field.Path, s *batchv1.JobSpec) field.ErrorList {
	var errs field.ErrorList
	for _, f := range []struct {
		name string
		n    *int32
	}{
		{"parallelism", s.Parallelism}, {"completions", s.Completions}, {"backoffLimit", s.BackoffLimit},
		{"ttlSecondsAfterFinished", s.TTLSecondsAfterFinished}, {"backoffLimitPerIndex", s.BackoffLimitPerIndex}, {"maxFailedIndexes", s.MaxFailedIndexes},
	} {
		errs = append(errs, rule.NonNegativePtr(path.Child(f.name), f.n)...)
	}
	errs = append(errs, rule.NonNegativePtr(path.Child("activeDeadlineSeconds"), s.ActiveDeadlineSeconds)...)
	errs = append(errs, validateCompletions(path, s)...)
	if m := s.ManagedBy; m != nil {
		errs = append(errs, validation.IsDomainPrefixedPath(path.Child("managedBy"), *m)...)
		errs = append(errs, rule.MaxLength(path.Child("managedBy"), *m, maxManagedBy)...)
	}
	errs = append(errs, validateFailurePolicy(path.Child("podFailurePolicy"), s)...)
	errs = append(errs, validateSuccessPolicy(path.Child("successPolicy"), s)...)
	errs = append(errs, podspec.ValidateTemplate(path.Child("template"), &s.Template)...)
	if r := s.Template.Spec.RestartPolicy; r != corev1.RestartPolicyOnFailure && r != corev1.RestartPolicyNever {
		errs = append(errs, field.Required(path.Child("template", "spec", "restartPolicy"),
			fmt.Sprintf("valid values: %q, %q", corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)))
	}
	return append(errs, validateReplacement(path.Child("podReplacementPolicy"), s)...)
}

func validateReplacement(path *field.Path, s *batchv1.JobSpec) field.ErrorList {
	if s.PodReplacementPolicy == nil {
		return nil
	}
	if s.PodFailurePolicy != nil {
		return rule.Supported(path, *s.PodReplacementPolicy, batchv1.Failed)
	}
	return rule.Supported(path, *s.PodReplacementPolicy, batchv1.Failed, batchv1.TerminatingOrFailed)
}

func validateCompletions(path *field.Path, s *batchv1.JobSpec) field.ErrorList {
	mode := row.Pointed(s.CompletionMode)
	errs := rule.Supported(path.Child("completionMode"), mode, batchv1.NonIndexedCompletion, batchv1.IndexedCompletion)
	if mode == batchv1.IndexedCompletion {
		return append(errs, validateIndexes(path, s)...)
	}
	const onlyIndexed = "requires indexed completion mode"
	if s.BackoffLimitPerIndex != nil {
		errs = append(errs, field.Invalid(path.Child("backoffLimitPerIndex"), *s.BackoffLimitPerIndex, onlyIndexed))
	}
	if s.MaxFailedIndexes != nil {
		errs = append(errs, field.Invalid(path.Child("maxFailedIndexes"), *s.MaxFailedIndexes, onlyIndexed))
	}
	return errs
}

func validateIndexes(path *field.Path, s *batchv1.JobSpec) field.ErrorList {
	if s.Completions == nil {
		return field.ErrorList{field.Required(path.Child("completions"), fmt.Sprintf("when completion mode is %s", batchv1.IndexedCompletion))}
	}
	var errs field.ErrorList
	atMost := func(name string, n *int32, most int32) {
		if n != nil && *n > most {
			errs = append(errs, field.Invalid(path.Child(name), *n, fmt.Sprintf("must be less than or equal to %d when completion mode is %s", most, batchv1.IndexedCompletion)))
		}
	}
	atMost("parallelism", s.Parallelism, maxIndexes)
	atMost("completions", s.Completions, maxManyCompletions)
	if s.MaxFailedIndexes != nil {
		if s.BackoffLimitPerIndex == nil {
			errs = append(errs, field.Required(path.Child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"))
		}
		atMost("maxFailedIndexes", s.MaxFailedIndexes, maxIndexes)
		if *s.MaxFailedIndexes > *s.Completions {
			errs = append(errs, field.Invalid(path.Child("maxFailedIndexes"), *s.MaxFailedIndexes, "must be less than or equal to completions"))
		}
	}
	return errs
}

func validateJobUpdate(j, old *batchv1.Job) field.ErrorList {
	spec := field.NewPath("spec")
	errs := validateGenerated(j)
	errs = append(errs, validateJobSpec(spec, &j.Spec)...)
	errs = append(errs, validateCompletionsUpdate(spec.Child("completions"), j, old)...)
	for _, f := range []struct {
		name    string
		is, was any
	}{
		{"selector", j.Spec.Selector, old.Spec.Selector},
		{"completionMode", j.Spec.CompletionMode, old.Spec.CompletionMode},
		{"podFailurePolicy", j.Spec.PodFailurePolicy, old.Spec.PodFailurePolicy},
		{"backoffLimitPerIndex", j.Spec.BackoffLimitPerIndex, old.Spec.BackoffLimitPerIndex},
		{"managedBy", j.Spec.ManagedBy, old.Spec.ManagedBy},
		{"successPolicy", j.Spec.SuccessPolicy, old.Spec.SuccessPolicy},
	} {
		errs = append(errs, rule.Immutable(spec.Child(f.name), f.is, f.was)...)
	}
	return append(errs, validateTemplateUpdate(spec.Child("template"), j, old)...)
}

// validateCompletionsUpdate: only an indexed job can be stretched, and then
// together with its parallelism.
func validateCompletionsUpdate(path *field.Path, j, old *batchv1.Job) field.ErrorList {
	if row.Same(j.Spec.Completions, old.Spec.Completions) {
		return nil
	}
	elastic := row.Pointed(old.Spec.CompletionMode) == batchv1.IndexedCompletion && j.Spec.Completions != nil
	if !elastic {
		return rule.Immutable(path, j.Spec.Completions, old.Spec.Completions)
	}
	if row.Pointed(j.Spec.Completions) != row.Pointed(j.Spec.Parallelism) {
		return field.ErrorList{field.Invalid(path, *j.Spec.Completions, fmt.Sprintf("can only be modified in tandem with %s", "spec.parallelism"))}
	}
	return nil
}

// validateTemplateUpdate lets where the pods may run, and what they ask for,
// be settled while the job has not begun.
func validateTemplateUpdate(path *field.Path, j, old *batchv1.Job) field.ErrorList {
	waiting := row.Pointed(old.Spec.Suspend) && old.Status.StartTime == nil
	is, was := j.Spec.Template.DeepCopy(), &old.Spec.Template
	if waiting {
		is.Spec.NodeSelector, is.Spec.Affinity = was.Spec.NodeSelector, was.Spec.Affinity
		is.Spec.Tolerations, is.Spec.SchedulingGates = was.Spec.Tolerations, was.Spec.SchedulingGates
		is.Labels, is.Annotations = was.Labels, was.Annotations
		putBackResources(is.Spec.Containers, was.Spec.Containers)
		putBackResources(is.Spec.InitContainers, was.Spec.InitContainers)
	}
	return rule.Immutable(path, *is, *was)
}

func putBackResources(is, was []corev1.Container) {
	if len(is) != len(was) {
		return
	}
	for i := range is {
		is[i].Resources = was[i].Resources
	}
}

func validateJobStatus(j, old *batchv1.Job) field.ErrorList {
	at, s := field.NewPath("status"), &j.Status
	var errs field.ErrorList
	for _, c := range []struct {
		name string
		n    *int32
	}{{"active", &s.Active}, {"succeeded", &s.Succeeded}, {"failed", &s.Failed}, {"terminating", s.Terminating}, {"ready", s.Ready}} {
		errs = append(errs, rule.NonNegativePtr(at.Child(c.name), c.n)...)
	}
	if s.Ready != nil && *s.Ready > s.Active {
		errs = append(errs, field.Invalid(at.Child("ready"), *s.Ready, "cannot set more ready pods than active"))
	}
	complete, failed := jobHas(j, batchv1.JobComplete), jobHas(j, batchv1.JobFailed)
	if complete && failed {
		errs = append(errs, field.Invalid(at.Child("conditions"), field.OmitValueType{}, "cannot set Complete=True and Failed=true conditions"))
	}
	if s.CompletionTime != nil && !complete {
		errs = append(errs, field.Invalid(at.Child("completionTime"), s.CompletionTime, "cannot set completionTime when there is no Complete=True condition"))
	}
	if s.CompletionTime != nil && s.StartTime != nil && s.CompletionTime.Before(s.StartTime) {
		errs = append(errs, field.Invalid(at.Child("completionTime"), s.CompletionTime, "completionTime cannot be set before startTime"))
	}
	for t, name := range map[batchv1.JobConditionType]string{batchv1.JobComplete: "Complete", batchv1.JobFailed: "Failed"} {
		if jobHas(old, t) && !jobHas(j, t) {
			errs = append(errs, field.Invalid(at.Child("conditions"), field.OmitValueType{}, fmt.Sprintf("cannot disable the terminal %s=True condition", name)))
		}
	}
	return errs
}

func jobHas(j *batchv1.Job, t batchv1.JobConditionType) bool {
	for _, c := range j.Status.Conditions {
		if c.Type == t {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
