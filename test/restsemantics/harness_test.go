// Package restsemantics states the rules of the Kubernetes API that hold for
// every resource, a subtest each, in terms of HTTP. It knows nothing of the
// server: it can be asked of any Kubernetes.
//
//	RESTSEMANTICS_KUBECONFIG=~/.kube/config go test ./test/restsemantics
//
// Without a kubeconfig it asks a server of its own.
package restsemantics

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	kjson "sigs.k8s.io/json"

	"github.com/yare-io/yare/test/yaretest"
)

// config is how the server is reached, one for all tests.
var config *rest.Config

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if path := os.Getenv("RESTSEMANTICS_KUBECONFIG"); path != "" {
		var err error
		if config, err = clientcmd.BuildConfigFromFlags("", path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}
	server, err := yaretest.New()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	config = server.Config()
	code := m.Run()
	if err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// target is the server as one test sees it, with a namespace of its own.
type target struct {
	*testing.T
	client    kubernetes.Interface
	http      *http.Client
	url       string
	namespace string
	// maps is the path of the config maps, which most rules are shown with.
	maps string
}

func newTarget(t *testing.T) *target {
	t.Helper()
	own := rest.CopyConfig(config)
	own.QPS = -1
	client, err := kubernetes.NewForConfig(own)
	must(t, err)
	raw, err := rest.HTTPClientFor(own)
	must(t, err)
	raw.Timeout = time.Minute
	made, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "rest-"}}, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() {
		_ = client.CoreV1().Namespaces().Delete(context.WithoutCancel(t.Context()), made.Name, metav1.DeleteOptions{})
	})
	url, _, err := rest.DefaultServerUrlFor(own)
	must(t, err)
	return &target{
		T: t, client: client, http: raw, url: strings.TrimSuffix(url.String(), "/"), namespace: made.Name,
		maps: "/api/v1/namespaces/" + made.Name + "/configmaps",
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rule is one thing that holds, and what shows it.
func (g *target) rule(name string, show func(g *target)) {
	g.Helper()
	g.Run(name, func(t *testing.T) {
		own := *g
		own.T = t
		show(&own)
	})
}

// answer is a response read to its end.
type answer struct {
	code   int
	header http.Header
	body   []byte
	proto  string
}

func (a answer) String() string { return fmt.Sprintf("%d %.600s", a.code, a.body) }

// object decodes a JSON body.
func (a answer) object(t *testing.T) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal(a.body, &out); err != nil {
		t.Fatalf("%v: %v", err, a)
	}
	return out
}

// status decodes a Status.
func (a answer) status(t *testing.T) metav1.Status {
	t.Helper()
	var out metav1.Status
	if err := json.Unmarshal(a.body, &out); err != nil || out.Kind != "Status" || out.APIVersion != "v1" {
		t.Fatalf("not a Status (%v): %v", err, a)
	}
	return out
}

// names are those of a list's items.
func (a answer) names(t *testing.T) string {
	t.Helper()
	var list metav1.PartialObjectMetadataList
	if err := json.Unmarshal(a.body, &list); err != nil || a.code != http.StatusOK {
		t.Fatalf("not a list (%v): %v", err, a)
	}
	out := make([]string, len(list.Items))
	for i := range list.Items {
		out[i] = list.Items[i].Name
	}
	return strings.Join(out, " ")
}

// meta is the metadata of an object or a list.
func (a answer) meta(t *testing.T) map[string]any {
	t.Helper()
	meta, _ := a.object(t)["metadata"].(map[string]any)
	return meta
}

// text is a string in an object's metadata.
func (a answer) text(t *testing.T, field string) string {
	t.Helper()
	s, _ := a.meta(t)[field].(string)
	return s
}

// do sends a request; headers are name, value pairs.
func (g *target) do(method, path, body string, headers ...string) answer {
	g.Helper()
	request, err := http.NewRequestWithContext(g.Context(), method, g.url+path, bytes.NewReader([]byte(body)))
	must(g.T, err)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := g.http.Do(request)
	must(g.T, err)
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	must(g.T, err)
	if response.Header.Get("Content-Type") == "application/json" {
		g.fieldsOnce(content)
	}
	return answer{response.StatusCode, response.Header, content, response.Proto}
}

// fieldsOnce: no answer has a field twice.
func (g *target) fieldsOnce(content []byte) {
	g.Helper()
	var value any
	if twice, err := kjson.UnmarshalStrict(content, &value); err == nil && len(twice) > 0 {
		g.Errorf("%v in %.600s", twice, content)
	}
}

// get, post and so on are requests that have to succeed.
func (g *target) get(path string) answer { g.Helper(); return g.ok(g.do("GET", path, "")) }

func (g *target) post(path, body string) answer { g.Helper(); return g.ok(g.do("POST", path, body)) }

func (g *target) put(path, body string) answer { g.Helper(); return g.ok(g.do("PUT", path, body)) }

func (g *target) ok(a answer) answer {
	g.Helper()
	if a.code >= 300 {
		g.Fatalf("%v", a)
	}
	return a
}

// fails expects an error; message is a part of its message.
func (g *target) fails(a answer, code int, reason metav1.StatusReason, message string) {
	g.Helper()
	status := a.status(g.T)
	if a.code != code || int(status.Code) != code || status.Reason != reason || status.Status != metav1.StatusFailure || !strings.Contains(status.Message, message) {
		g.Errorf("got %v\nwant %d %s %q", a, code, reason, message)
	}
}

// configMap makes a config map of that name, labelled with it.
func (g *target) configMap(name string) answer {
	g.Helper()
	return g.post(g.maps, fmt.Sprintf(`{"metadata":{"name":%q,"labels":{"name":%q}},"data":{"k":"v"}}`, name, name))
}

// watch is a watch read event by event.
type watch struct {
	*testing.T
	events chan event
	code   int
	header http.Header
}

type event struct {
	Type   string
	Object struct {
		Kind     string
		Metadata metav1.ObjectMeta
		Code     int
		Reason   string
	}
}

func (e event) String() string { return e.Type + " " + e.Object.Metadata.Name }

// watch begins a watch, which ends with the test.
func (g *target) watch(path string) *watch {
	g.Helper()
	ctx, cancel := context.WithCancel(g.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url+path, nil)
	must(g.T, err)
	client := *g.http
	client.Timeout = 0
	response, err := client.Do(request)
	must(g.T, err)
	w := &watch{T: g.T, events: make(chan event), code: response.StatusCode, header: response.Header}
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(w.events)
		for decoder := json.NewDecoder(response.Body); ; {
			var e event
			if decoder.Decode(&e) != nil {
				return
			}
			select {
			case w.events <- e:
			case <-ctx.Done():
				return
			}
		}
	})
	g.Cleanup(func() {
		cancel()
		_ = response.Body.Close()
		reading.Wait()
	})
	return w
}

// next is the next event, or one of type "" when the watch has ended.
func (w *watch) next() event {
	w.Helper()
	select {
	case e := <-w.events:
		return e
	case <-time.After(30 * time.Second):
		w.Fatal("no event")
		return event{}
	}
}

// expect compares the next events, as "ADDED name".
func (w *watch) expect(events ...string) {
	w.Helper()
	for _, want := range events {
		if got := w.next(); got.String() != want {
			w.Fatalf("event %q, want %q", got, want)
		}
	}
}
