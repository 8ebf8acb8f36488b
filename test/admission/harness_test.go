// Package admission_test sends requests through a whole API server: rows,
// chain, cache and store, with admission as it is wired in the binary.
package admission_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/builtin"
	"github.com/yare-io/yare/admission/match"
	"github.com/yare-io/yare/admission/policy"
	"github.com/yare-io/yare/admission/webhook"
	"github.com/yare-io/yare/apiserver"
	"github.com/yare-io/yare/apiserver/api"
	"github.com/yare-io/yare/apiserver/audit"
	rbacbootstrap "github.com/yare-io/yare/apiserver/authz/rbac/bootstrap"
	"github.com/yare-io/yare/apiserver/customresource"
	"github.com/yare-io/yare/apiserver/fieldmanager"
	"github.com/yare-io/yare/apiserver/proxy"
	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/storage/memory"
)

// harness is a server with admission, and clients of it.
type harness struct {
	t      testing.TB
	http   *httptest.Server
	client kubernetes.Interface
	// inside is the server's own client.
	inside  kubernetes.Interface
	factory informers.SharedInformerFactory
	server  atomic.Pointer[apiserver.Server]
	// warnings are those that the client has heard.
	warnings *heard
	webhooks webhook.Config
	builtin  builtin.Config
	plugins  []string
	// authorize makes what decides about access; nil: everything is allowed.
	authorize func(informers.SharedInformerFactory) authorizer.Authorizer
	policy    *rbacbootstrap.Policy
	synced    []cache.InformerSynced
	// audit is where requests are written down; nil: nowhere.
	audit *audit.Auditor
	// first are plugins that cannot be turned off.
	first []admission.Plugin
	// built are the plugins.
	built []admission.Plugin
}

type option func(*harness)

// only leaves out all builtin plugins but some.
func only(names ...string) option {
	return func(h *harness) { h.plugins = append([]string{}, names...) }
}

func loopbackAllowed(h *harness) {
	h.webhooks.Guard.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
}

var webhookPlugins = []string{webhook.MutatingName, webhook.ValidatingName}

