// Package flood lets one client ask for as much as it can, and looks at what is
// left for the others. All goes over HTTPS to a whole server.
package flood

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/yare-io/yare/test/yaretest"
)

// objects are what each list of the flood reads, seats what all clients share.
const (
	objects = 3_000
	seats   = 20
)

// TestSystemTrafficSurvivesAFlood: one client creates objects, few of them new, and lists all of
// them, from far more connections than it has seats. It is told to come again,
// and when; leases of nodes and of elections are never turned away. How long both
// take is logged: the clients share the machine and the process with the server.
func TestSystemTrafficSurvivesAFlood(t *testing.T) {
	server := yaretest.Start(t, yaretest.WithFlags(
		fmt.Sprintf("--max-requests-inflight=%d", seats-seats/4), fmt.Sprintf("--max-mutating-requests-inflight=%d", seats/4)))
	admin := newCaller(t, server.Config())
	fill(t, admin)
	admin.must(t, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", `{"metadata":{"name":"flood"},
		"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"cluster-admin"},"subjects":[{"kind":"User","name":"flood"},{"kind":"Group","name":"system:nodes"}]}`)
	admin.must(t, "POST", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", lease("kube-scheduler"))
	admin.must(t, "POST", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", lease("one"))
	node := user(t, server, "system:node:one", "system:nodes")
	scheduler := user(t, server, "system:kube-scheduler")
	flooder := user(t, server, "flood")

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	flood := &flood{caller: flooder}
	flood.start(ctx)
	waitFor(t, func() bool { return flood.rejected.Load() > 0 && flood.lists.len() > 0 })
	var system times
	for range 4 {
		for path, who := range map[string]*caller{
			"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/one":        node,
			"/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler": scheduler,
		} {
			began := time.Now()
			code, header, body := who.do(t.Context(), "GET", path, "")
			if code == http.StatusOK {
				code, header, body = who.do(t.Context(), "PUT", path, string(body))
			}
			if code != http.StatusOK {
				t.Fatalf("%s: %d %v %s", path, code, header, body)
			}
			if header.Get("X-Kubernetes-PF-FlowSchema-UID") == "" || header.Get("X-Kubernetes-PF-PriorityLevel-UID") == "" {
				t.Errorf("%s does not say how it was classified: %v", path, header)
			}
			system.add(time.Since(began))
		}
	}
	rejections := flood.rejected.Load()
	stop()
	flood.group.Wait()
	list, write := flood.lists.median(), system.median()
	t.Logf("medians: %v for a list of the flood, %v for two requests of the system (%.0f %%); %d lists, %d rejected",
		list, write, 100*float64(write)/float64(list), flood.lists.len(), rejections)
	if flood.unannounced.Load() > 0 {
		t.Errorf("%d rejections do not say when to come again", flood.unannounced.Load())
	}
	metrics := admin.must(t, "GET", "/metrics", "")
	for _, level := range []string{"node-high", "leader-election", "exempt"} {
		if strings.Contains(metrics, `priority_level="`+level+`",reason=`) {
			t.Errorf("requests of %s were rejected", level)
		}
	}
	for _, dump := range []string{"priority_levels", "queues", "requests"} {
		if table := admin.must(t, "GET", "/debug/api_priority_and_fairness/dump_"+dump, ""); !strings.HasPrefix(table, "PriorityLevelName,") {
			t.Errorf("dump_%s: %s", dump, table)
		}
	}
}

// flood is one client on many connections.
type flood struct {
	*caller
	group                 sync.WaitGroup
	rejected, unannounced atomic.Int64
	lists                 times
}

func (f *flood) start(ctx context.Context) {
	for i := range 20 * seats {
		f.group.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if i%8 == 0 {
					f.send(ctx, "POST", "/api/v1/namespaces/default/configmaps", fmt.Sprintf(`{"metadata":{"name":"flood-%d-%d"}}`, i, n%4))
				} else {
					f.send(ctx, "GET", "/api/v1/configmaps", "")
				}
			}
		})
	}
}

func (f *flood) send(ctx context.Context, method, path, body string) {
	began := time.Now()
	code, header, _ := f.do(ctx, method, path, body)
	switch {
	case code == http.StatusTooManyRequests:
		f.rejected.Add(1)
		if header.Get("Retry-After") == "" {
			f.unannounced.Add(1)
		}
	case code == http.StatusOK:
		f.lists.add(time.Since(began))
	}
}

// caller sends requests as one user.
type caller struct {
	host   string
	client *http.Client
}

func user(t *testing.T, server *yaretest.Server, name string, groups ...string) *caller {
	t.Helper()
	config, err := server.AddUser(name, groups...)
	if err != nil {
		t.Fatal(err)
	}
	return newCaller(t, config)
}

func newCaller(t *testing.T, config *rest.Config) *caller {
	t.Helper()
	trust, err := rest.TLSConfigFor(config)
	if err != nil {
		t.Fatal(err)
	}
	// HTTP/1.1: a connection for each request at a time, as many as there are.
	transport := &http.Transport{TLSClientConfig: trust, MaxIdleConnsPerHost: 20 * seats}
	t.Cleanup(transport.CloseIdleConnections)
	return &caller{strings.TrimSuffix(config.Host, "/"), &http.Client{Transport: transport}}
}

// do returns code 0 when there is no answer, as when ctx ended.
func (c *caller) do(ctx context.Context, method, path, body string) (int, http.Header, []byte) {
	r, err := http.NewRequestWithContext(ctx, method, c.host+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, []byte(err.Error())
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := c.client.Do(r)
	if err != nil {
		return 0, nil, []byte(err.Error())
	}
	defer func() { _ = response.Body.Close() }()
	if method == "GET" && strings.HasSuffix(path, "/configmaps") {
		_, err := io.Copy(io.Discard, response.Body)
		if err != nil {
			return 0, nil, []byte(err.Error())
		}
		return response.StatusCode, response.Header, nil
	}
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, nil, []byte(err.Error())
	}
	return response.StatusCode, response.Header, content
}

func (c *caller) must(t *testing.T, method, path, body string) string {
	t.Helper()
	code, _, content := c.do(t.Context(), method, path, body)
	if code >= 300 || code == 0 {
		t.Fatalf("%s %s: %d %s", method, path, code, content)
	}
	return string(content)
}

// fill makes the objects that the flood lists.
func fill(t *testing.T, admin *caller) {
	t.Helper()
	data, err := json.Marshal(strings.Repeat("x", 100))
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	var failed atomic.Int64
	for worker := range 16 {
		group.Go(func() {
			for i := worker; i < objects; i += 16 {
				code, _, _ := admin.do(t.Context(), "POST", "/api/v1/namespaces/default/configmaps", fmt.Sprintf(`{"metadata":{"name":"a-%d"},"data":{"a":%s}}`, i, data))
				if code != http.StatusCreated {
					failed.Add(1)
				}
			}
		})
	}
	group.Wait()
	if n := failed.Load(); n > 0 {
		t.Fatalf("%d of %d objects were not created", n, objects)
	}
}

func lease(name string) string {
	return fmt.Sprintf(`{"metadata":{"name":%q},"spec":{"holderIdentity":%q,"leaseDurationSeconds":40}}`, name, name)
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !condition(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain for the flood")
		}
	}
}

// times collects durations from many goroutines.
type times struct {
	mu  sync.Mutex
	all []time.Duration
}

func (s *times) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, d)
}

func (s *times) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

func (s *times) median() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.all)
	return s.all[len(s.all)/2]
}
