package batch

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

// maxCronJobName leaves room for the minutes that a job's name ends in.
const maxCronJobName = 63 - 11

func cronJobs() *registry.Resource {
	return &registry.Resource{
		Kind: kind("CronJob"), Name: "cronjobs", Singular: "cronjob", ShortNames: []string{"cj"}, Categories: []string{"all"}, Namespaced: true,
		Verbs: row.AllVerbs(), StoragePrefix: "cronjobs", New: row.New[batchv1.CronJob], NewList: row.New[batchv1.CronJobList],
		Strategy: registry.Strategy{
			Default: registry.Do(defaultCronJob),
			PrepareForCreate: registry.Prepare(func(c *batchv1.CronJob) {
				c.Status = batchv1.CronJobStatus{}
				c.Generation = 1
			}),
			PrepareForUpdate: registry.PrepareUpdate(func(c, old *batchv1.CronJob) {
				c.Status = old.Status
				row.NextGeneration(c, old, !row.Same(c.Spec, old.Spec))
			}),
			Validate:       registry.Check(func(c *batchv1.CronJob) field.ErrorList { return validateCronJob(c, nil) }),
			ValidateUpdate: registry.CheckUpdate(validateCronJob),
		},
		Columns: cronJobColumns(),
		Subresources: []registry.Subresource{row.Status(registry.Strategy{
			Default:          registry.Do(defaultCronJob),
			PrepareForUpdate: registry.PrepareUpdate(func(c, old *batchv1.CronJob) { c.Spec = old.Spec }),
		})},
	}
}

// defaultCronJob fills the schedule and, like any template, what the job's pods
// will be; the job's own fields are filled when there is a job.
func defaultCronJob(c *batchv1.CronJob) {
	if c.Spec.ConcurrencyPolicy == "" {
		c.Spec.ConcurrencyPolicy = batchv1.AllowConcurrent
	}
	setDefault(&c.Spec.Suspend, false)
	setDefault(&c.Spec.SuccessfulJobsHistoryLimit, 3)
	setDefault(&c.Spec.FailedJobsHistoryLimit, 1)
	podspec.DefaultTemplate(&c.Spec.JobTemplate.Spec.Template)
	if p := c.Spec.JobTemplate.Spec.PodFailurePolicy; p != nil {
		defaultFailurePolicy(p)
	}
}

func validateCronJob(c, old *batchv1.CronJob) field.ErrorList {
	spec := field.NewPath("spec")
	var errs field.ErrorList
	if old == nil && len(c.Name) > maxCronJobName {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), c.Name, "must be no more than 52 characters"))
	}
	errs = append(errs, validateSchedule(spec.Child("schedule"), c, old)...)
	errs = append(errs, validateZone(spec.Child("timeZone"), c.Spec.TimeZone)...)
	errs = append(errs, rule.NonNegativePtr(spec.Child("startingDeadlineSeconds"), c.Spec.StartingDeadlineSeconds)...)
	errs = append(errs, rule.OneOf(spec.Child("concurrencyPolicy"), c.Spec.ConcurrencyPolicy,
		batchv1.AllowConcurrent, batchv1.ForbidConcurrent, batchv1.ReplaceConcurrent)...)
	errs = append(errs, rule.NonNegativePtr(spec.Child("successfulJobsHistoryLimit"), c.Spec.SuccessfulJobsHistoryLimit)...)
	errs = append(errs, rule.NonNegativePtr(spec.Child("failedJobsHistoryLimit"), c.Spec.FailedJobsHistoryLimit)...)
	return append(errs, validateTemplate(spec.Child("jobTemplate"), &c.Spec.JobTemplate)...)
}

func validateTemplate(path *field.Path, t *batchv1.JobTemplateSpec) field.ErrorList {
	meta := path.Child("metadata")
	errs := metavalidation.ValidateLabels(t.Labels, meta.Child("labels"))
	errs = append(errs, apivalidation.ValidateAnnotations(t.Annotations, meta.Child("annotations"))...)
	job := t.Spec.DeepCopy()
	defaultJobSpec(job)
	if row.Pointed(job.ManualSelector) {
		errs = append(errs, field.NotSupported(path.Child("spec", "manualSelector"), *job.ManualSelector, []string{"nil", "false"}))
	}
	return append(errs, validateJobTemplate(path.Child("spec"), job)...)
}

func validateSchedule(path *field.Path, c, old *batchv1.CronJob) field.ErrorList {
	schedule := c.Spec.Schedule
	if schedule == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	// The parser panics on some texts that begin with a time zone, and a
	// schedule may come from anybody.
	if strings.Contains(schedule, "TZ") {
		if old == nil || old.Spec.Schedule != schedule {
			errs = append(errs, field.Invalid(path, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"))
		}
		return errs
	}
	if _, err := cron.ParseStandard(schedule); err != nil {
		errs = append(errs, field.Invalid(path, schedule, err.Error()))
	}
	return errs
}

func validateZone(path *field.Path, zone *string) field.ErrorList {
	if zone == nil {
		return nil
	}
	switch {
	case *zone == "":
		return field.ErrorList{field.Invalid(path, *zone, "timeZone must be nil or non-empty string")}
	case strings.EqualFold(*zone, "Local"):
		return field.ErrorList{field.Invalid(path, *zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones")}
	}
	if _, err := time.LoadLocation(*zone); err != nil {
		return field.ErrorList{field.Invalid(path, *zone, fmt.Sprintf("unknown time zone %s", *zone))}
	}
	return nil
}

func cronJobColumns() []registry.Column {
	template := func(c *batchv1.CronJob) *corev1.PodTemplateSpec { return &c.Spec.JobTemplate.Spec.Template }
	columns := []registry.Column{
		row.NameColumn(),
		row.Text("Schedule", func(c *batchv1.CronJob) any { return c.Spec.Schedule }),
		row.Text("Timezone", func(c *batchv1.CronJob) any { return row.Or(row.Pointed(c.Spec.TimeZone)) }),
		row.Boolean("Suspend", func(c *batchv1.CronJob) any { return row.Pointed(c.Spec.Suspend) }),
		row.Integer("Active", func(c *batchv1.CronJob) any { return int64(len(c.Status.Active)) }),
		row.Aged("Last Schedule", func(c *batchv1.CronJob, now time.Time) any {
			if c.Status.LastScheduleTime == nil {
				return row.None
			}
			return row.Age(*c.Status.LastScheduleTime, now)
		}),
		row.AgeColumn(),
	}
	columns = append(columns, row.ContainerColumns(template)...)
	return append(columns, row.Wide(row.Text("Selector", func(c *batchv1.CronJob) any { return row.Selector(c.Spec.JobTemplate.Spec.Selector) })))
}
