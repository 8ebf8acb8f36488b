package customresource_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/yare-io/yare/apiserver"
	"github.com/yare-io/yare/apiserver/api/apiextensions"
	"github.com/yare-io/yare/apiserver/api/core"
	"github.com/yare-io/yare/apiserver/customresource"
	"github.com/yare-io/yare/apiserver/discovery"
	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/openapi"
	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/memory"
)

var definitions = apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")

// world is a server with custom resources, and a client of it.
type world struct {
	testing.TB
	server *apiserver.Server
	url    string
	client dynamic.Interface
	// stop ends the server before the test does.
	stop func()
}

type everybody struct{}

func (everybody) AuthenticateRequest(*http.Request) (*authenticator.Response, bool, error) {
	return &authenticator.Response{User: &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}}, true, nil
}

// newWorld starts a server over a store, a new one in memory when nil.
func newWorld(t testing.TB, store storage.Store) *world {
	t.Helper()
	if store == nil {
		store = memory.New(memory.Config{})
		t.Cleanup(func() { _ = store.Close() })
	}
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	server, err := apiserver.New(apiserver.Config{
		Store: store, Rows: rows(), Authenticator: everybody{},
		Authorizer: authorizerfactory.NewAlwaysAllowAuthorizer(), Logger: logger,
		Documents: func(rows func() []*registry.Resource) map[string]http.Handler {
			described, schemas := discovery.New(discovery.Config{Rows: rows}), openapi.New(openapi.Config{Rows: rows})
			return map[string]http.Handler{"/api": described, "/apis": described, "/openapi/v2": schemas, "/openapi/v3": schemas}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	controller := customresource.New(customresource.Config{
		Definitions: server.Stored(customresource.Definitions), Objects: server.Objects(), SetRows: func(rows []*registry.Resource) error { return server.SetRows("customresources", rows) },
		BuiltIn: func(schema.GroupResource) bool { return false }, Caller: caller{}, Logger: logger,
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- server.Run(ctx) }()
	go func() { ended <- controller.Run(ctx) }()
	front := httptest.NewServer(server.Handler())
	stop := sync.OnceFunc(func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
		front.Close()
	})
	t.Cleanup(stop)
	w := &world{TB: t, server: server, stop: stop, url: front.URL, client: dynamic.NewForConfigOrDie(&rest.Config{Host: front.URL, QPS: -1})}
	w.wait("the server is ready", func() bool { return server.Ready(t.Context()) == nil && controller.Check(t.Context()) == nil })
	return w
}

// rows are the server's own: what custom resources need beside themselves.
func rows() []*registry.Resource {
	var kept []*registry.Resource
	for _, row := range append(apiextensions.Resources(), core.Resources(core.Deps{})...) {
		switch row.Name {
		case "customresourcedefinitions", "namespaces", "configmaps":
			kept = append(kept, row)
		}
	}
	return kept
}

// caller posts to the URL of a webhook.
type caller struct{}

func (caller) Call(ctx context.Context, config *apiextensionsv1.WebhookClientConfig, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.Replace(*config.URL, "https:", "http:", 1), strings.NewReader(string(body)))
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, errors.New(answer.Status)
	}
	return io.ReadAll(answer.Body)
}

func (w *world) wait(what string, done func() bool) {
	w.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("in vain: %s", what)
		}
	}
}

// parse reads an object of YAML.
func (w *world) parse(text string) *unstructured.Unstructured {
	w.Helper()
	obj := &unstructured.Unstructured{}
	raw, err := yaml.YAMLToJSON([]byte(strings.ReplaceAll(text, "\t", "  ")))
	if err == nil {
		err = obj.UnmarshalJSON(raw)
	}
	if err != nil {
		w.Fatalf("%v in %s", err, text)
	}
	return obj
}

// define creates a definition and waits until it is established.
func (w *world) define(text string) *unstructured.Unstructured {
	w.Helper()
	created, err := w.client.Resource(definitions).Create(w.Context(), w.parse(text), metav1.CreateOptions{})
	if err != nil {
		w.Fatal(err)
	}
	w.wait("the definition is established", func() bool { return w.condition(created.GetName(), "Established") == "True" })
	return created
}

// condition is the status of a definition's condition.
func (w *world) condition(name, kind string) string {
	w.Helper()
	d, err := w.client.Resource(definitions).Get(w.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	conditions, _, _ := unstructured.NestedSlice(d.Object, "status", "conditions")
	for _, condition := range conditions {
		if c := condition.(map[string]any); c["type"] == kind {
			return c["status"].(string)
		}
	}
	return ""
}

// in is the client of a resource in the default namespace.
func (w *world) in(version, plural string) dynamic.ResourceInterface {
	return w.client.Resource(schema.GroupVersionResource{Group: "example.com", Version: version, Resource: plural}).Namespace("default")
}

func (w *world) create(version, plural, text string) (*unstructured.Unstructured, error) {
	w.Helper()
	return w.in(version, plural).Create(w.Context(), w.parse(text), metav1.CreateOptions{})
}

func (w *world) mustCreate(version, plural, text string) *unstructured.Unstructured {
	w.Helper()
	obj, err := w.create(version, plural, text)
	if err != nil {
		w.Fatal(err)
	}
	return obj
}

// request sends what client-go cannot; headers are name, value pairs.
func (w *world) request(method, path, body string, headers ...string) (code int, answer string, header http.Header) {
	w.Helper()
	request, err := http.NewRequestWithContext(w.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = reply.Body.Close() }()
	raw, err := io.ReadAll(reply.Body)
	if err != nil {
		w.Fatal(err)
	}
	return reply.StatusCode, string(raw), reply.Header
}

// field reads a nested field of an object; nil when it is not there.
func field(obj *unstructured.Unstructured, path ...string) any {
	value, _, _ := unstructured.NestedFieldNoCopy(obj.Object, path...)
	return value
}
