package aggregation_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/yare-io/yare/apiserver"
	"github.com/yare-io/yare/apiserver/aggregation"
	"github.com/yare-io/yare/apiserver/api/apiregistration"
	"github.com/yare-io/yare/apiserver/api/core"
	endpoints "github.com/yare-io/yare/apiserver/api/discovery"
	"github.com/yare-io/yare/apiserver/discovery"
	"github.com/yare-io/yare/apiserver/proxy"
	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/openapi"
	"github.com/yare-io/yare/storage/cache"
	"github.com/yare-io/yare/storage/memory"
)

// podAddress stands for the loopback address, which no endpoint may have.
const podAddress = "10.0.0.7"

// metrics is a server of another group. It remembers the last request.
type metrics struct {
	last  atomic.Pointer[http.Request]
	serve atomic.Pointer[http.HandlerFunc]
	// openAPI2 is its document; without one it has none.
	openAPI2 atomic.Pointer[string]
	// hang, when set, makes it never answer.
	hang atomic.Bool
}

func (m *metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if m.hang.Load() {
		<-r.Context().Done()
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/openapi/v2":
		m.serveOpenAPI2(w, r)
	case "/apis/metrics.example.com/v1":
		_ = json.NewEncoder(w).Encode(metav1.APIResourceList{GroupVersion: "metrics.example.com/v1", APIResources: []metav1.APIResource{
			{Name: "loads", SingularName: "load", Namespaced: true, Kind: "Load", Verbs: []string{"get", "list"}},
			{Name: "loads/status", Namespaced: true, Kind: "Load", Verbs: []string{"get"}},
		}})
	case "/openapi/v3":
		_, _ = io.WriteString(w, `{"paths":{"apis/metrics.example.com/v1":{"serverRelativeURL":"/openapi/v3/apis/metrics.example.com/v1?hash=AB"}}}`)
	case "/openapi/v3/apis/metrics.example.com/v1":
		_, _ = io.WriteString(w, `{"openapi":"3.0.0","info":{"title":"metrics"}}`)
	default:
		m.last.Store(r)
		if serve := m.serve.Load(); serve != nil {
			(*serve)(w, r)
			return
		}
		_, _ = io.WriteString(w, `{"kind":"LoadList"}`)
	}
}

type byHeader struct{}

func (byHeader) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	if name := r.Header.Get("User"); name != "" {
		return &authenticator.Response{User: &user.DefaultInfo{Name: name, UID: "u1", Groups: []string{"team"}, Extra: map[string][]string{"example.com/scope": {"x"}}}}, true, nil
	}
	return &authenticator.Response{User: &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}}, true, nil
}

type world struct {
	*testing.T
	server  *apiserver.Server
	url     string
	other   *metrics
	backend *httptest.Server
}

func newWorld(t *testing.T) *world {
	store := memory.New(memory.Config{})
	var rows []*registry.Resource
	all := append(apiregistration.Resources(), core.Resources(core.Deps{})...)
	for _, row := range append(all, endpoints.Resources()...) {
		if slices.Contains([]string{"apiservices", "services", "configmaps", "endpointslices"}, row.Name) {
			if row.Name == "services" {
				row.Strategy, row.Subresources = registry.Strategy{}, nil
			}
			rows = append(rows, row)
		}
	}
	w := &world{T: t, other: &metrics{}}
	w.backend = httptest.NewTLSServer(w.other)
	aggregator := aggregation.New(aggregation.Config{
		Services: func() *cache.Resource { return w.server.Stored(aggregation.Services) },
		Objects:  func() registry.Objects { return w.server.Objects() },
		Rows:     func() []*registry.Resource { return w.server.Rows() },
		Custom:   func(*registry.Resource) bool { return false },
		Resolve: func(ctx context.Context, namespace, name string, port int32) (string, error) {
			address, err := proxy.ServiceAddress(ctx, w.server.Objects(), namespace, name, port)
			return strings.Replace(address, podAddress, "127.0.0.1", 1), err
		},
		ClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &w.backend.TLS.Certificates[0], nil
		},
	})
	var err error
	w.server, err = apiserver.New(apiserver.Config{
		Store: store, Rows: rows, Authenticator: byHeader{}, Authorizer: authorizerfactory.NewAlwaysAllowAuthorizer(), Elsewhere: aggregator.Handler,
		Documents: func(rows func() []*registry.Resource) map[string]http.Handler {
			described := aggregator.Discovery(discovery.New(discovery.Config{Rows: rows, Others: aggregator.Others}))
			schemas := aggregator.Documents(openapi.New(openapi.Config{Rows: rows, Version: "v1"}))
			return map[string]http.Handler{"/apis": described, "/openapi/v2": schemas, "/openapi/v3": schemas}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(w.server.Handler())
	w.url = front.URL
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- w.server.Run(ctx) }()
	go func() { ended <- aggregator.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		front.CloseClientConnections()
		front.Close()
		w.backend.CloseClientConnections()
		w.backend.Close()
		for range 2 {
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
		_ = store.Close()
	})
	w.wait("ready", func() bool { return w.server.Ready(ctx) == nil })
	return w
}

func (w *world) wait(what string, done func() bool) {
	w.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("in vain: %s", what)
		}
	}
}

