package crds

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/yare-io/yare/apiserver"
	"github.com/yare-io/yare/apiserver/api/apiextensions"
	"github.com/yare-io/yare/apiserver/api/core"
	"github.com/yare-io/yare/apiserver/customresource"
	"github.com/yare-io/yare/apiserver/discovery"
	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/openapi"
	"github.com/yare-io/yare/storage/memory"
	"github.com/yare-io/yare/test/cluster"
)

// server is an API server in this process, over HTTP, for one who may do all.
type server struct {
	url    string
	client dynamic.Interface
}

type administrator struct{}

func (administrator) AuthenticateRequest(*http.Request) (*authenticator.Response, bool, error) {
	return &authenticator.Response{User: &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}}, true, nil
}

// start serves until the test ends.
func start(t testing.TB) *server {
	t.Helper()
	store := memory.New(memory.Config{})
	inner, err := apiserver.New(apiserver.Config{
		Store: store, Rows: rows(), Authenticator: administrator{},
		Authorizer: authorizerfactory.NewAlwaysAllowAuthorizer(), Logger: slog.New(slog.DiscardHandler),
		Documents: func(rows func() []*registry.Resource) map[string]http.Handler {
			described, schemas := discovery.New(discovery.Config{Rows: rows}), openapi.New(openapi.Config{Rows: rows})
			return map[string]http.Handler{"/api": described, "/apis": described, "/openapi/v2": schemas, "/openapi/v3": schemas}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	controller := customresource.New(customresource.Config{
		Definitions: inner.Stored(customresource.Definitions), Objects: inner.Objects(),
		SetRows: func(rows []*registry.Resource) error { return inner.SetRows("customresources", rows) },
		BuiltIn: func(schema.GroupResource) bool { return false }, Caller: customresource.NewCaller(nil),
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = inner.Run(ctx) })
	running.Go(func() { _ = controller.Run(ctx) })
	front := httptest.NewServer(inner.Handler())
	t.Cleanup(func() {
		cancel()
		running.Wait()
		front.Close()
		_ = store.Close()
	})
	s := &server{url: front.URL, client: dynamic.NewForConfigOrDie(&rest.Config{Host: front.URL, QPS: -1, WarningHandler: rest.NoWarnings{}})}
	s.wait(t, "the server is ready", func() bool { return inner.Ready(t.Context()) == nil && controller.Check(t.Context()) == nil })
	return s
}

// rows are what custom resources need beside themselves.
func rows() []*registry.Resource {
	return slices.DeleteFunc(append(apiextensions.Resources(), core.Resources(core.Deps{})...), func(r *registry.Resource) bool {
		return !slices.Contains([]string{"customresourcedefinitions", "namespaces", "configmaps"}, r.Name)
	})
}

func (s *server) wait(t testing.TB, what string, done func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 2*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) { return done(), nil })
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// get reads a document in a media type.
func (s *server) get(t testing.TB, path, accept string) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", accept)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s: %.400s", path, answer.Status, body)
	}
	return body
}

// kubectl runs a command that must succeed and returns what it printed.
func (s *server) kubectl(t testing.TB, input string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args = append([]string{"--kubeconfig=/dev/null", "--server=" + s.url, "--cache-dir=" + t.TempDir()}, args...)
	command := exec.CommandContext(ctx, cluster.Binary(t, "kubectl"), args...)
	command.Stdin = strings.NewReader(input)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// in is the client of a resource where objects of its scope are made.
func (s *server) in(d manifest, version string) dynamic.ResourceInterface {
	all := s.client.Resource(schema.GroupVersionResource{Group: d.Spec.Group, Version: version, Resource: d.Spec.Names.Plural})
	if d.Spec.Scope == "Cluster" {
		return all
	}
	return all.Namespace(metav1.NamespaceDefault)
}

// path is where a version of a resource is served for all namespaces.
func path(d manifest, version string) string {
	return fmt.Sprintf("/apis/%s/%s/%s", d.Spec.Group, version, d.Spec.Names.Plural)
}
