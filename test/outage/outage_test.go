// Package outage takes the store away from a whole server and gives it back.
package outage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/yare-io/yare/storage/faulttest/process"
	"github.com/yare-io/yare/storage/postgres/postgrestest"
	"github.com/yare-io/yare/test/cluster"
)

// store is one outside of the server.
type store struct {
	endpoint    string
	kill, start func() error
}

func startEtcd(t *testing.T, host *cluster.Host) store {
	t.Helper()
	binary, err := exec.LookPath("etcd")
	if err != nil {
		t.Skip("etcd is not installed")
	}
	dir := t.TempDir()
	s := store{endpoint: "http://127.0.0.1:2379"}
	var server *process.Process
	s.start = func() error {
		command := host.Command(context.Background(), binary, "--data-dir", filepath.Join(dir, "data"), "--log-level", "error")
		server, err = process.Start(command)
		return err
	}
	s.kill = func() error { return server.Kill() }
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.kill() })
	return s
}

func startPostgres(t *testing.T, _ *cluster.Host) store {
	t.Helper()
	server := postgrestest.New(t)
	return store{endpoint: server.Schema(), kill: server.Kill, start: server.Start}
}

func TestStoreAway(t *testing.T) {
	for name, start := range map[string]func(*testing.T, *cluster.Host) store{"etcd": startEtcd, "postgres": startPostgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := cluster.NewLAN(t).NewHost("one")
			s := start(t, host)
			o := &outage{t: t, node: cluster.StartServer(t, host, "--disable-agent", "--datastore-endpoint="+s.endpoint)}
			o.client = o.node.Client()
			o.create("before")
			watched := o.watch()
			if err := s.kill(); err != nil {
				t.Fatal(err)
			}
			o.away()
			if err := s.start(); err != nil {
				t.Fatal(err)
			}
			o.back(watched)
		})
	}
}

type outage struct {
	t      *testing.T
	node   *cluster.Node
	client kubernetes.Interface
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func (o *outage) create(name string) {
	o.t.Helper()
	if _, err := o.client.CoreV1().ConfigMaps("default").Create(o.t.Context(), configMap(name), metav1.CreateOptions{}); err != nil {
		o.t.Fatal(err)
	}
}

// watch begins after what there is, and passes on the names it is told.
func (o *outage) watch() <-chan string {
	o.t.Helper()
	list, err := o.client.CoreV1().ConfigMaps("default").List(o.t.Context(), metav1.ListOptions{})
	if err != nil {
		o.t.Fatal(err)
	}
	w, err := o.client.CoreV1().ConfigMaps("default").Watch(o.t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		o.t.Fatal(err)
	}
	names := make(chan string, 16)
	go func() {
		defer close(names)
		for event := range w.ResultChan() {
			if one, ok := event.Object.(*corev1.ConfigMap); ok && event.Type == watch.Added {
				names <- one.Name
			} else {
				names <- fmt.Sprintf("%s %T", event.Type, event.Object)
			}
		}
	}()
	o.t.Cleanup(w.Stop)
	return names
}

// ask makes a request as it is, without the retries of client-go.
func (o *outage) ask(method, path, body string) (*http.Response, string) {
	o.t.Helper()
	transport, err := rest.TransportFor(o.node.Config())
	if err != nil {
		o.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(o.t.Context(), 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, o.node.URL()+path, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := transport.RoundTrip(request)
	if err != nil {
		o.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return response, string(text)
}

const configMaps = "/api/v1/namespaces/default/configmaps"

// away: what is cached is read, all else is refused with when to try again, and
// the server lives.
func (o *outage) away() {
	o.t.Helper()
	for _, path := range []string{configMaps + "/before?resourceVersion=0", configMaps + "?resourceVersion=0", "/livez/ping"} {
		if response, text := o.ask("GET", path, ""); response.StatusCode != http.StatusOK {
			o.t.Errorf("GET %s: %s %s", path, response.Status, text)
		}
	}
	for path, method := range map[string]string{configMaps: "POST", configMaps + "/before": "DELETE", configMaps + "?limit=5": "GET"} {
		body := ""
		if method == "POST" {
			body = `{"metadata":{"name":"during"}}`
		}
		begin := time.Now()
		response, text := o.ask(method, path, body)
		if code := response.StatusCode; code != http.StatusServiceUnavailable && code != http.StatusGatewayTimeout || response.Header.Get("Retry-After") == "" {
			o.t.Errorf("%s %s: %s, Retry-After %q: %s", method, path, response.Status, response.Header.Get("Retry-After"), text)
		}
		o.t.Logf("%s %s: %s after %s", method, path, response.Status, time.Since(begin).Round(time.Millisecond))
	}
	if response, text := o.ask("GET", "/readyz", ""); response.StatusCode == http.StatusOK {
		o.t.Errorf("the server says that it is ready: %s", text)
	}
}

// back: writes are taken, and the watch goes on without a gap.
func (o *outage) back(watched <-chan string) {
	o.t.Helper()
	o.node.Eventually(30*time.Second, func(ctx context.Context) error {
		if response, text := o.ask("GET", "/readyz", ""); response.StatusCode != http.StatusOK {
			return errors.New(text)
		}
		_, err := o.client.CoreV1().ConfigMaps("default").Create(ctx, configMap("after"), metav1.CreateOptions{})
		return err
	})
	for {
		select {
		case name, ok := <-watched:
			switch {
			case !ok:
				o.t.Fatal("the watch ended")
			case name == "after":
				return
			case name == "during" || name == "kube-root-ca.crt":
				// The write under way when the store went may have happened.
			default:
				o.t.Fatalf("the watch told %q", name)
			}
		case <-time.After(30 * time.Second):
			o.t.Fatal("the watch tells nothing")
		}
	}
}

// TestStoreFull fills the embedded etcd. Writes are refused with what can be done,
// and that works.
func TestStoreFull(t *testing.T) {
	host := cluster.NewLAN(t).NewHost("one")
	o := &outage{t: t, node: cluster.StartServer(t, host, "--disable-agent", "--etcd-quota-backend-bytes=33554432")}
	large := strings.Repeat("x", 900<<10)
	for n := 0; ; n++ {
		response, text := o.ask("POST", configMaps, fmt.Sprintf(`{"metadata":{"name":"large-%d"},"data":{"x":%q}}`, n, large))
		if response.StatusCode == http.StatusInsufficientStorage && strings.Contains(text, "deletes still work") {
			break
		}
		if response.StatusCode != http.StatusCreated || n > 100 {
			t.Fatalf("large-%d: %s %s", n, response.Status, text)
		}
	}
	if response, text := o.ask("GET", configMaps+"/large-0", ""); response.StatusCode != http.StatusOK {
		t.Errorf("a full store serves no reads: %s %s", response.Status, text)
	}
	if response, text := o.ask("DELETE", configMaps+"/large-0", ""); response.StatusCode != http.StatusOK {
		t.Errorf("a full store takes no deletes: %s %s", response.Status, text)
	}
	if response, _ := o.ask("GET", "/readyz", ""); response.StatusCode == http.StatusOK {
		t.Error("the server says that it is ready")
	}
	_, metrics := o.ask("GET", "/metrics", "")
	for _, want := range []string{
		`etcd_requests_total{group="",operation="create",resource="configmaps"}`,
		`etcd_request_errors_total{group="",operation="create",resource="configmaps"}`,
		`apiserver_storage_objects{group="",resource="configmaps"}`, `apiserver_storage_size_bytes{storage_cluster_id="etcd-0"} 3`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
}
