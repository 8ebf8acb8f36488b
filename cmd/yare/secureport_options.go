package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/apiserver/health"
	"github.com/yare-io/yare/cmd/yare/part"
	"github.com/yare-io/yare/cmd/yare/pki"
	"github.com/yare-io/yare/cmd/yare/secureserving"
	"github.com/yare-io/yare/kubelet/server/auth"
)

// securePortOptions are the flags of the HTTPS port that kube-scheduler and
// kube-controller-manager have.
type securePortOptions struct {
	bindAddress          string
	port                 uint16
	certFile, keyFile    string
	clientCA             string
	authenticationConfig string
	authorizationConfig  string
	skipAuthorityLookup  bool
	alwaysAllow          []string
	profiling            bool
}

func (o *securePortOptions) add(flags *pflag.FlagSet, port uint16) {
	flags.StringVar(&o.bindAddress, "bind-address", "0.0.0.0", "address to serve health and metrics on")
	flags.Uint16Var(&o.port, "secure-port", port, "port to serve health and metrics on, with HTTPS; 0 for none")
	flags.StringVar(&o.certFile, "tls-cert-file", "", "serving certificate (default: one signed by itself, in memory)")
	flags.StringVar(&o.keyFile, "tls-private-key-file", "", "its private key")
	flags.StringVar(&o.clientCA, "client-ca-file", "", "authority that vouches for client certificates (default: the one that the API server publishes)")
	flags.StringVar(&o.authenticationConfig, "authentication-kubeconfig", "", "file with which the API server is asked who clients are (default: --kubeconfig)")
	flags.StringVar(&o.authorizationConfig, "authorization-kubeconfig", "", "file with which the API server is asked what clients may (default: --kubeconfig)")
	flags.BoolVar(&o.skipAuthorityLookup, "authentication-skip-lookup", false, "do not ask the API server which authority vouches for client certificates")
	flags.StringSliceVar(&o.alwaysAllow, "authorization-always-allow-paths", []string{"/healthz", "/readyz", "/livez"}, "paths that anybody may read; * at the end stands for all below")
	flags.BoolVar(&o.profiling, "profiling", true, "serve /debug/pprof")
}

// securePort is what a part shows on its port.
type securePort struct {
	name       string
	kubeconfig string
	checks     []health.Check
	metrics    *prometheus.Registry
	configz    map[string]any
	handlers   map[string]http.Handler // beside the usual ones
	logger     *slog.Logger
}

// newMetrics is a registry with the figures that every process has.
func newMetrics() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// serve listens at once, so that a taken port is an error at the start, and
// serves in the group until ctx ends.
func (o *securePortOptions) serve(ctx context.Context, group *errgroup.Group, p securePort) error {
	if o.port == 0 {
		return nil
	}
	server, authorities, err := o.server(p)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(o.bindAddress, strconv.Itoa(int(o.port))))
	if err != nil {
		return err
	}
	group.Go(part.Named(ctx, "HTTPS port", func(ctx context.Context) error { return server.Run(ctx, listener) }))
	if authorities != nil {
		group.Go(func() error { authorities.Run(ctx); return nil })
	}
	return nil
}

func (o *securePortOptions) server(p securePort) (*secureserving.Server, *secureserving.Authorities, error) {
	certificate, err := o.certificate(p.name)
	if err != nil {
		return nil, nil, err
	}
	authentication, err := reviewClient(o.authenticationConfig, p.kubeconfig)
	if err != nil {
		return nil, nil, err
	}
	authorization, err := reviewClient(o.authorizationConfig, p.kubeconfig)
	if err != nil {
		return nil, nil, err
	}
	pool, authorities, err := o.clientAuthorities(authentication, p.logger)
	if err != nil {
		return nil, nil, err
	}
	return &secureserving.Server{
		TLS:           &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert, GetCertificate: certificate},
		Authenticator: auth.NewAuthenticator(auth.Authenticators{ClientCAs: pool, Tokens: authentication.AuthenticationV1().TokenReviews()}),
		Authorizer:    auth.NewAuthorizer(auth.Authorizers{Reviews: authorization.AuthorizationV1().SubjectAccessReviews()}),
		Open:          o.alwaysAllow, Handlers: o.handlers(p), Logger: p.logger,
	}, authorities, nil
}

func (o *securePortOptions) certificate(name string) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	if o.certFile == "" && o.keyFile == "" {
		return secureserving.SelfSigned(name)
	}
	pair, err := pki.LoadKeyPair(o.certFile, o.keyFile)
	if err != nil {
		return nil, err
	}
	return pair.GetCertificate, nil
}

// reviewClient asks the API server about clients.
func reviewClient(file, otherwise string) (*kubernetes.Clientset, error) {
	if file == "" {
		file = otherwise
	}
	config, err := kubeconfigFlag(file)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// clientAuthorities are from a file, or those that the API server publishes.
func (o *securePortOptions) clientAuthorities(client kubernetes.Interface, logger *slog.Logger) (func() *x509.CertPool, *secureserving.Authorities, error) {
	switch {
	case o.clientCA != "":
		pool, err := pki.LoadPool(o.clientCA)
		return func() *x509.CertPool { return pool }, nil, err
	case o.skipAuthorityLookup:
		return nil, nil, nil
	}
	published := &secureserving.Authorities{
		ConfigMaps: client.CoreV1().ConfigMaps(metav1.NamespaceSystem), Clock: clock.RealClock{}, Logger: logger,
	}
	return published.Pool, published, nil
}

func (o *securePortOptions) handlers(p securePort) map[string]http.Handler {
	handlers := health.New(p.logger, append([]health.Check{health.Ping()}, p.checks...)...).Paths()
	handlers["/metrics"] = promhttp.HandlerFor(p.metrics, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
	handlers["/configz"] = configz(p.configz, p.logger)
	if o.profiling {
		for path, profile := range map[string]http.HandlerFunc{
			"": pprof.Index, "cmdline": pprof.Cmdline, "profile": pprof.Profile, "symbol": pprof.Symbol, "trace": pprof.Trace,
		} {
			handlers["/debug/pprof/"+path] = profile
		}
	}
	for path, handler := range p.handlers {
		handlers[path] = handler
	}
	return handlers
}

// configz shows the configuration in effect, by its API group.
func configz(configuration map[string]any, logger *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(configuration); err != nil {
			logger.Debug("answer not sent", "error", err)
		}
	})
}

// leaseCheck is a check of leader election, which wants the request.
func leaseCheck(check func(*http.Request) error) health.Check {
	return health.Check{Name: "leaderElection", Live: true, Check: func(context.Context) error { return check(nil) }}
}
