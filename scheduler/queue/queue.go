package queue

import (
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/scheduler/framework"
)

// Config sets a queue up; zero values stand for Kubernetes' defaults.
type Config struct {
	Clock clock.WithTicker
	// InitialBackoff (1 s) doubles with each failed attempt up to MaxBackoff (10 s).
	InitialBackoff, MaxBackoff time.Duration
	// UnschedulableTimeout (5 min) is how long a pod waits for a change before
	// it is tried without one.
	UnschedulableTimeout time.Duration
	// Gate returns a rejection for pods that must not be tried at all, nil to
	// admit all. It is called with the queue locked.
	Gate func(pod *v1.Pod) *framework.Status
	// Wakes returns what wakes a pod that the plugin rejected. ok is false for
	// a plugin that did not say; then everything does.
	Wakes func(plugin string) (wakes []framework.Wake, ok bool)
	// Incoming is called, with the queue locked, for each move of a pod into a
	// part of the queue, as the metric of that name counts it. May be nil.
	Incoming func(queue, event string)
}

// Queue holds the pods of one scheduler. It is safe for concurrent use.
type Queue struct {
	cfg Config

	mu sync.Mutex
	// pods holds every pod by UID, those in flight included.
	pods    map[types.UID]*Pod
	active  podHeap
	backoff podHeap
	// arrived and rescheduled are closed and replaced to wake Pop and Run.
	arrived     chan struct{}
	rescheduled chan struct{}
	// flying are the pods in flight; events are those that the longest of
	// their attempts has not seen, and events[i] has sequence number base+i.
	flying map[*Pod]struct{}
	events []event
	base   int64
}

type event struct {
	kind           framework.Event
	oldObj, newObj any
}

// New returns an empty queue.
func New(cfg Config) *Queue {
	setDefault(&cfg.InitialBackoff, time.Second)
	setDefault(&cfg.MaxBackoff, 10*time.Second)
	setDefault(&cfg.UnschedulableTimeout, 5*time.Minute)
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	if cfg.Gate == nil {
		cfg.Gate = func(*v1.Pod) *framework.Status { return nil }
	}
	if cfg.Wakes == nil {
		cfg.Wakes = func(string) ([]framework.Wake, bool) { return nil, false }
	}
	if cfg.Incoming == nil {
		cfg.Incoming = func(string, string) {}
	}
	return &Queue{cfg: cfg, pods: map[types.UID]*Pod{}, flying: map[*Pod]struct{}{}, active: podHeap{less: byPriority}, backoff: podHeap{less: byReady},
		arrived: make(chan struct{}), rescheduled: make(chan struct{})}
}

func setDefault(value *time.Duration, fallback time.Duration) {
	if *value == 0 {
		*value = fallback
	}
}

// Add puts a new pod in; a pod that is already there is updated.
func (q *Queue) Add(info *framework.PodInfo) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if known, ok := q.pods[info.Pod.UID]; ok {
		q.update(known, info)
		return
	}
	pod := &Pod{Info: info, Added: q.cfg.Clock.Now()}
	q.pods[pod.uid()] = pod
	q.admit(pod, "PodAdd")
}

// Update tells the queue that the pod itself has changed.
func (q *Queue) Update(info *framework.PodInfo) { q.Add(info) }

func (q *Queue) update(pod *Pod, info *framework.PodInfo) {
	old := pod.Info.Pod
	switch pod.where {
	case inFlight:
		// The attempt owns the pod: what it hands back carries the old
		// object, so the new one is kept as an event for it.
		q.record(event{framework.PodUpdate, old, info})
		return
	case active:
		pod.Info = info
		heap.Fix(&q.active, pod.heapIndex)
		return
	case gated:
		pod.Info = info
		if q.cfg.Gate(info.Pod) == nil {
			q.admit(pod, framework.PodUpdate.String())
		}
		return
	}
	pod.Info = info
	if pod.where == unschedulable && podChanged(old, info.Pod) {
		q.leaveUnschedulable(pod, framework.PodUpdate.String())
	}
}

// podChanged ignores what the scheduler and the API server write by themselves.
func podChanged(old, updated *v1.Pod) bool {
	return old.Generation != updated.Generation || !mapsEqual(old.Labels, updated.Labels) ||
		!mapsEqual(old.Annotations, updated.Annotations) || specChanged(old, updated)
}

// Delete takes the pod out; an attempt in flight finds out by Done or Requeue.
func (q *Queue) Delete(uid types.UID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	pod, ok := q.pods[uid]
	if !ok {
		return
	}
	q.take(pod)
	delete(q.pods, uid)
}

