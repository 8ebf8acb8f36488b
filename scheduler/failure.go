package scheduler

import (
	"context"
	"encoding/json"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/yare-io/yare/scheduler/queue"
)

// unschedulable ends an attempt that found no node: room is made by preemption
// if that helps, and the pod waits for a change in the cluster. What it returns
// tells the API.
func (s *Scheduler) unschedulable(ctx context.Context, p *profile, pod *queue.Pod, start time.Time, result decision) (tell func()) {
	d := result.diagnosis
	nominated, evict := s.preempt(ctx, p, pod.Info, result)
	s.metrics.attempted(p.name, resultUnschedulable, s.since(start))
	s.verdicts.set(pod.Info, d, s.cfg.Clock.Now())
	s.log.Debug("pod cannot be scheduled", "pod", pod.Info.Key(), "reason", d.Message())
	inform := s.requeue(ctx, p, pod, d.Rejectors(), failureReport{reason: v1.PodReasonUnschedulable, message: d.Message(), nominated: nominated})
	return func() {
		evict()
		inform()
	}
}

// failed ends an attempt that went wrong; the pod is tried again after backoff.
// What it returns tells the API.
func (s *Scheduler) failed(ctx context.Context, p *profile, pod *queue.Pod, start time.Time, err error) (tell func()) {
	s.metrics.attempted(p.name, resultError, s.since(start))
	if ctx.Err() == nil {
		s.log.Error("scheduling failed", "pod", pod.Info.Key(), "error", err)
	}
	nominated := s.nominated.Node(pod.Info.Pod.UID)
	return s.requeue(ctx, p, pod, nil, failureReport{reason: v1.PodReasonSchedulerError, message: err.Error(), nominated: nominated})
}

// failureReport is what the pod's status and an event tell the user.
type failureReport struct {
	reason, message string
	// nominated is the node promised to the pod, "" for none.
	nominated string
}

func (s *Scheduler) requeue(ctx context.Context, p *profile, pod *queue.Pod, rejectors sets.Set[string], report failureReport) (tell func()) {
	object := pod.Info.Pod
	current, err := s.pods.Pods(object.Namespace).Get(object.Name)
	if apierrors.IsNotFound(err) || err == nil && (current.UID != object.UID || current.Spec.NodeName != "") {
		s.queue.Done(pod)
		return func() {}
	}
	if err == nil && current.ResourceVersion != object.ResourceVersion {
		object = current
		s.podWaits(current)
	}
	s.nominated.Set(pod.Info, report.nominated)
	s.queue.Requeue(pod, rejectors)
	return func() { s.report(ctx, p, object, report) }
}

// report writes an event and, if it says something new, the pod's status.
func (s *Scheduler) report(ctx context.Context, p *profile, pod *v1.Pod, report failureReport) {
	if ctx.Err() != nil {
		return
	}
	s.recorders[p.name].Eventf(pod, nil, v1.EventTypeWarning, "FailedScheduling", "Scheduling", "%s", truncate(report.message))
	if patch, changed := statusPatch(pod, report, s.cfg.Clock.Now()); changed {
		s.patchStatus(ctx, pod, patch)
	}
}

// maxEventMessage is the longest note that the events API takes.
const maxEventMessage = 1024

func truncate(message string) string {
	if len(message) > maxEventMessage {
		return message[:maxEventMessage-4] + " ..."
	}
	return message
}

func (s *Scheduler) patchStatus(ctx context.Context, pod *v1.Pod, patch []byte) {
	_, err := s.cfg.Client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
		s.log.Error("pod status not updated", "pod", pod.Namespace+"/"+pod.Name, "error", err)
	}
}

// statusPatch returns the change that makes the pod's status say what the
// report does, and whether there is any.
func statusPatch(pod *v1.Pod, report failureReport, now time.Time) ([]byte, bool) {
	condition := v1.PodCondition{Type: v1.PodScheduled, Status: v1.ConditionFalse, Reason: report.reason, Message: report.message,
		ObservedGeneration: pod.Generation, LastTransitionTime: metav1.NewTime(now)}
	same := false
	for i := range pod.Status.Conditions {
		old := &pod.Status.Conditions[i]
		if old.Type != v1.PodScheduled {
			continue
		}
		if old.Status == condition.Status {
			condition.LastTransitionTime = old.LastTransitionTime
		}
		same = *old == condition
	}
	nominationChanged := pod.Status.NominatedNodeName != report.nominated
	if same && !nominationChanged {
		return nil, false
	}
	status := map[string]any{"conditions": []v1.PodCondition{condition}}
	if nominationChanged {
		// An empty name must be written as null to be taken away.
		status["nominatedNodeName"] = nil
		if report.nominated != "" {
			status["nominatedNodeName"] = report.nominated
		}
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": status})
	return patch, err == nil
}
