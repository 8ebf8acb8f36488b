package queue

import (
	"container/heap"
	"context"
	"time"

	"github.com/yare-io/yare/scheduler/framework"
)

// flushEvery is how often pods that wait for a change are looked over.
const flushEvery = 30 * time.Second

// Run moves pods as time passes, until ctx ends.
func (q *Queue) Run(ctx context.Context) {
	ticker := q.cfg.Clock.NewTicker(flushEvery)
	defer ticker.Stop()
	for {
		wait, rescheduled := q.flushBackoff()
		timer := q.cfg.Clock.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C():
		case <-rescheduled:
		case <-ticker.C():
			q.flushUnschedulable()
		}
		timer.Stop()
	}
}

// flushBackoff activates the pods whose backoff is over and returns how long
// the next one still has, and a channel closed when that changes.
func (q *Queue) flushBackoff() (time.Duration, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.cfg.Clock.Now()
	for len(q.backoff.pods) > 0 {
		next := q.backoff.pods[0]
		if next.ready.After(now) {
			return next.ready.Sub(now), q.rescheduled
		}
		heap.Pop(&q.backoff)
		next.where = nowhere
		q.admit(next, "BackoffComplete")
	}
	return flushEvery, q.rescheduled
}

func (q *Queue) flushUnschedulable() {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.cfg.Clock.Now()
	for _, pod := range q.pods {
		if pod.where == unschedulable && now.Sub(pod.failedAt) > q.cfg.UnschedulableTimeout {
			q.leaveUnschedulable(pod, framework.Flushed.String())
		}
	}
}

// Counts says how many pods are in each part of the queue.
type Counts struct{ Active, Backoff, Unschedulable, Gated, InFlight int }

// Counts returns how many pods are where.
func (q *Queue) Counts() Counts {
	q.mu.Lock()
	defer q.mu.Unlock()
	var c Counts
	for _, pod := range q.pods {
		switch pod.where {
		case active:
			c.Active++
		case backoff:
			c.Backoff++
		case unschedulable:
			c.Unschedulable++
		case gated:
			c.Gated++
		case inFlight:
			c.InFlight++
		}
	}
	return c
}

// Rejection is a plugin that rejected a pod of a profile.
type Rejection struct{ Plugin, Profile string }

// Rejected counts the waiting pods by who rejected them in the last attempt.
func (q *Queue) Rejected() map[Rejection]int {
	q.mu.Lock()
	defer q.mu.Unlock()
	counts := map[Rejection]int{}
	for _, pod := range q.pods {
		for plugin := range pod.Rejectors {
			counts[Rejection{plugin, pod.Info.Pod.Spec.SchedulerName}]++
		}
	}
	return counts
}