// Pop waits for the next pod and hands it to the caller, who MUST end the
// attempt with Done or Requeue. It returns ctx's error when that ends first.
func (q *Queue) Pop(ctx context.Context) (*Pod, error) {
	for {
		q.mu.Lock()
		if len(q.active.pods) > 0 {
			pod := heap.Pop(&q.active).(*Pod)
			pod.where = inFlight
			pod.Attempts++
			pod.since = q.base + int64(len(q.events))
			q.flying[pod] = struct{}{}
			q.mu.Unlock()
			return pod, nil
		}
		arrived := q.arrived
		q.mu.Unlock()
		select {
		case <-arrived:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Done ends an attempt that placed the pod, or that found it gone.
func (q *Queue) Done(pod *Pod) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.pods[pod.uid()] == pod {
		delete(q.pods, pod.uid())
	}
	q.take(pod)
}

// Requeue ends an attempt that failed. rejectors are the plugins that rejected
// the pod; with none, the attempt ended in an error and is retried after backoff.
func (q *Queue) Requeue(pod *Pod, rejectors sets.Set[string]) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if pod.where != inFlight {
		return
	}
	pod.Rejectors = rejectors
	pod.failedAt = q.cfg.Clock.Now()
	pod.backoffs++
	missed := slices.Clone(q.events[pod.since-q.base:])
	q.take(pod)
	if q.pods[pod.uid()] != pod {
		return
	}
	woken := len(rejectors) == 0
	for i := range missed {
		if update, ok := missed[i].newObj.(*framework.PodInfo); ok && missed[i].kind == framework.PodUpdate {
			if update.Pod.UID == pod.uid() {
				woken = woken || podChanged(pod.Info.Pod, update.Pod)
				pod.Info = update
			}
			continue
		}
		woken = woken || q.wakes(pod, &missed[i])
	}
	if !woken {
		q.put(pod, unschedulable, "ScheduleAttemptFailure")
		return
	}
	q.leaveUnschedulable(pod, "ScheduleAttemptFailure")
}

// Changed tells the queue of a change in the cluster; pods that it may help
// are tried again, after what is left of their backoff.
func (q *Queue) Changed(kind framework.Event, oldObj, newObj any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	ev := event{kind, oldObj, newObj}
	q.record(ev)
	for _, pod := range q.pods {
		if pod.where == unschedulable && q.wakes(pod, &ev) {
			q.leaveUnschedulable(pod, kind.String())
		}
	}
}

// Activate tries the pod again at once, whatever it waits for.
func (q *Queue) Activate(uid types.UID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if pod, ok := q.pods[uid]; ok && (pod.where == unschedulable || pod.where == backoff) {
		q.admit(pod, "ForceActivate")
	}
}

// record keeps the event for the attempts in flight.
func (q *Queue) record(ev event) {
	if len(q.flying) > 0 {
		q.events = append(q.events, ev)
	}
}

func (q *Queue) wakes(pod *Pod, ev *event) bool {
	for plugin := range pod.Rejectors {
		wakes, ok := q.cfg.Wakes(plugin)
		if !ok {
			return true
		}
		for _, wake := range wakes {
			if wake.On&ev.kind != 0 && (wake.Hint == nil || wake.Hint(pod.Info.Pod, ev.oldObj, ev.newObj)) {
				return true
			}
		}
	}
	return false
}

// leaveUnschedulable moves the pod to the active heap, or to backoff for what
// is left of it.
func (q *Queue) leaveUnschedulable(pod *Pod, reason string) {
	pod.ready = pod.failedAt.Add(q.backoffOf(pod))
	if pod.ready.After(q.cfg.Clock.Now()) {
		q.put(pod, backoff, reason)
		return
	}
	q.admit(pod, reason)
}

func (q *Queue) backoffOf(pod *Pod) time.Duration {
	duration := q.cfg.InitialBackoff
	for range pod.backoffs - 1 {
		if duration >= q.cfg.MaxBackoff {
			return q.cfg.MaxBackoff
		}
		duration *= 2
	}
	return min(duration, q.cfg.MaxBackoff)
}

func (q *Queue) admit(pod *Pod, reason string) {
	if q.cfg.Gate(pod.Info.Pod) != nil {
		q.put(pod, gated, reason)
		return
	}
	pod.Queued = q.cfg.Clock.Now()
	q.put(pod, active, reason)
}

func (q *Queue) put(pod *Pod, where place, reason string) {
	q.take(pod)
	pod.where = where
	q.cfg.Incoming(placeNames[where], reason)
	switch where {
	case active:
		heap.Push(&q.active, pod)
		close(q.arrived)
		q.arrived = make(chan struct{})
	case backoff:
		heap.Push(&q.backoff, pod)
		if pod.heapIndex == 0 {
			close(q.rescheduled)
			q.rescheduled = make(chan struct{})
		}
	}
}

func (q *Queue) take(pod *Pod) {
	switch pod.where {
	case active:
		heap.Remove(&q.active, pod.heapIndex)
	case backoff:
		heap.Remove(&q.backoff, pod.heapIndex)
	case inFlight:
		q.land(pod)
	}
	pod.where = nowhere
}

// land forgets the events that no attempt in flight needs any more.
func (q *Queue) land(pod *Pod) {
	delete(q.flying, pod)
	if pod.since > q.base {
		return
	}
	needed := q.base + int64(len(q.events))
	for other := range q.flying {
		needed = min(needed, other.since)
	}
	q.events = slices.Delete(q.events, 0, int(needed-q.base))
	q.base = needed
}
