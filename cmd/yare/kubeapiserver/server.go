// Package kubeapiserver is a whole API server: it puts store, gate, admission,
// rows and documents together as the flags of kube-apiserver say. The commands
// of this binary run it, and so may any Go program.
package kubeapiserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/apiserver"
	"github.com/yare-io/yare/apiserver/allocation"
	"github.com/yare-io/yare/apiserver/bootstrap"
	"github.com/yare-io/yare/apiserver/flowcontrol"
	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/cmd/yare/addresses"
	"github.com/yare-io/yare/cmd/yare/part"
	"github.com/yare-io/yare/storage/metered"
)

// Server is an API server with all that it consists of: store, gate, rows
// and the objects it keeps itself.
type Server struct {
	*apiserver.Server

	options *Options
	trust   *Trust
	logger  *slog.Logger
	store   *metered.Store
	gate    *gate
	// allocation gives services their addresses and ports.
	allocation *allocation.Services
	// flow keeps flow control and its objects in step; nil without it.
	flow       *flowcontrol.Keeper
	extensions extensions
	informers  informers.SharedInformerFactory
	loopback   *loopback
	listener   net.Listener
	advertise  bootstrap.Advertiser
	// bootstrapped is set once the objects that every cluster has are there.
	bootstrapped atomic.Bool
	ready        chan struct{}
}

// New opens the store and the port and puts the server together;
// Run makes it serve. A failure leaves nothing open. Where the options name
// port 0, a free one is taken, and noted in them.
func New(ctx context.Context, options *Options, trust *Trust, logger *slog.Logger) (*Server, error) {
	s := &Server{options: options, trust: trust, logger: logger.With("component", "apiserver"), loopback: &loopback{}, ready: make(chan struct{})}
	services, err := addresses.ParsePrefixes("--service-cluster-ip-range", options.ServiceCIDR)
	if err != nil {
		return nil, err
	}
	if len(services) == 0 {
		return nil, errors.New("--service-cluster-ip-range is needed")
	}
	if s.listener, err = net.Listen("tcp", net.JoinHostPort(options.bindAddress, strconv.Itoa(int(options.SecurePort)))); err != nil {
		return nil, err
	}
	options.SecurePort = s.Addr().Port()
	if s.advertise, err = s.advertiser(services[0]); err != nil {
		return nil, errors.Join(err, s.listener.Close())
	}
	store, err := s.options.openStore(ctx, s.logger)
	if err != nil {
		return nil, errors.Join(err, s.listener.Close())
	}
	s.store = metered.New(store)
	if err := s.assemble(services); err != nil {
		return nil, errors.Join(err, s.listener.Close(), s.store.Close())
	}
	return s, nil
}

func (s *Server) advertiser(services netip.Prefix) (bootstrap.Advertiser, error) {
	address, err := s.options.Advertised()
	if err != nil {
		return bootstrap.Advertiser{}, fmt.Errorf("--advertise-address: %w", err)
	}
	first, err := addresses.Nth(services, 1)
	return bootstrap.Advertiser{
		Client: s.Client(), Address: address, Port: int32(s.options.SecurePort), ServiceIP: first, Logger: s.logger,
	}, err
}

// Run serves until ctx ends, and closes the store when all else has stopped.
func (s *Server) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, s.store.Close()) }()
	group, ctx := errgroup.WithContext(ctx)
	// The cache outlives what uses it, so that requests in flight can end.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	caching, stopCaching := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(part.Named(caching, "watch cache", s.Server.Run))
	group.Go(part.Named(ctx, "configuration files", s.gate.Run))
	for _, backend := range s.options.audit.backends {
		// They outlive the last request.
		group.Go(part.Named(caching, "audit", backend.Run))
	}
	group.Go(part.Named(ctx, "extensions", s.extensions.run))
	group.Go(part.Named(serving, "HTTPS", func(ctx context.Context) error {
		defer stopCaching()
		return s.Serve(ctx, s.listener, s.tls())
	}))
	if s.gate.policies != nil {
		group.Go(part.Named(caching, "OPA", s.gate.policies.run))
	}
	group.Go(func() error {
		defer stopServing()
		defer s.informers.Shutdown()
		s.informers.StartWithContext(ctx)
		if err := part.Persist(ctx, s.logger, "create what every cluster has", s.bootstrap); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		close(s.ready)
		group.Go(part.Named(ctx, "service allocation", s.allocation.Run))
		if s.flow != nil {
			group.Go(part.Named(ctx, "flow control", s.flow.Run))
		}
		return s.advertise.Run(ctx)
	})
	return group.Wait()
}

