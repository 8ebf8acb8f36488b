// Package apiserver serves the Kubernetes API over rows: it turns HTTP
// requests into reads of the watch cache and writes to the store, each step of
// the way in a file of its own; chain.go lists them in order. It is generic
// over registry.Resource values and switches on no kind. Who may do what, what
// is valid and what else happens on a write are given to it.
package apiserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/apiserver/audit"
	"github.com/yare-io/yare/apiserver/flowcontrol"
	"github.com/yare-io/yare/apiserver/health"
	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/apiserver/request"
	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/cache"
)

// Config is what a server is made of. Store, Rows, Authenticator and
// Authorizer are required.
type Config struct {
	// Store keeps the objects. The server does not close it.
	Store storage.Store
	// Rows are the resources to serve.
	Rows []*registry.Resource
	// Authenticator says who sends a request: a user (the anonymous one
	// included), or nobody, which is answered with 401.
	Authenticator authenticator.Request
	// Authorizer says whether that user may.
	Authorizer authorizer.Authorizer
	// Admission plugins, in the order in which they run.
	Admission []admission.Plugin
	// Connect has the handlers of subresources that are streams or proxies, by
	// "resource/subresource" ("pods/exec"). A row's Connect subresource without
	// one is refused by New.
	Connect map[string]request.Connector
	// Documents makes the handlers of what is derived from the rows, by the
	// path at and below which each is mounted: "/api", "/apis", "/openapi/v2",
	// "/openapi/v3". They are called for GET and HEAD, after authorization;
	// rows is cheap and may be called for every request.
	Documents func(rows func() []*registry.Resource) map[string]http.Handler
	// Elsewhere returns who serves a group and version in place of this server,
	// nil when it does so itself; a nil function: it always does.
	Elsewhere func(group, version string) http.Handler
	// Checks are parts of /readyz (and, where Live, of /livez and /healthz)
	// beside the server's own.
	Checks []Check
	// Logger gets what operators need to know; nil: nothing is logged.
	Logger *slog.Logger
	// Clock is for deletion times; nil: the real one.
	Clock clock.WithTicker

	// MaxReadOnly and MaxMutating bound the requests in flight that are not
	// long-running: 400 and 200 when zero.
	MaxReadOnly, MaxMutating int
	// CORSAllowedOrigins match the origins whose pages may use the API from
	// browsers; none: no page may.
	CORSAllowedOrigins []*regexp.Regexp
	// GoAwayChance is the chance, from 0 to 1, of an HTTP/2 request to be the last
	// one of its connection.
	GoAwayChance float64
	// Audit writes down who did what; nil: nobody does. The caller runs its
	// backends.
	Audit *audit.Auditor
	// FlowControl shares the server among its clients, in place of those two
	// bounds; nil: they hold.
	FlowControl *flowcontrol.Controller
	// MaxBodyBytes bounds the bodies of requests: 3 MiB when zero.
	MaxBodyBytes int64
	// Timeouts of requests; see Timeouts for what zero means.
	Timeouts Timeouts
	// Flags are what /flagz shows: the values by name, secrets left out. nil:
	// there is no such page.
	Flags func() map[string]string
}

// Server is an API server. Make it with New; all methods may be called
// concurrently.
type Server struct {
	config    Config
	logger    *slog.Logger
	clock     clock.WithTicker
	cache     *cache.Cache
	admission *admission.Chain
	metrics   *metrics
	health    *health.Checks
	handler   http.Handler
	// current is the set of rows; replacing it is for one at a time.
	current   atomic.Pointer[resources]
	replacing sync.Mutex
	// watches counts the watches of each resource.
	watches watchCounts
	// stopping is closed when long-running requests must end.
	stopping context.Context
	stop     context.CancelFunc
	// inside counts the requests of in-process transports.
	inside sync.WaitGroup
}

// New checks the configuration and returns a server, which serves reads once
// Run has been called.
func New(config Config) (*Server, error) {
	if config.Store == nil || config.Authenticator == nil || config.Authorizer == nil || len(config.Rows) == 0 {
		return nil, errors.New("an API server needs a store, rows, an authenticator and an authorizer")
	}
	config.complete()
	s := &Server{config: config, logger: config.Logger, clock: config.Clock}
	s.admission = admission.NewChain(config.Admission...)
	stored := newStoreMetrics(s)
	s.cache = cache.New(config.Store, config.Logger, cache.WithCheck(checkInterval, stored.checked))
	set, err := s.newSet(&resources{}, map[string][]*registry.Resource{builtin: config.Rows})
	if err != nil {
		return nil, err
	}
	s.current.Store(set)
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.metrics = newMetrics(s.set)
	s.metrics.registry.MustRegister(stored)
	if config.FlowControl != nil {
		config.FlowControl.Register(s.metrics.registry)
	}
	s.health = s.checks()
	s.handler = s.chain(s.routes())
	return s, nil
}

func (c *Config) complete() {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if c.MaxReadOnly == 0 {
		c.MaxReadOnly = 400
	}
	if c.MaxMutating == 0 {
		c.MaxMutating = 200
	}
	if c.MaxBodyBytes == 0 {
		c.MaxBodyBytes = 3 << 20
	}
	c.Timeouts.complete()
}

// checkConnectors makes sure that no row promises a stream that nobody serves.
func (s *Server) checkConnectors(set *resources) error {
	for _, res := range set.ordered {
		for _, sub := range res.row.Subresources {
			name := res.row.Name + "/" + sub.Name
			if sub.Connect && s.config.Connect[name] == nil {
				return fmt.Errorf("nothing serves the subresource %s", name)
			}
		}
	}
	return nil
}

// Handler serves the API over HTTP. Requests are authenticated by
// Config.Authenticator.
func (s *Server) Handler() http.Handler { return s.handler }

// Cache is the server's cache, for informers that share its objects.
func (s *Server) Cache() *cache.Cache { return s.cache }

// Run feeds the cache until ctx ends; then it cuts watches and waits for
// in-process requests to end.
func (s *Server) Run(ctx context.Context) error {
	defer s.inside.Wait()
	defer s.stop()
	if err := s.cache.Run(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("watch cache: %w", err)
	}
	return nil
}

// newRequestID returns a random id for a request that has none.
func newRequestID() string { return rand.String(16) }
