package flowcontrol

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/utils/clock"
)

// level is one priority level: seats, and queues for those that find none
// free. It outlives changes of its configuration.
type level struct {
	name, uid string
	clock     clock.PassiveClock
	exempt    atomic.Bool
	// widest is how many seats one request may take at most.
	widest atomic.Int32
	// running counts exempt requests.
	running atomic.Int64
	// outcomes count what became of requests.
	outcomes [outcomeKinds]atomic.Int64

	mu sync.Mutex
	// limits are what the configuration gives it, limit is what it has now.
	limits limits
	limit  int
	// queuing is nil where requests are rejected instead.
	queuing *flowcontrolv1.QueuingConfiguration
	// queues are made when first used. Those beyond the configured number are
	// drained.
	queues []*queue
	// active are the queues in which somebody waits.
	active []*queue
	// seats are in use, executing requests hold them; waiting and waitingSeats
	// is what the queues hold.
	seats, executing, waiting, waitingSeats int
	// virtual is the virtual time: where the queue last served was.
	virtual float64
	demand  demand
	// target is how many seats the level wished for when they were last lent.
	target float64
	retry  retry
}

// outcome is what became of a request.
type outcome int

const (
	dispatched outcome = iota
	rejected
	timedOut
	cancelled
	outcomeKinds
)

func (l *level) count(o outcome) int { return int(l.outcomes[o].Load()) }

// guess is how long a request is thought to take before it is known.
const guess = 3 * time.Millisecond

func newLevel(name string, clock clock.PassiveClock) *level {
	l := &level{name: name, clock: clock}
	l.demand.since = clock.Now()
	l.widest.Store(1)
	return l
}

// configure takes over what an object says. The caller settles the limits.
func (l *level) configure(config *flowcontrolv1.PriorityLevelConfiguration) {
	l.uid = string(config.UID)
	l.exempt.Store(config.Spec.Type == flowcontrolv1.PriorityLevelEnablementExempt)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queuing = nil
	if limited := config.Spec.Limited; limited != nil && limited.LimitResponse.Type == flowcontrolv1.LimitResponseTypeQueue {
		l.queuing = limited.LimitResponse.Queuing
	}
	if l.queuing != nil && int(l.queuing.Queues) > len(l.queues) {
		l.queues = append(l.queues, make([]*queue, int(l.queuing.Queues)-len(l.queues))...)
	}
}

// setLimit changes how many seats the level has, and fills those that are new.
func (l *level) setLimit(limit int, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = limit
	l.serve(now)
}

// enter takes seats for a request of a flow, or a place in a queue; the waiter
// is nil when the request may run at once.
func (l *level) enter(flow uint64, seats int, s *schema, now time.Time) (*queue, *waiter, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queuing == nil {
		if !l.fits(seats) {
			return nil, nil, &Rejection{Reason: "concurrency-limit"}
		}
		q := l.queueAt(0)
		l.start(q, seats, now)
		return q, nil, nil
	}
	q := l.queueAt(deal(flow, int(l.queuing.Queues), int(l.queuing.HandSize), l.loadAt))
	if l.waiting == 0 && l.fits(seats) {
		l.start(q, seats, now)
		return q, nil, nil
	}
	if len(q.waiting) >= int(l.queuing.QueueLengthLimit) {
		return nil, nil, &Rejection{Reason: "queue-full"}
	}
	w := &waiter{seats: seats, queue: q, schema: s, granted: make(chan struct{})}
	if len(q.waiting) == 0 {
		l.active = append(l.active, q)
	}
	l.demand.note(l.seats+l.waitingSeats, now)
	q.waiting = append(q.waiting, w)
	q.waitingSeats += seats
	l.waiting++
	l.waitingSeats += seats
	s.queueLengthOnJoin.Observe(float64(len(q.waiting)))
	l.serve(now)
	return q, w, nil
}

