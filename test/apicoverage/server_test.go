// Package apicoverage drives the whole built-in API, as one server serves it,
// and compares it with the published facts of Kubernetes v1.37. It has tests
// only, all of them over HTTP, so that they could be asked of any Kubernetes.
package apicoverage

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/yare-io/yare/apiserver"
	"github.com/yare-io/yare/apiserver/allocation"
	"github.com/yare-io/yare/apiserver/api"
	"github.com/yare-io/yare/apiserver/api/core"
	"github.com/yare-io/yare/apiserver/authn"
	"github.com/yare-io/yare/apiserver/authn/serviceaccount"
	"github.com/yare-io/yare/apiserver/authz"
	"github.com/yare-io/yare/apiserver/discovery"
	"github.com/yare-io/yare/apiserver/proxy"
	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/openapi"
	"github.com/yare-io/yare/storage/memory"
)

// server is an API server with all built-in rows, on a store in memory.
type server struct {
	*apiserver.Server
	http *httptest.Server
}

const issuer = "https://kubernetes.default.svc.cluster.local"

// administrator is who all requests are from.
type administrator struct{}

func (administrator) AuthenticateRequest(*http.Request) (*authenticator.Response, bool, error) {
	return &authenticator.Response{User: &user.DefaultInfo{
		Name: "admin", Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated},
	}}, true, nil
}

// start serves all rows until the test ends.
func start(t testing.TB, changes ...func(*apiserver.Config)) *server {
	t.Helper()
	store := memory.New(memory.Config{})
	services, err := allocation.New(allocation.Config{Store: store, Networks: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16")}})
	must(t, err)
	authorizer, err := authz.New(authz.Config{Modes: []authz.Mode{authz.AlwaysAllow}})
	must(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	tokens, err := serviceaccount.NewIssuer(issuer, key, nil)
	must(t, err)
	keys, err := serviceaccount.NewKeys(key.Public())
	must(t, err)
	published, err := serviceaccount.NewDiscovery(issuer, "", keys)
	must(t, err)
	streams, err := proxy.New(proxy.Config{KubeletTLS: &tls.Config{MinVersion: tls.VersionTLS12}})
	must(t, err)
	requests := &serviceaccount.Requests{Issuer: tokens, Audiences: []string{issuer}}
	config := apiserver.Config{
		Store: store,
		Rows: api.Resources(api.Deps{
			Services: services, IssueToken: requests.Create, Authorizer: authorizer, Rules: authorizer,
			Components: []core.Component{{Name: "etcd-0", Check: store.Health}},
			ReviewToken: func(ctx context.Context, review *authenticationv1.TokenReview) error {
				return authn.ReviewToken(ctx, nil, nil, review)
			},
		}),
		Authenticator: administrator{}, Authorizer: authorizer,
		Connect: streams.Connectors(), Flags: func() map[string]string { return map[string]string{"secure-port": "6443"} },
		Documents: func(rows func() []*registry.Resource) map[string]http.Handler {
			described, schemas := discovery.New(discovery.Config{Rows: rows}), openapi.New(openapi.Config{Rows: rows, Version: "v1.37.0"})
			return map[string]http.Handler{
				"/api": described, "/apis": described, "/openapi/v2": schemas, "/openapi/v3": schemas,
				serviceaccount.ConfigurationPath: http.HandlerFunc(published.ServeConfiguration),
				serviceaccount.KeysPath:          http.HandlerFunc(published.ServeKeys),
			}
		},
	}
	for _, change := range changes {
		change(&config)
	}
	inner, err := apiserver.New(config)
	must(t, err)
	s := &server{Server: inner, http: httptest.NewServer(inner.Handler())}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = inner.Run(ctx) })
	running.Go(func() { _ = services.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		s.http.Close()
		streams.Close()
		_ = store.Close()
	})
	await(t, func() bool { return inner.Ready(t.Context()) == nil })
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// await polls a condition that must come true.
func await(t testing.TB, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

// answer is a response read to its end.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

// object decodes a JSON body.
func (a answer) object(t testing.TB) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal(a.body, &out); err != nil {
		t.Fatalf("%v: %.200s", err, a.body)
	}
	return out
}

// do sends a request; headers are name, value pairs.
func (s *server) do(t testing.TB, method, path string, body []byte, headers ...string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, s.http.URL+path, bytes.NewReader(body))
	must(t, err)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := s.http.Client().Do(r)
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	must(t, err)
	return answer{response.StatusCode, response.Header, content}
}

// must sends a request that has to succeed.
func (s *server) must(t testing.TB, method, path string, body any, headers ...string) map[string]any {
	t.Helper()
	raw, ok := body.([]byte)
	if !ok && body != nil {
		var err error
		raw, err = json.Marshal(body)
		must(t, err)
	}
	a := s.do(t, method, path, raw, headers...)
	if a.code >= 300 {
		t.Fatalf("%s %s: %d %s", method, path, a.code, a.body)
	}
	return a.object(t)
}

func (a answer) String() string { return fmt.Sprintf("%d %.400s", a.code, a.body) }