// register makes the other server known: a service, its endpoint, and the API
// service that names it.
func (w *world) register() {
	w.Helper()
	address, err := url.Parse(w.backend.URL)
	if err != nil {
		w.Fatal(err)
	}
	port, err := strconv.ParseInt(address.Port(), 10, 32)
	if err != nil {
		w.Fatal(err)
	}
	number, ready, name := int32(port), true, "https"
	w.post("/api/v1/namespaces/default/services", &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "metrics"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: name, Port: 443}}}})
	w.post("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "metrics-1", Labels: map[string]string{discoveryv1.LabelServiceName: "metrics"}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &number}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{podAddress}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
	})
	w.post("/apis/apiregistration.k8s.io/v1/apiservices", w.service())
}

func (w *world) service() *apiregistrationv1.APIService {
	return &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: "v1.metrics.example.com"},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: "metrics.example.com", Version: "v1", GroupPriorityMinimum: 19000, VersionPriority: 100, InsecureSkipTLSVerify: true,
			Service: &apiregistrationv1.ServiceReference{Namespace: "default", Name: "metrics"},
		},
	}
}

func (w *world) post(path string, obj any) {
	w.Helper()
	raw, err := json.Marshal(obj)
	if err != nil {
		w.Fatal(err)
	}
	if code, body := w.do("POST", path, string(raw)); code != http.StatusCreated {
		w.Fatalf("%s: %d %s", path, code, body)
	}
}

func (w *world) do(method, path, body string, headers ...string) (int, string) {
	w.Helper()
	request, err := http.NewRequestWithContext(w.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(request)
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		w.Fatal(err)
	}
	return answer.StatusCode, string(raw)
}

func (w *world) available(name string) string {
	_, body := w.do("GET", "/apis/apiregistration.k8s.io/v1/apiservices/"+name, "")
	var s apiregistrationv1.APIService
	_ = json.Unmarshal([]byte(body), &s)
	for _, c := range s.Status.Conditions {
		return string(c.Status) + " " + c.Reason
	}
	return ""
}

func TestTheServersOwnGroupsAreRegistered(t *testing.T) {
	w := newWorld(t)
	w.wait("the core group is there", func() bool { return w.available("v1.") == "True Local" })
	_, body := w.do("GET", "/apis/apiregistration.k8s.io/v1/apiservices/v1.", "")
	if !strings.Contains(body, `"groupPriorityMinimum":18000,"versionPriority":1`) || !strings.Contains(body, `"kube-aggregator.kubernetes.io/automanaged":"onstart"`) {
		t.Error(body)
	}
}

func TestARequestIsPassedOnAsItsUser(t *testing.T) {
	w := newWorld(t)
	w.register()
	w.wait("available", func() bool { return w.available("v1.metrics.example.com") == "True Passed" })
	code, body := w.do("GET", "/apis/metrics.example.com/v1/namespaces/default/loads?limit=3", "", "User", "jane", "Authorization", "Bearer secret",
		"X-Remote-User", "root", "X-Remote-Group", "system:masters", "X-Remote-Extra-Scope", "all", "X_Remote_User", "root")
	got := w.other.last.Load()
	if code != 200 || body != `{"kind":"LoadList"}` || got == nil {
		t.Fatalf("%d %s", code, body)
	}
	if got.URL.RawQuery != "limit=3" || len(got.TLS.PeerCertificates) > 1 {
		t.Errorf("%s", got.URL)
	}
	header := got.Header
	if !equal(header["X-Remote-User"], "jane") || !equal(header["X-Remote-Group"], "team") || !equal(header["X-Remote-Uid"], "u1") || !equal(header["X-Remote-Extra-Example.com%2fscope"], "x") {
		t.Errorf("%v", header)
	}
	for _, name := range []string{"Authorization", "X_Remote_User", "X-Remote-Extra-Scope"} {
		if header[name] != nil {
			t.Errorf("%s reached the other server", name)
		}
	}
}