func (l *level) queueAt(i int) *queue {
	if i >= len(l.queues) {
		l.queues = append(l.queues, make([]*queue, i+1-len(l.queues))...)
	}
	if l.queues[i] == nil {
		l.queues[i] = &queue{index: i}
	}
	return l.queues[i]
}

func (l *level) loadAt(i int) int {
	if l.queues[i] == nil {
		return 0
	}
	return l.queues[i].load()
}

// fits reports whether so many seats are free. A request that is wider than
// the whole level runs alone.
func (l *level) fits(seats int) bool {
	return l.seats+seats <= l.limit || (l.seats == 0 && seats > l.limit)
}

// start lets a request run.
func (l *level) start(q *queue, seats int, now time.Time) {
	l.demand.note(l.seats+l.waitingSeats, now)
	l.virtual = max(l.virtual, q.finish)
	q.finish = l.virtual + float64(seats)*guess.Seconds()
	l.seats += seats
	l.executing++
	q.seats += seats
	q.executing++
}

// serve starts waiting requests while there are seats: of the queue that has
// had the least, first come first served.
func (l *level) serve(now time.Time) {
	for l.waiting > 0 {
		at, least := -1, math.Inf(1)
		for i, q := range l.active {
			if q.finish < least {
				at, least = i, q.finish
			}
		}
		q := l.active[at]
		w := q.waiting[0]
		if !l.fits(w.seats) {
			return
		}
		l.take(w, at)
		l.start(q, w.seats, now)
		close(w.granted)
	}
}

// take removes a waiter from its queue, which is the given one of the active
// ones.
func (l *level) take(w *waiter, at int) bool {
	if !w.queue.remove(w) {
		return false
	}
	l.waiting--
	l.waitingSeats -= w.seats
	if len(w.queue.waiting) == 0 {
		l.active = slices.Delete(l.active, at, at+1)
	}
	return true
}

// abandon takes a request out of its queue; false when its turn has come.
func (l *level) abandon(w *waiter, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.demand.note(l.seats+l.waitingSeats, now)
	at := slices.Index(l.active, w.queue)
	gone := at >= 0 && l.take(w, at)
	if gone {
		l.serve(now) // it may have stood before one that fits
	}
	return gone
}

// leave gives seats back but those that linger, and charges the queue for what
// the request took.
func (l *level) leave(q *queue, w work, took time.Duration, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	charged := float64(w.seats)*(took-guess).Seconds() + float64(w.lingering)*w.linger.Seconds()
	q.finish += charged
	l.executing--
	q.executing--
	l.release(q, w.seats-w.lingering, now)
}

// free gives back seats that lingered.
func (l *level) free(q *queue, seats int, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.release(q, seats, now)
}

func (l *level) release(q *queue, seats int, now time.Time) {
	l.demand.note(l.seats+l.waitingSeats, now)
	l.seats -= seats
	q.seats -= seats
	l.serve(now)
}

func (l *level) enterExempt() { l.running.Add(1) }

func (l *level) leaveExempt() { l.running.Add(-1) }

func (l *level) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seats == 0 && l.waiting == 0 && l.running.Load() == 0
}

func (l *level) retryAfter(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.retry.next(now)
}

// retry tells rejected clients when to come again: later the more of them there
// are, so that they do not all come back at once.
type retry struct {
	since   time.Time
	dropped int
	seconds int
}

const maxRetrySeconds = 32

func (r *retry) next(now time.Time) time.Duration {
	r.seconds = max(r.seconds, 1)
	r.dropped++
	if now.Sub(r.since) >= time.Second {
		switch {
		case r.dropped > 3*r.seconds:
			r.seconds = min(2*r.seconds, maxRetrySeconds)
		case r.dropped < r.seconds:
			r.seconds = max(r.seconds/2, 1)
		}
		r.since, r.dropped = now, 0
	}
	return time.Duration(r.seconds) * time.Second
}
