package podworker

import (
	"context"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/plan"
	"github.com/yare-io/yare/kubelet/status"
	"github.com/yare-io/yare/kubelet/volume"
)

const (
	leastRetry = 500 * time.Millisecond // pause after the first failure; it doubles
	mostRetry  = 10 * time.Second
)

// worker lives one pod's life. The fields below mu are shared; the rest belong to its goroutine.
type worker struct {
	*Workers
	uid    types.UID
	orphan bool // never had an API object here
	wake   chan struct{}

	mu        sync.Mutex
	pod       *v1.Pod
	gone      bool // the pod no longer exists
	stale     bool // volumes must be looked at
	hurry     bool // an object that the pod refers to has changed
	admitted  bool
	finished  bool               // stopped for good
	evicted   *status.Verdict    // set once, by Evict
	interrupt context.CancelFunc // ends the action that is under way

	found     *cri.Pod // as last read
	verdict   *status.Verdict
	status    *v1.PodStatus // as last computed
	waiting   map[string]plan.Waiting
	announced map[string]string // back-off messages that were told
	messages  map[string]string // termination messages by container id
	backoff   *plan.Backoff
	volumes   map[string]volume.Mounted
	mountedAt time.Time
	failures  int
	notBefore time.Time // nothing is tried again before
	stopped   bool      // everything stopped and cleaned up
	deleting  bool      // the API object was asked to be deleted
	quick     int       // how many quick looks are left after a start
}

func newWorker(w *Workers, pod *v1.Pod) *worker {
	return &worker{
		Workers: w, uid: pod.UID, wake: make(chan struct{}, 1),
		waiting: map[string]plan.Waiting{}, announced: map[string]string{}, messages: map[string]string{},
		backoff: plan.NewBackoff(plan.InitialBackoff, w.MaxBackoff),
	}
}

func (w *worker) wakeUp() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *worker) update(pod *v1.Pod) {
	w.mu.Lock()
	old := w.pod
	w.pod, w.stale = pod, true
	if old != nil && w.interrupt != nil && endsSooner(old, pod) {
		w.interrupt()
	}
	w.mu.Unlock()
	w.wakeUp()
}

// endsSooner says whether what is under way for old must be broken off: the pod is to end, or to end faster.
func endsSooner(old, pod *v1.Pod) bool {
	if pod.DeletionTimestamp == nil {
		return false
	}
	if old.DeletionTimestamp == nil {
		return true
	}
	was, is := old.DeletionGracePeriodSeconds, pod.DeletionGracePeriodSeconds
	return was != nil && is != nil && *is < *was
}

func (w *worker) remove() {
	w.mu.Lock()
	if !w.gone && w.interrupt != nil && w.pod.DeletionTimestamp == nil {
		w.interrupt()
	}
	w.gone = true
	w.mu.Unlock()
	w.wakeUp()
}

// evict has the pod end with the verdict, unless it is ending for good already.
func (w *worker) evict(verdict *status.Verdict) bool {
	w.mu.Lock()
	if w.gone || !w.admitted || w.finished || w.evicted != nil {
		w.mu.Unlock()
		return false
	}
	w.evicted = verdict
	if w.interrupt != nil {
		w.interrupt()
	}
	w.mu.Unlock()
	w.wakeUp()
	return true
}

func (w *worker) refresh() {
	w.mu.Lock()
	w.stale, w.hurry = true, true
	w.mu.Unlock()
	w.wakeUp()
}

func (w *worker) desired() *v1.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pod
}

func (w *worker) holdsResources() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.admitted && !w.finished
}

func (w *worker) isGone() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gone
}

func (w *worker) isFinished() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.finished
}

// run steps through the pod's life until nothing is left of it.
func (w *worker) run(ctx context.Context) {
	for {
		step, cancel := context.WithCancel(ctx)
		w.mu.Lock()
		w.interrupt = cancel
		w.mu.Unlock()
		again, done := w.step(step)
		cancel()
		if done || ctx.Err() != nil {
			return
		}
		if again <= 0 {
			continue
		}
		timer := w.Clock.NewTimer(again)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-w.wake:
			timer.Stop()
		case <-timer.C():
		}
	}
}

// current returns the pod with the newest status that is known of it: what the node computed, and for the rest what the API
// server has.
func (w *worker) current() *v1.Pod {
	pod := w.desired()
	if w.status == nil {
		return pod
	}
	merged := *pod
	merged.Status = *w.status.DeepCopy()
	merged.Status.Conditions = status.Merge(w.status.Conditions, pod.Status.Conditions)
	return &merged
}

// step looks once and acts once. It says how long to wait before the next look (0: none at all) and whether the
// pod's life is over.
func (w *worker) step(ctx context.Context) (again time.Duration, done bool) {
	found, err := w.CRI.Pod(ctx, w.uid, w.found)
	if err != nil {
		return w.failed(ctx, "read the pod from the runtime", err), false
	}
	w.found = found
	w.mu.Lock()
	gone, evicted := w.gone, w.evicted
	w.mu.Unlock()
	pod := w.current()
	if w.verdict == nil && evicted != nil && !gone && !status.Over(&pod.Status) {
		w.verdict = evicted
		w.Events.Pod(pod, v1.EventTypeWarning, evicted.Reason, "%s", evicted.Message)
	}
	if w.verdict == nil && !gone {
		w.verdict = w.overdue(pod)
	}
	switch {
	case gone:
		return w.vanish(ctx, pod)
	case pod.DeletionTimestamp != nil:
		return w.delete(ctx, pod)
	case w.verdict != nil || status.Over(&pod.Status):
		return w.end(ctx, pod), false
	}
	return w.sync(ctx, pod), false
}

// overdue says whether the pod has used up its activeDeadlineSeconds.
func (w *worker) overdue(pod *v1.Pod) *status.Verdict {
	if left, limited := w.untilDeadline(pod); !limited || left > 0 || status.Over(&pod.Status) {
		return nil
	}
	w.Events.Pod(pod, v1.EventTypeNormal, "DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
	return &status.Verdict{Reason: "DeadlineExceeded", Message: "Pod was active on the node longer than the specified deadline"}
}

func (w *worker) untilDeadline(pod *v1.Pod) (time.Duration, bool) {
	if pod.Spec.ActiveDeadlineSeconds == nil || pod.Status.StartTime == nil {
		return 0, false
	}
	deadline := pod.Status.StartTime.Add(time.Duration(*pod.Spec.ActiveDeadlineSeconds) * time.Second)
	return deadline.Sub(w.Clock.Now()), true
}

// failed notes a failure and says when to try again.
func (w *worker) failed(ctx context.Context, what string, err error) time.Duration {
	if ctx.Err() != nil {
		return time.Nanosecond // broken off: the pod has changed
	}
	pause := min(leastRetry<<min(w.failures, 8), mostRetry)
	w.failures++
	w.notBefore = w.Clock.Now().Add(pause)
	w.Logger.Warn("a pod could not be moved on", "pod", w.name(), "action", what, "error", err, "retry", pause)
	return pause
}

func (w *worker) succeeded() { w.failures, w.notBefore = 0, time.Time{} }

func (w *worker) name() string {
	pod := w.desired()
	return pod.Namespace + "/" + pod.Name
}