func equal(got []string, want ...string) bool { return slices.Equal(got, want) }

func TestNoRedirectIsFollowedAndStreamsFlow(t *testing.T) {
	w := newWorld(t)
	w.register()
	w.wait("available", func() bool { return w.available("v1.metrics.example.com") == "True Passed" })
	redirect := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "https://127.0.0.1:1/", http.StatusFound)
	})
	w.other.serve.Store(&redirect)
	if code, body := w.do("GET", "/apis/metrics.example.com/v1/loads", ""); code < 400 {
		t.Errorf("a redirect came back: %d %s", code, body)
	}
	more := make(chan struct{})
	stream := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(rw, "one\n")
		_ = http.NewResponseController(rw).Flush()
		<-more
		_, _ = io.WriteString(rw, "two\n")
	})
	w.other.serve.Store(&stream)
	answer, err := http.Get(w.url + "/apis/metrics.example.com/v1/loads?watch=true")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	first := make([]byte, 4)
	if _, err := io.ReadFull(answer.Body, first); err != nil || string(first) != "one\n" {
		t.Fatalf("%q %v", first, err)
	}
	close(more)
	if rest, err := io.ReadAll(answer.Body); err != nil || string(rest) != "two\n" {
		t.Errorf("%q %v", rest, err)
	}
}

func TestOthersAreDescribedByTheirPriority(t *testing.T) {
	w := newWorld(t)
	w.register()
	w.wait("discovered", func() bool {
		_, body := w.do("GET", "/apis", "", "Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
		return strings.Contains(body, `"resource":"loads"`)
	})
	_, body := w.do("GET", "/apis", "", "Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
	if !strings.Contains(body, `"freshness":"Current"`) || !strings.Contains(body, `"subresource":"status"`) || !strings.Contains(body, `"items":[{"metadata":{"name":"metrics.example.com"`) {
		t.Error(body)
	}
	for path, want := range map[string]string{
		"/apis":                        `"groups":[{"name":"metrics.example.com","versions":[{"groupVersion":"metrics.example.com/v1","version":"v1"}]`,
		"/apis/metrics.example.com":    `"preferredVersion":{"groupVersion":"metrics.example.com/v1"`,
		"/apis/metrics.example.com/v1": `"singularName":"load"`,
		"/openapi/v3":                  `"/openapi/v3/apis/metrics.example.com/v1?hash=AB"`,
		"/openapi/v3/apis/metrics.example.com/v1?hash=AB": `"title":"metrics"`,
	} {
		if code, body := w.do("GET", path, ""); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
}

func TestAServerThatDoesNotAnswerIsSaidToBeAway(t *testing.T) {
	w := newWorld(t)
	lost := w.service()
	w.post("/apis/apiregistration.k8s.io/v1/apiservices", lost)
	w.wait("the service is missed", func() bool { return w.available(lost.Name) == "False ServiceNotFound" })
	if code, body := w.do("GET", "/apis/metrics.example.com/v1/loads", ""); code != http.StatusServiceUnavailable && code != http.StatusNotFound {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := w.do("GET", "/api/v1/configmaps", ""); code != 200 {
		t.Errorf("the server's own resources: %d", code)
	}
	if code, _ := w.do("DELETE", "/apis/apiregistration.k8s.io/v1/apiservices/"+lost.Name, ""); code != 200 {
		t.Errorf("delete: %d", code)
	}
	w.wait("the group is gone", func() bool {
		_, body := w.do("GET", "/apis", "")
		return !strings.Contains(body, "metrics.example.com")
	})
}

func TestTheCertificateMustBeTheBundles(t *testing.T) {
	w := newWorld(t)
	w.register()
	strict := w.service()
	strict.Name, strict.Spec.Version = "v2.metrics.example.com", "v2"
	strict.Spec.InsecureSkipTLSVerify = false
	strict.Spec.CABundle = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.backend.Certificate().Raw})
	w.post("/apis/apiregistration.k8s.io/v1/apiservices", strict)
	// The certificate is for example.com, not for the service's name.
	w.wait("refused", func() bool { return w.available(strict.Name) == "False FailedDiscoveryCheck" })
	_, body := w.do("GET", "/apis/apiregistration.k8s.io/v1/apiservices/"+strict.Name, "")
	if !strings.Contains(body, "metrics.default.svc") {
		t.Error(body)
	}
}
