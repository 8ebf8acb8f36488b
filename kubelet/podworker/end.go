package podworker

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/kubelet/plan"
	"github.com/yare-io/yare/kubelet/probe"
)

// end stops a pod that will not run again, and keeps its dead containers for their logs.
func (w *worker) end(ctx context.Context, pod *v1.Pod) time.Duration {
	if !w.stopped {
		if err := w.stop(ctx, pod); err != nil {
			return w.failed(ctx, "stop", err)
		}
	}
	return w.SyncPeriod
}

// stop stops everything of the pod, cleans up what it used and reports its final status.
func (w *worker) stop(ctx context.Context, pod *v1.Pod) error {
	w.report(pod, plan.Plan{}, w.Probes.Results(pod, w.found), false)
	w.Probes.Update(probe.Target{Pod: pod, Runtime: w.found, Host: w.host(pod)}, true)
	grace := time.Duration(-1)
	if w.verdict != nil && w.verdict.Grace != nil {
		grace = *w.verdict.Grace
	}
	if err := w.Runtime.StopPod(ctx, pod, w.found, grace); err != nil {
		return err
	}
	found, err := w.CRI.Pod(ctx, w.uid, w.found)
	if err != nil {
		return err
	}
	w.found = found
	w.Probes.Remove(w.uid)
	if !w.orphan {
		w.report(w.current(), plan.Plan{}, probe.Results{}, true)
	}
	if err := w.Volumes.TearDown(w.uid); err != nil {
		return err
	}
	if err := w.Cgroups.Remove(w.uid); err != nil {
		return err
	}
	for _, r := range w.References {
		r.Forget(w.uid)
	}
	w.succeeded()
	w.stopped = true
	w.mu.Lock()
	w.finished = true
	w.mu.Unlock()
	return nil
}

// delete ends a pod that is being deleted, removes all traces of it and then the API object.
func (w *worker) delete(ctx context.Context, pod *v1.Pod) (time.Duration, bool) {
	if again, ok := w.erase(ctx, pod); !ok {
		return again, false
	}
	if !w.deleting {
		w.Statuses.Delete(w.uid)
		w.deleting = true
	}
	return w.SyncPeriod, false
}

// vanish ends a pod whose API object is gone.
func (w *worker) vanish(ctx context.Context, pod *v1.Pod) (time.Duration, bool) {
	if again, ok := w.erase(ctx, pod); !ok {
		return again, false
	}
	w.Statuses.Forget(w.uid)
	return 0, true
}

// erase stops the pod if need be, and removes its containers, logs and directory.
func (w *worker) erase(ctx context.Context, pod *v1.Pod) (time.Duration, bool) {
	if !w.stopped {
		if err := w.stop(ctx, pod); err != nil {
			return w.failed(ctx, "stop", err), false
		}
	}
	if err := w.Runtime.RemovePod(ctx, w.found); err != nil {
		return w.failed(ctx, "remove containers", err), false
	}
	if err := w.Volumes.Remove(w.uid); err != nil {
		return w.failed(ctx, "remove directory", err), false
	}
	return 0, true
}
