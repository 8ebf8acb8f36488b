// Package aggregation lets other API servers serve groups and versions through
// this one, as API services say. It follows these objects, keeps one for each
// group and version of the server's own, watches over the health of the others,
// passes requests on to them as the user who sent them, and shows them in
// discovery and OpenAPI.
//
// It knows neither rows nor handlers: a server asks it who serves a group and
// version, and serves itself what nobody else does.
package aggregation

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/yare-io/yare/apiserver/discovery"
	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/storage/cache"
)

type service = apiregistrationv1.APIService

// Services is the resource that the aggregator follows.
var Services = schema.GroupResource{Group: apiregistrationv1.GroupName, Resource: "apiservices"}

// servicePrefix begins the keys of API services in the store.
const servicePrefix = "/registry/apiregistration.k8s.io/apiservices/"

// Config is what an aggregator works with. All but ClientCertificate and Logger
// is required.
type Config struct {
	// Services is where the server's cache keeps the API services.
	Services func() *cache.Resource
	// Objects reads and writes objects past authorization and admission.
	Objects func() registry.Objects
	// Rows are the server's own resources at this moment; custom reports of a
	// group whether it is one of custom resources.
	Rows   func() []*registry.Resource
	Custom func(*registry.Resource) bool
	// Resolve returns the address (host:port) of a service's port.
	Resolve func(ctx context.Context, namespace, name string, port int32) (string, error)
	// ClientCertificate is what this server proves itself with to others, who
	// then believe what it says of users; nil: nothing.
	ClientCertificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
	Logger            *slog.Logger
}

// Aggregator knows who else serves what. All methods may be called
// concurrently.
type Aggregator struct {
	config Config
	logger *slog.Logger
	// known are the API services by name; Run's own.
	known map[string]*service
	// state is what requests are answered by.
	state  atomic.Pointer[state]
	others atomic.Pointer[discovery.Others]
	// describing is for one at a time.
	describing sync.Mutex
	// checks are under way.
	checks sync.WaitGroup
	// attention asks for a round of checks before its time.
	attention chan struct{}
	schemas   schemas
}

// state is immutable.
type state struct {
	services map[string]*service
	remotes  map[schema.GroupVersion]*remote
}

// New returns an aggregator, which works once Run is called.
func New(config Config) *Aggregator {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Aggregator{config: config, logger: config.Logger, known: map[string]*service{}, attention: make(chan struct{}, 1)}
	a.state.Store(&state{})
	return a
}

const (
	// retryDelay is how long the aggregator waits before it begins again after
	// a failure.
	retryDelay = time.Second
	// checkInterval is how often the health of others is looked at.
	checkInterval = 30 * time.Second
	// recheckInterval is how long it takes until one that failed is looked at
	// again; it doubles up to checkInterval.
	recheckInterval = time.Second
	// localInterval is how often the server's own groups are compared with
	// their API services.
	localInterval = time.Second
)

// Run follows the API services until ctx ends.
func (a *Aggregator) Run(ctx context.Context) error {
	var group sync.WaitGroup
	defer a.checks.Wait()
	defer group.Wait()
	group.Go(func() { every(ctx, localInterval, nil, a.registerOwn) })
	group.Go(func() { every(ctx, recheckInterval, a.attention, a.checkDue) })
	for ctx.Err() == nil {
		err := a.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		a.logger.Info("reading API services again", "reason", err)
		pause(ctx, retryDelay)
	}
	return nil
}

// every runs work at once, then at intervals and whenever it is asked to, until
// ctx ends.
func every(ctx context.Context, interval time.Duration, asked <-chan struct{}, work func(context.Context)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		work(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-asked:
		}
	}
}

func pause(ctx context.Context, delay time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(delay):
	}
}

// follow reads all API services, and then every change of them.
func (a *Aggregator) follow(ctx context.Context) error {
	services := a.config.Services()
	services.KeepDecoded()
	events, err := services.Watch(ctx, cache.WatchOptions{Prefix: servicePrefix, After: cache.Consistent, InitialEvents: true, Bookmarks: true})
	if err != nil {
		return err
	}
	defer events.Close()
	clear(a.known)
	complete := false
	for {
		batch, err := events.Next(ctx)
		if err != nil {
			return err
		}
		for _, event := range batch {
			complete = complete || event.InitialEventsEnd
			if event.Object == nil {
				continue
			}
			obj, err := event.Object.Decoded()
			if err != nil {
				return err
			}
			s := obj.(*service)
			if a.known[s.Name] = s; event.Type == watch.Deleted {
				delete(a.known, s.Name)
			}
		}
		if complete {
			a.publish()
		}
	}
}

// publish makes what is known what requests are answered by. Who is served by
// the same server as before keeps its connections and what was found out.
func (a *Aggregator) publish() {
	before := a.state.Load()
	after := &state{services: make(map[string]*service, len(a.known)), remotes: map[schema.GroupVersion]*remote{}}
	asked := false
	for name, s := range a.known {
		after.services[name] = s
		if s.Spec.Service == nil {
			continue
		}
		gv := schema.GroupVersion{Group: s.Spec.Group, Version: s.Spec.Version}
		if old := before.remotes[gv]; old != nil && old.same(s) {
			after.remotes[gv] = old
			continue
		}
		after.remotes[gv], asked = a.newRemote(s), true
	}
	a.state.Store(after)
	a.describe()
	for gv, old := range before.remotes {
		if after.remotes[gv] != old {
			old.close()
		}
	}
	if asked {
		select {
		case a.attention <- struct{}{}:
		default:
		}
	}
}

// Handler returns who else serves a group and version; nil when nobody does.
func (a *Aggregator) Handler(group, version string) http.Handler {
	if found := a.state.Load().remotes[schema.GroupVersion{Group: group, Version: version}]; found != nil {
		return found
	}
	return nil
}

// errUnchanged ends a status update that would change nothing.
var errUnchanged = errors.New("nothing to change")

// update edits an API service; an edit that ends with errUnchanged does
// nothing.
func (a *Aggregator) update(ctx context.Context, name string, edit func(*service) error) {
	unchanged := false
	_, err := a.config.Objects().Update(ctx, Services, "", name, func(obj runtime.Object) error {
		err := edit(obj.(*service))
		unchanged = errors.Is(err, errUnchanged)
		return err
	})
	if err != nil && !unchanged && !apierrors.IsNotFound(err) && ctx.Err() == nil {
		a.logger.Error("cannot update an API service", "name", name, "error", err)
	}
}
