package crds

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/yare-io/yare/test/cluster"
	"github.com/yare-io/yare/test/yaretest"
)

// server is an API server in this process, for its administrator.
type server struct {
	url, kubeconfig string
	http            *http.Client
	client          dynamic.Interface
}

// start serves until the test ends.
func start(t testing.TB) *server {
	t.Helper()
	inner := yaretest.Start(t)
	config := inner.Config()
	config.WarningHandler = rest.NoWarnings{}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := inner.Kubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	return &server{config.Host, kubeconfig, client, dynamic.NewForConfigOrDie(config)}
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
	answer, err := s.http.Do(request)
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
	args = append([]string{"--kubeconfig=" + s.kubeconfig, "--cache-dir=" + t.TempDir()}, args...)
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
