package batch

import (
	"math"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

func jobs() *registry.Resource {
	return &registry.Resource{
		Kind: kind("Job"), Name: "jobs", Singular: "job", Categories: []string{"all"}, Namespaced: true,
		Verbs: row.AllVerbs(), StoragePrefix: "jobs", New: row.New[batchv1.Job], NewList: row.New[batchv1.JobList],
		Strategy: registry.Strategy{
			Default:          registry.Do(defaultJob),
			PrepareForCreate: registry.Prepare(prepareJob),
			PrepareForUpdate: registry.PrepareUpdate(func(j, old *batchv1.Job) {
				j.Status = old.Status
				row.NextGeneration(j, old, !row.Same(j.Spec, old.Spec))
			}),
			Validate:       registry.Check(validateJob),
			ValidateUpdate: registry.CheckUpdate(validateJobUpdate),
		},
		Delete:  registry.DeleteStrategy{OrphanByDefault: true},
		Columns: jobColumns(),
		Fields: func(o runtime.Object) fields.Set {
			return fields.Set{"status.successful": strconv.Itoa(int(o.(*batchv1.Job).Status.Succeeded))}
		},
		Subresources: []registry.Subresource{row.Status(registry.Strategy{
			Default:          registry.Do(defaultJob),
			PrepareForUpdate: registry.PrepareUpdate(func(j, old *batchv1.Job) { j.Spec = old.Spec }),
			ValidateUpdate:   registry.CheckUpdate(validateJobStatus),
		})},
	}
}

func defaultJob(j *batchv1.Job) {
	defaultJobSpec(&j.Spec)
	if len(j.Labels) == 0 && len(j.Spec.Template.Labels) > 0 {
		j.Labels = make(map[string]string, len(j.Spec.Template.Labels))
		for k, v := range j.Spec.Template.Labels {
			j.Labels[k] = v
		}
	}
}

func defaultJobSpec(s *batchv1.JobSpec) {
	podspec.DefaultTemplate(&s.Template)
	switch {
	case s.Completions == nil && s.Parallelism == nil:
		setDefault(&s.Completions, 1)
		setDefault(&s.Parallelism, 1)
	default:
		setDefault(&s.Parallelism, 1)
	}
	retries := int32(6)
	if s.BackoffLimitPerIndex != nil {
		retries = math.MaxInt32
	}
	setDefault(&s.BackoffLimit, retries)
	setDefault(&s.CompletionMode, batchv1.NonIndexedCompletion)
	setDefault(&s.Suspend, false)
	setDefault(&s.ManualSelector, false)
	replacement := batchv1.TerminatingOrFailed
	if s.PodFailurePolicy != nil {
		replacement = batchv1.Failed
		defaultFailurePolicy(s.PodFailurePolicy)
	}
	setDefault(&s.PodReplacementPolicy, replacement)
}

func setDefault[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}

func defaultFailurePolicy(p *batchv1.PodFailurePolicy) {
	for i := range p.Rules {
		for k := range p.Rules[i].OnPodConditions {
			if c := &p.Rules[i].OnPodConditions[k]; c.Status == "" {
				c.Status = corev1.ConditionTrue
			}
		}
	}
}

// prepareJob ties a new job to the pods it will make, by labels that nobody
// else has.
func prepareJob(j *batchv1.Job) {
	j.Status = batchv1.JobStatus{}
	j.Generation = 1
	if !row.Pointed(j.Spec.ManualSelector) {
		generateSelector(j)
	}
}

func validateJob(j *batchv1.Job) field.ErrorList {
	errs := validateGenerated(j)
	errs = append(errs, validateJobSpec(field.NewPath("spec"), &j.Spec)...)
	return append(errs, validateIndexedName(j)...)
}
