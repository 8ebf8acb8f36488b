// Package flowcontrol shares the server among its clients: API priority and
// fairness. Flow schemas say which priority level a request belongs to and
// which flow in it; each level has seats of its own, and where they are taken
// its flows wait in queues that are served in turn. The package owns
// classification, queues, seats and the objects that every cluster has of the
// kind. It knows no HTTP: who calls it turns requests into Requests.
//
// See https://kubernetes.io/docs/concepts/cluster-administration/flow-control/.
package flowcontrol

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/apiserver/request"
)

// Config says how much there is to share.
type Config struct {
	// Seats are how many requests of unit cost may run at once, over all levels
	// but the exempt one. Required.
	Seats int
	// Clock measures waits and widths; nil: the real one.
	Clock clock.WithTickerAndDelayedExecution
	// Logger is told of changes; nil: nobody is.
	Logger *slog.Logger
}

// Request is what a request is about, as far as sharing is concerned.
type Request struct {
	User user.Info
	Info *request.Info
	// Limit is the page size that a list asks for, zero for none.
	Limit int64
	// Changes says of a watch that it does not begin with the objects that there
	// are.
	Changes bool
	// Load tells how much work is behind a request; nil: a seat each.
	Load Load
}

// Load knows the sizes that a request's cost hangs on. Its methods are called
// for lists and watches, and for writes that watchers will hear of.
type Load interface {
	// Objects is how many objects of the resource there are, and how many bytes
	// are stored of them.
	Objects(*request.Info) (count int, bytes int64)
	// Watchers is how many watches of the resource there are.
	Watchers(*request.Info) int
}

// ErrRejected: there is no room for the request now. Rejection says more.
var ErrRejected = errors.New("too many requests")

// Rejection is the ErrRejected of a request, with the reason that metrics know
// and when to come again.
type Rejection struct {
	Reason     string // queue-full, concurrency-limit, time-out, cancelled
	RetryAfter time.Duration
}

func (r *Rejection) Error() string { return ErrRejected.Error() + ": " + r.Reason }

// Is makes errors.Is(err, ErrRejected) true.
func (r *Rejection) Is(target error) bool { return target == ErrRejected }

// Controller decides when requests run. All methods are safe for concurrent
// use. It works from New on, with the objects that every cluster begins with.
type Controller struct {
	config  Config
	current atomic.Pointer[state]
	metrics *metrics

	// mu guards what reconfigures; requests never take it.
	mu sync.Mutex
	// levels has all that still have requests, configured or not.
	levels map[string]*level
}

// state is one configuration: schemas in the order in which they are tried.
type state struct {
	schemas []*schema
	levels  []*level
	// fairFrac is the factor by which demands were last scaled.
	fairFrac float64
}

