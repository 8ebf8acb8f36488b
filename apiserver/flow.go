package apiserver

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver/flowcontrol"
	"github.com/yare-io/yare/apiserver/request"
)

// Headers that say how a request was classified.
const (
	flowSchemaHeader    = "X-Kubernetes-PF-FlowSchema-UID"
	priorityLevelHeader = "X-Kubernetes-PF-PriorityLevel-UID"
)

// limitFlow lets requests run when it is their turn: by priority and fairness,
// or where that is off by two plain bounds.
func (s *Server) limitFlow(next http.Handler) http.Handler {
	flow := s.config.FlowControl
	if flow == nil {
		return s.limitFlight(next)
	}
	reading, mutating := s.metrics.inflight.WithLabelValues("readOnly"), s.metrics.inflight.WithLabelValues("mutating")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info := request.From(r.Context())
		if info.LongRunning() && info.Verb != "watch" {
			next.ServeHTTP(w, r)
			return
		}
		wish := flowcontrol.Request{User: userOf(r.Context()), Info: info, Load: load{s}}
		if info.Verb == "list" || info.Verb == "watch" {
			wish.Limit, wish.Changes = scopeOf(r.URL.RawQuery)
		}
		ticket, err := flow.Enter(r.Context(), &wish)
		header := w.Header()
		header.Set(flowSchemaHeader, ticket.Placement.SchemaUID)
		header.Set(priorityLevelHeader, ticket.Placement.LevelUID)
		if err != nil {
			s.rejectFlow(w, r, err)
			return
		}
		if info.Verb == "watch" {
			held := &flowTicket{flow: flow, ticket: ticket}
			defer held.leave()
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), flowKey{}, held)))
			return
		}
		gauge := mutating
		if info.ReadOnly() {
			gauge = reading
		}
		gauge.Inc()
		defer gauge.Dec()
		defer flow.Leave(&ticket)
		next.ServeHTTP(w, r)
	})
}

func (s *Server) rejectFlow(w http.ResponseWriter, r *http.Request, err error) {
	kind, retry := "mutating", 1
	if request.From(r.Context()).ReadOnly() {
		kind = "readOnly"
	}
	var rejection *flowcontrol.Rejection
	if errors.As(err, &rejection) {
		retry = int(rejection.RetryAfter.Seconds())
	}
	s.metrics.rejected.WithLabelValues(kind).Inc()
	s.fail(w, r, apierrors.NewTooManyRequests("Too many requests, please try again later.", retry))
}

// flowTicket is the place of a watch, which it gives back when it has begun.
type flowTicket struct {
	flow   *flowcontrol.Controller
	mu     sync.Mutex
	ticket flowcontrol.Ticket
}

func (t *flowTicket) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flow.Leave(&t.ticket)
}

type flowKey struct{}

// leaveFlow gives the place of a watch back early.
func leaveFlow(ctx context.Context) {
	if held, ok := ctx.Value(flowKey{}).(*flowTicket); ok {
		held.leave()
	}
}

// scopeOf reads the page size of a list, and whether a watch is told of changes
// only, out of a query without parsing all of it. A watch from no revision or
// from 0 begins with the objects that there are.
func scopeOf(query string) (limit int64, changes bool) {
	for part := range strings.SplitSeq(query, "&") {
		switch name, value, _ := strings.Cut(part, "="); name {
		case "limit":
			n, _ := strconv.ParseInt(value, 10, 64)
			limit = max(n, 0)
		case "resourceVersion":
			changes = changes || value != "" && value != "0"
		case "sendInitialEvents":
			if value == "true" || value == "1" {
				return limit, false
			}
		}
	}
	return limit, changes
}

// load tells flow control what requests will cost.
type load struct{ server *Server }

// Objects implements flowcontrol.Load.
func (l load) Objects(info *request.Info) (count int, bytes int64) {
	res := l.server.set().byName[info.GroupVersionResource()]
	if res == nil || res.prefix == "" {
		return 0, 0
	}
	return res.objects().Size()
}

// Watchers implements flowcontrol.Load.
func (l load) Watchers(info *request.Info) int { return l.server.watches.of(info) }

// watchCounts counts watches by resource. The zero value is ready.
type watchCounts struct {
	byResource sync.Map // schema.GroupResource → *atomic.Int64
}

// add counts a watch until the returned function is called.
func (c *watchCounts) add(info *request.Info) func() {
	count, _ := c.byResource.LoadOrStore(info.GroupResource(), new(atomic.Int64))
	n := count.(*atomic.Int64)
	n.Add(1)
	return func() { n.Add(-1) }
}

func (c *watchCounts) of(info *request.Info) int {
	count, ok := c.byResource.Load(schema.GroupResource{Group: info.Group, Resource: info.Resource})
	if !ok {
		return 0
	}
	return int(count.(*atomic.Int64).Load())
}
