// Package yaretest runs an API server inside the process of a Go test: the
// whole server that `yare kube-apiserver` is, with objects kept in memory and
// HTTPS on a free port of the loopback interface.
//
//	func TestReconciler(t *testing.T) {
//		server := yaretest.Start(t, yaretest.WithCRDs("config/crd"))
//		client := kubernetes.NewForConfigOrDie(server.Config())
//		…
//	}
//
// A process may have many servers at once; they share nothing.
package yaretest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"

	"github.com/yare-io/yare/cmd/yare/kubeapiserver"
	"github.com/yare-io/yare/cmd/yare/pki"
	"github.com/yare-io/yare/controllers"
)

// Server is an API server that runs. Its methods may be called concurrently.
type Server struct {
	api  *kubeapiserver.Server
	keys *pki.Cluster
	dir  string // of keys and kubeconfig files
	// admin is an administrator's configuration.
	admin *rest.Config

	stop  context.CancelFunc
	ended chan struct{}
	err   error // why it has ended; read it after ended is closed
}

// Option says how a server differs from the usual one.
type Option func(*settings)

type settings struct {
	flags       []string
	controllers []string
	crds        []string
	logger      *slog.Logger
}

// WithFlags sets flags of kube-apiserver, as "--enable-admission-plugins=PodSecurity".
// Those about certificates and keys are not among them: a server makes its own.
func WithFlags(flags ...string) Option {
	return func(s *settings) { s.flags = append(s.flags, flags...) }
}

// WithControllers runs controllers of kube-controller-manager beside the
// server, by their names there: with "namespace", "garbagecollector" and
// "serviceaccount", namespaces really go away, dependents are collected, and
// namespaces have a default service account.
func WithControllers(names ...string) Option {
	return func(s *settings) { s.controllers = append(s.controllers, names...) }
}

// WithCRDs creates the CustomResourceDefinitions in files, or in the YAML and
// JSON files right in directories, and waits until they are served.
func WithCRDs(paths ...string) Option {
	return func(s *settings) { s.crds = append(s.crds, paths...) }
}

// WithLogger lets the server log; otherwise it is silent.
func WithLogger(logger *slog.Logger) Option {
	return func(s *settings) { s.logger = logger }
}

// Start runs a server until the test and its subtests are over. The test fails
// if the server does.
func Start(t testing.TB, options ...Option) *Server {
	t.Helper()
	server, err := New(options...)
	if err != nil {
		t.Fatalf("start an API server: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("stop the API server: %v", err)
		}
	})
	return server
}

// New runs a server until Close. It returns once the server is ready.
func New(options ...Option) (_ *Server, err error) {
	given := &settings{logger: slog.New(slog.DiscardHandler)}
	for _, option := range options {
		option(given)
	}
	if len(given.controllers) > 0 {
		if err := controllers.CheckNames(given.controllers); err != nil {
			return nil, err
		}
	}
	config, err := given.options()
	if err != nil {
		return nil, err
	}
	s := &Server{ended: make(chan struct{})}
	if s.dir, err = os.MkdirTemp("", "yaretest-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(s.dir))
		}
	}()
	if s.keys, err = pki.LoadCluster(s.dir, []string{"localhost", "127.0.0.1"}); err != nil {
		return nil, err
	}
	trust, err := kubeapiserver.ClusterTrust(s.keys, config.Issuer())
	if err != nil {
		return nil, err
	}
	if s.api, err = kubeapiserver.New(context.Background(), config, trust, given.logger); err != nil {
		return nil, err
	}
	s.run(given.controllers)
	if s.admin, err = s.configBy(s.keys.Admin); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.start(given.crds); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// options are those of a server on its own, and what the flags say.
func (s *settings) options() (*kubeapiserver.Options, error) {
	options := &kubeapiserver.Options{}
	flags := pflag.NewFlagSet("yaretest", pflag.ContinueOnError)
	options.Add(flags)
	if err := flags.Parse(s.flags); err != nil {
		return nil, err
	}
	if rest := flags.Args(); len(rest) > 0 {
		return nil, fmt.Errorf("not a flag: %s", strings.Join(rest, " "))
	}
	usual := map[string]string{
		"bind-address": "127.0.0.1", "secure-port": "0", "authorization-mode": "RBAC",
	}
	if flags.Changed("authorization-config") {
		delete(usual, "authorization-mode")
	}
	if !flags.Changed("etcd-servers") && !flags.Changed("datastore-endpoint") {
		usual["storage-backend"] = "memory"
	}
	if !slices.Contains(s.controllers, "serviceaccount") {
		// Nobody makes the accounts that this plugin waits for.
		usual["disable-admission-plugins"] = "ServiceAccount"
	}
	for name, value := range usual {
		if flags.Changed(name) {
			continue
		}
		if err := flags.Set(name, value); err != nil {
			return nil, err
		}
	}
	options.AllowLoopbackWebhooks()
	return options, nil
}

// run makes the server run until it is stopped.
func (s *Server) run(names []string) {
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go func() {
		defer close(s.ended)
		defer cancel()
		if len(names) > 0 {
			s.err = s.api.RunWithControllers(ctx, names)
		} else {
			s.err = s.api.Run(ctx)
		}
	}()
}

// start waits for the server to be ready and gives it its first objects.
func (s *Server) start(crds []string) error {
	select {
	case <-s.api.Ready():
	case <-s.ended:
		return s.err
	}
	if len(crds) == 0 {
		return nil
	}
	return s.InstallCRDs(context.Background(), crds...)
}

// Close stops the server, waits until all that it runs has ended, and removes
// its files. Watches are cut, other requests may end first. A second call does
// nothing.
func (s *Server) Close() error {
	s.stop()
	<-s.ended
	return errors.Join(s.err, os.RemoveAll(s.dir))
}

// Config is a client's configuration, over HTTPS, as an administrator of the
// cluster. Each call makes a new one, which the caller may change.
func (s *Server) Config() *rest.Config { return rest.CopyConfig(s.admin) }

// AddUser is a client's configuration as a user in some groups, who proves who
// he is by a certificate. It grants no rights: bind roles to the user, or name a
// group that has some.
func (s *Server) AddUser(name string, groups ...string) (*rest.Config, error) {
	pair, err := s.keys.CA.Ensure(s.dir, pki.Profile{Name: "user-" + fileName(name, groups), User: name, Groups: groups})
	if err != nil {
		return nil, err
	}
	return s.configBy(pair)
}

// InProcess is a client's configuration as a user, whose requests reach the
// server without a socket, TLS or authentication; Host leads nowhere.
func (s *Server) InProcess(name string, groups ...string) *rest.Config {
	info := &user.DefaultInfo{Name: name, Groups: append(slices.Clone(groups), user.AllAuthenticated)}
	return kubeapiserver.JSONOnly(s.api.ConfigFor(info, rest.DefaultKubernetesUserAgent()))
}

// Kubeconfig is the path of a file for kubectl, as an administrator. It is
// there until the server stops.
func (s *Server) Kubeconfig() (string, error) {
	file := filepath.Join(s.dir, "kubeconfig")
	return file, pki.WriteKubeconfig(file, s.url(), "admin", s.keys.CA, s.keys.Admin)
}