// bootstrap waits for the gate to know its objects and creates what is missing.
func (s *Server) bootstrap(ctx context.Context) error {
	client := s.Client()
	if err := s.gate.policy.Reconcile(ctx, client); err != nil {
		return fmt.Errorf("bootstrap roles: %w", err)
	}
	if err := bootstrap.Ensure(ctx, client, bootstrap.Options{
		ServiceCIDRs: s.options.ServiceCIDR,
		ClientCA:     s.trust.clientCA, Proxies: s.trust.proxies,
	}); err != nil {
		return err
	}
	if err := s.advertise.EnsureService(ctx); err != nil {
		return err
	}
	s.informers.WaitForCacheSync(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), s.gate.synced...) {
		return context.Cause(ctx)
	}
	s.bootstrapped.Store(true)
	return nil
}

func (s *Server) tls() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Which of the two authorities vouches is authentication's to find out.
		ClientAuth:     tls.RequestClientCert,
		GetCertificate: s.trust.serving.GetCertificate,
		NextProtos:     []string{"h2", "http/1.1"},
	}
}

// Addr is where the server listens.
func (s *Server) Addr() netip.AddrPort { return s.listener.Addr().(*net.TCPAddr).AddrPort() }

// Ready is closed once the objects that every cluster has are there.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Informers read the server's own objects; all parts of the process may use
// them. The server itself follows no whole pods: their informer is made for who
// asks here.
func (s *Server) Informers() informers.SharedInformerFactory {
	s.loopback.followDirectly(s.informers, corev1.Resource("pods"), &corev1.Pod{})
	return s.informers
}

// ConfigFor is a client configuration that reaches this server in the process,
// as the given user.
func (s *Server) ConfigFor(info user.Info, agent string) *rest.Config {
	return &rest.Config{
		Host:      "https://yare.internal",
		Transport: &asUser{loopback: s.loopback, user: info},
		UserAgent: agent,
		QPS:       -1, // the server's flow control decides
		ContentConfig: rest.ContentConfig{
			ContentType:        "application/vnd.kubernetes.protobuf",
			AcceptContentTypes: "application/vnd.kubernetes.protobuf,application/json",
		},
	}
}

// Client acts as the API server itself.
func (s *Server) Client() kubernetes.Interface {
	return kubernetes.NewForConfigOrDie(s.ConfigFor(apiServerUser(), "kube-apiserver"))
}

func apiServerUser() user.Info {
	return &user.DefaultInfo{Name: user.APIServerUser, Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated}}
}

// loopback breaks the ring between the server and its gate, which reads objects
// through the server: it is filled in when the server is there, and refuses
// before.
type loopback struct {
	server atomic.Pointer[apiserver.Server]
}

// share is Server.Share, once the server is there.
func (l *loopback) share(object any) (any, error) {
	if server := l.server.Load(); server != nil {
		return server.Share(object)
	}
	return object, nil
}

// rows are the resources that the server has.
func (l *loopback) rows() []*registry.Resource {
	if server := l.server.Load(); server != nil {
		return server.Rows()
	}
	return nil
}

// objects are what the server stores, nil before it is there.
func (l *loopback) objects() registry.Objects {
	if server := l.server.Load(); server != nil {
		return server.Objects()
	}
	return nil
}

type asUser struct {
	loopback *loopback
	user     user.Info
}

// RoundTrip implements http.RoundTripper.
func (a *asUser) RoundTrip(r *http.Request) (*http.Response, error) {
	server := a.loopback.server.Load()
	if server == nil {
		return nil, errors.New("the API server is not there yet")
	}
	return server.Transport(a.user).RoundTrip(r)
}