// New returns a controller with the bootstrap configuration.
func New(config Config) (*Controller, error) {
	if config.Seats <= 0 {
		return nil, errors.New("flow control needs seats to share")
	}
	if config.Clock == nil {
		config.Clock = clock.RealClock{}
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Controller{config: config, levels: map[string]*level{}}
	c.metrics = newMetrics(c)
	c.Configure(nil, nil)
	return c, nil
}

// Configure takes over schemas and levels. What every cluster must have is
// there even where it is not given; of the rest, what is suggested is there
// until the first level is given. Objects that are not valid must not be given.
func (c *Controller) Configure(schemas []*flowcontrolv1.FlowSchema, levels []*flowcontrolv1.PriorityLevelConfiguration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(levels) == 0 {
		schemas, levels = bootstrap.SuggestedFlowSchemas, bootstrap.SuggestedPriorityLevelConfigurations
	}
	levels = withMandatory(levels, bootstrap.MandatoryPriorityLevelConfigurations, func(l *flowcontrolv1.PriorityLevelConfiguration) string { return l.Name })
	schemas = withMandatory(schemas, bootstrap.MandatoryFlowSchemas, func(s *flowcontrolv1.FlowSchema) string { return s.Name })
	next := &state{fairFrac: 1}
	known := map[string]*level{}
	for _, config := range levels {
		l := c.levels[config.Name]
		if l == nil {
			l = newLevel(config.Name, c.config.Clock)
			c.levels[config.Name] = l
		}
		known[config.Name] = l
		next.levels = append(next.levels, l)
	}
	c.divide(next.levels, levels)
	c.forget(known)
	for _, config := range sorted(schemas) {
		if l := known[config.Spec.PriorityLevelConfiguration.Name]; l != nil {
			next.schemas = append(next.schemas, c.newSchema(config, l))
		}
	}
	c.current.Store(next)
}

// forget drops levels that are configured no more once they are empty; until
// then what waits in them is served.
func (c *Controller) forget(known map[string]*level) {
	for name, l := range c.levels {
		if known[name] == nil && l.idle() {
			delete(c.levels, name)
		}
	}
}

// withMandatory adds the objects that are missing.
func withMandatory[T any](given, mandatory []T, name func(T) string) []T {
	there := map[string]bool{}
	for _, o := range given {
		there[name(o)] = true
	}
	out := append([]T(nil), given...)
	for _, o := range mandatory {
		if !there[name(o)] {
			out = append(out, o)
		}
	}
	return out
}

// Placement names what a request was classified as.
type Placement struct {
	Schema, SchemaUID, Level, LevelUID string
}

// Ticket lets one request run. Leave it when the request ends.
type Ticket struct {
	Placement *Placement
	schema    *schema
	queue     *queue
	work      work
	began     time.Time
	reading   bool
}

// Enter waits until a request may run, or says that it may not: the error is a
// *Rejection. The placement of the ticket is set in both cases. It waits for a
// quarter of the time that ctx has left, 15 s where that is not known.
func (c *Controller) Enter(ctx context.Context, r *Request) (Ticket, error) {
	schema := c.current.Load().classify(r)
	ticket := Ticket{Placement: &schema.placement, schema: schema, reading: r.Info.ReadOnly()}
	l := schema.level
	now := c.config.Clock.Now()
	ticket.began = now
	if l.exempt.Load() {
		ticket.work = work{seats: 1}
		l.enterExempt()
		schema.dispatch(ticket.work)
		return ticket, nil
	}
	ticket.work = estimate(r, int(l.widest.Load()))
	schema.observe(r, ticket.work)
	q, waiting, err := l.enter(schema.flow(r), ticket.work.seats, schema, now)
	if err == nil && waiting != nil {
		schema.queued(ticket.work, 1)
		err = c.wait(ctx, l, waiting)
		schema.queued(ticket.work, -1)
		ticket.began = c.config.Clock.Now()
		schema.waited.Observe(ticket.began.Sub(now).Seconds())
	}
	if err != nil {
		var rejection *Rejection
		if errors.As(err, &rejection) {
			schema.reject(rejection.Reason)
			rejection.RetryAfter = l.retryAfter(now)
		}
		return ticket, err
	}
	ticket.queue = q
	schema.dispatch(ticket.work)
	return ticket, nil
}

// Leave gives the seats back. The zero Ticket holds none.
func (c *Controller) Leave(t *Ticket) {
	if t.schema == nil {
		return
	}
	schema := t.schema
	t.schema = nil
	now := c.config.Clock.Now()
	schema.finish(t.work, t.reading, now.Sub(t.began))
	l := schema.level
	if t.queue == nil {
		l.leaveExempt()
		return
	}
	l.leave(t.queue, t.work, now.Sub(t.began), now)
	if t.work.lingering > 0 {
		queue, seats, until := t.queue, t.work.lingering, now.Add(t.work.linger)
		c.config.Clock.AfterFunc(t.work.linger, func() { l.free(queue, seats, until) })
	}
}

const defaultWait = 15 * time.Second

// wait waits for a queued request's turn.
func (c *Controller) wait(ctx context.Context, l *level, w *waiter) error {
	limit := defaultWait
	if deadline, ok := ctx.Deadline(); ok {
		limit = deadline.Sub(c.config.Clock.Now()) / 4
	}
	timer := c.config.Clock.NewTimer(limit)
	defer timer.Stop()
	reason := ""
	select {
	case <-w.granted:
		return nil
	case <-timer.C():
		reason = "time-out"
	case <-ctx.Done():
		reason = "cancelled"
	}
	if l.abandon(w, c.config.Clock.Now()) {
		return &Rejection{Reason: reason}
	}
	return nil // its turn came in the same moment
}
