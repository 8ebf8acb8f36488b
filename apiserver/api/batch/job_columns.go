package batch

import (
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

func jobColumns() []registry.Column {
	columns := []registry.Column{
		row.NameColumn(),
		row.Text("Status", func(j *batchv1.Job) any { return jobStatus(j) }),
		row.Text("Completions", func(j *batchv1.Job) any { return completionsCell(j) }),
		row.Aged("Duration", func(j *batchv1.Job, now time.Time) any { return durationCell(j, now) }),
		row.AgeColumn(),
	}
	columns = append(columns, row.ContainerColumns(func(j *batchv1.Job) *corev1.PodTemplateSpec { return &j.Spec.Template })...)
	return append(columns, row.Wide(row.Text("Selector", func(j *batchv1.Job) any { return row.Selector(j.Spec.Selector) })))
}

func jobStatus(j *batchv1.Job) string {
	switch {
	case jobHas(j, batchv1.JobComplete):
		return "Complete"
	case jobHas(j, batchv1.JobFailed):
		return "Failed"
	case j.DeletionTimestamp != nil:
		return "Terminating"
	case jobHas(j, batchv1.JobSuspended):
		return "Suspended"
	case jobHas(j, batchv1.JobFailureTarget):
		return "FailureTarget"
	case jobHas(j, batchv1.JobSuccessCriteriaMet):
		return "SuccessCriteriaMet"
	}
	return "Running"
}

func completionsCell(j *batchv1.Job) string {
	if j.Spec.Completions != nil {
		return row.Fraction(j.Status.Succeeded, *j.Spec.Completions)
	}
	if parallel := row.Pointed(j.Spec.Parallelism); parallel > 1 {
		return fmt.Sprintf("%d/1 of %d", j.Status.Succeeded, parallel)
	}
	return row.Fraction(j.Status.Succeeded, 1)
}

func durationCell(j *batchv1.Job, now time.Time) string {
	switch {
	case j.Status.StartTime == nil:
		return ""
	case j.Status.CompletionTime == nil:
		return duration.HumanDuration(now.Sub(j.Status.StartTime.Time))
	}
	return duration.HumanDuration(j.Status.CompletionTime.Sub(j.Status.StartTime.Time))
}
