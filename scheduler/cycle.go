package scheduler

import (
	"context"
	"fmt"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/scheduler/queue"
)

// scheduleOne decides about one pod and leaves the rest to the background.
func (s *Scheduler) scheduleOne(ctx context.Context, pod *queue.Pod) {
	start := s.cfg.Clock.Now()
	p := s.profiles[pod.Info.Pod.Spec.SchedulerName]
	if p == nil || pod.Info.Pod.DeletionTimestamp != nil || s.cluster.Assumed(pod.Info.Pod.UID) {
		s.queue.Done(pod)
		return
	}
	result, err := s.decider.decide(p, pod.Info, s.cluster.Snapshot())
	s.metrics.algorithm.Observe(s.since(start).Seconds())
	switch {
	case err != nil:
		s.inBackground(s.failed(ctx, p, pod, start, err))
	case result.diagnosis != nil:
		s.inBackground(s.unschedulable(ctx, p, pod, start, result))
	default:
		s.inBackground(s.assume(ctx, p, pod, start, result))
	}
}

// assume takes the node's room at once; what it returns binds the pod.
func (s *Scheduler) assume(ctx context.Context, p *profile, pod *queue.Pod, start time.Time, result decision) (bind func()) {
	if err := s.cluster.Assume(pod.Info, result.node); err != nil {
		return s.failed(ctx, p, pod, start, err)
	}
	s.nominated.Drop(pod.Info.Pod.UID)
	for _, reserver := range p.reservers {
		if status := reserver.Reserve(ctx, pod.Info.Pod, result.node); !status.OK() {
			s.release(ctx, p, pod, result.node)
			return s.failed(ctx, p, pod, start, fmt.Errorf("running Reserve plugin %q: %s", reserver.Name(), status.Message()))
		}
	}
	return func() {
		if err := s.bind(ctx, p, pod.Info.Pod, result.node); err != nil {
			s.release(ctx, p, pod, result.node)
			s.failed(ctx, p, pod, start, err)()
			return
		}
		s.bound(p, pod, start, result)
	}
}

func (s *Scheduler) bind(ctx context.Context, p *profile, pod *v1.Pod, node string) error {
	for _, binder := range p.preBinders {
		if status := binder.PreBind(ctx, pod, node); !status.OK() {
			return fmt.Errorf("running PreBind plugin %q: %s", binder.Name(), status.Message())
		}
	}
	if err := p.binder.Bind(ctx, pod, node); err != nil {
		return fmt.Errorf("binding rejected: %w", err)
	}
	return nil
}

// bound keeps the assumption until the informer confirms it.
func (s *Scheduler) bound(p *profile, pod *queue.Pod, start time.Time, result decision) {
	object := pod.Info.Pod
	s.recorders[p.name].Eventf(object, nil, v1.EventTypeNormal, "Scheduled", "Binding",
		"Successfully assigned %v/%v to %v", object.Namespace, object.Name, result.node)
	s.queue.Done(pod)
	s.verdicts.drop(object.UID)
	s.metrics.attempted(p.name, resultScheduled, s.since(start))
	s.metrics.podAttempts.Observe(float64(pod.Attempts))
	s.metrics.podDuration.WithLabelValues(strconv.Itoa(min(pod.Attempts, 16))).Observe(s.since(pod.Added).Seconds())
	s.log.Debug("pod bound", "pod", pod.Info.Key(), "node", result.node, "evaluatedNodes", result.evaluated, "feasibleNodes", result.feasible)
}

// release gives back what assume took, and tells the pods that waited for it.
func (s *Scheduler) release(ctx context.Context, p *profile, pod *queue.Pod, node string) {
	for _, reserver := range p.reservers {
		reserver.Unreserve(ctx, pod.Info.Pod, node)
	}
	s.cluster.Forget(pod.Info.Pod.UID)
	s.podReleased(pod.Info.Pod)
}