func start(t testing.TB, options ...option) *harness {
	t.Helper()
	h := &harness{t: t, warnings: &heard{}}
	for _, o := range options {
		o(h)
	}
	inside := kubernetes.NewForConfigOrDie(&rest.Config{Host: "https://inside", Transport: h, QPS: -1})
	factory := informers.NewSharedInformerFactory(inside, 0)
	h.inside, h.factory = inside, factory
	streams, err := proxy.New(proxy.Config{KubeletTLS: &tls.Config{MinVersion: tls.VersionTLS12}})
	if err != nil {
		t.Fatal(err)
	}
	store, allowed := memory.New(memory.Config{}), everything()
	if h.authorize != nil {
		allowed = h.authorize(factory)
	}
	server, err := apiserver.New(apiserver.Config{
		Store: store, Rows: api.Resources(api.Deps{}), Authenticator: byHeader{}, Authorizer: allowed,
		Admission: h.chain(inside, factory, allowed), Connect: streams.Connectors(), Audit: h.audit,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.server.Store(server)
	definitions := customresource.New(customresource.Config{
		Definitions: server.Stored(customresource.Definitions), Objects: server.Objects(),
		SetRows: func(rows []*registry.Resource) error { return server.SetRows("customresources", rows) },
		BuiltIn: func(schema.GroupResource) bool { return false }, Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- server.Run(ctx) }()
	go func() { ended <- definitions.Run(ctx) }()
	h.http = httptest.NewServer(server.Handler())
	h.client = h.as("root")
	factory.Start(ctx.Done())
	t.Cleanup(func() {
		cancel()
		factory.Shutdown()
		for range 2 {
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
		h.http.Close()
		_ = store.Close()
	})
	factory.WaitForCacheSync(ctx.Done())
	if h.policy != nil {
		if err := h.policy.Reconcile(ctx, inside); err != nil {
			t.Fatal(err)
		}
	}
	cache.WaitForCacheSync(ctx.Done(), h.synced...)
	h.namespace("default", nil)
	return h
}

// chain builds the plugins as the binary does.
func (h *harness) chain(client kubernetes.Interface, factory informers.SharedInformerFactory, allowed authorizer.Authorizer) []admission.Plugin {
	h.t.Helper()
	c := h.webhooks
	c.Client, c.Informers, c.Authorizer = client, factory, allowed
	c.Versions = match.NewVersions(func() []*registry.Resource { return h.server.Load().Rows() })
	if c.Services == nil {
		c.Services = webhook.Endpoints(factory)
	}
	mutating, validating, err := webhook.New(c)
	if err != nil {
		h.t.Fatal(err)
	}
	changing, checking, err := policy.New(policy.Config{
		Client: client, Informers: factory, Versions: c.Versions, Authorizer: allowed,
		Objects:   func() registry.Objects { return h.server.Load().Objects() },
		Converter: fieldmanager.Converter,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	var off []string
	for _, name := range builtin.DefaultNames() {
		if h.plugins != nil && !slices.Contains(h.plugins, name) {
			off = append(off, name)
		}
	}
	plugins, err := builtin.Plugins(builtin.Deps{
		Client: client, Informers: factory, Authorizer: allowed, Kinds: c.Versions, Config: h.builtin,
		Given: map[string]admission.Plugin{
			webhook.MutatingName: mutating, webhook.ValidatingName: validating,
			policy.MutatingName: changing, policy.ValidatingName: checking,
		},
	}, h.plugins, off)
	if err != nil {
		h.t.Fatal(err)
	}
	h.built = append(h.first, plugins...)
	return h.built
}

// RoundTrip implements http.RoundTripper: the plugins' own requests.
func (h *harness) RoundTrip(r *http.Request) (*http.Response, error) {
	server := h.server.Load()
	if server == nil {
		return nil, errors.New("no server yet")
	}
	return server.Transport(&user.DefaultInfo{Name: user.APIServerUser, Groups: []string{user.SystemPrivilegedGroup}}).RoundTrip(r)
}

// as returns a client of a user.
func (h *harness) as(name string) kubernetes.Interface {
	return kubernetes.NewForConfigOrDie(&rest.Config{
		Host: h.http.URL, QPS: -1, WarningHandlerWithContext: h.warnings,
		WrapTransport: func(next http.RoundTripper) http.RoundTripper { return asUser{name, next} },
	})
}

type asUser struct {
	name string
	next http.RoundTripper
}

func (a asUser) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("User", a.name)
	return a.next.RoundTrip(r)
}

type byHeader struct{}

func (byHeader) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	info := &user.DefaultInfo{Name: r.Header.Get("User"), Groups: []string{user.AllAuthenticated}}
	switch {
	case info.Name == "root":
		info.Groups = append(info.Groups, user.SystemPrivilegedGroup)
	case strings.HasPrefix(info.Name, "system:node:"):
		info.Groups = append(info.Groups, user.NodesGroup)
	}
	return &authenticator.Response{User: info}, info.Name != "", nil
}

func everything() authorizer.Authorizer {
	return authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
		return authorizer.DecisionAllow, "", nil
	})
}

func (h *harness) namespace(name string, labels map[string]string) {
	h.t.Helper()
	_, err := h.client.CoreV1().Namespaces().Create(h.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
}

// configMap creates one and returns what was stored.
func (h *harness) configMap(name string, labels map[string]string) (*corev1.ConfigMap, error) {
	return h.configMapIn("default", name, labels)
}

func (h *harness) configMapIn(namespace, name string, labels map[string]string) (*corev1.ConfigMap, error) {
	return h.client.CoreV1().ConfigMaps(namespace).Create(h.t.Context(),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Data: map[string]string{"a": "b"}}, metav1.CreateOptions{})
}

// eventually polls until a condition holds.
func (h *harness) eventually(what string, holds func() bool) {
	h.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			h.t.Fatalf("not within 20 s: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// must is for what cannot fail unless the test is wrong.
func must[T any](made T, err error) T {
	if err != nil {
		panic(err)
	}
	return made
}

// errorCode is an error's status code, 0 for none.
func errorCode(err error) int32 {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return 0
	}
	return status.Status().Code
}

func errorHas(err error, words string) bool { return err != nil && containsFold(err.Error(), words) }

// refused wants an error whose text holds some words.
func refused(t testing.TB, err error, code int32, words string) {
	t.Helper()
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		t.Fatalf("got %v, want a refusal with %q", err, words)
	}
	if got := status.Status(); got.Code != code || !containsFold(got.Message, words) {
		t.Errorf("got %d %q, want %d %q", got.Code, got.Message, code, words)
	}
}
