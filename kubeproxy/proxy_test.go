package kubeproxy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/kubeproxy/model"
)

// recorder is a backend that keeps the rules and counts how they came.
type recorder struct {
	mu      sync.Mutex
	rules   map[model.Key]model.Rule
	around  model.Surroundings
	resets  int
	applies int
	fail    error
}

func (r *recorder) Reset(_ context.Context, rules []model.Rule, around model.Surroundings) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resets++
	r.rules, r.around = map[model.Key]model.Rule{}, around
	for _, rule := range rules {
		r.rules[rule.Key] = rule
	}
	return nil
}

func (r *recorder) Apply(_ context.Context, changes []model.Change, around model.Surroundings) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.applies++
	if err := r.fail; err != nil {
		r.fail = nil
		return err
	}
	r.around = around
	for _, change := range changes {
		delete(r.rules, change.Key())
		if change.New != nil {
			r.rules[change.Key()] = *change.New
		}
	}
	return nil
}

func (r *recorder) endpoints() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	total := 0
	for _, rule := range r.rules {
		total += len(rule.ClusterEndpoints)
	}
	return total
}

func (r *recorder) state() (rules, resets int, addrs []netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.rules), r.resets, r.around.NodeAddrs
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never happened: %s", what)
		}
	}
}

func start(t *testing.T, client *fake.Clientset, r *recorder) *Proxy {
	t.Helper()
	p, err := New(Config{Client: client, NodeName: "here", Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), backend: r})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("run: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("proxy did not stop")
		}
	})
	return p
}

func newNode() *v1.Node {
	return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "here"}, Status: v1.NodeStatus{Addresses: []v1.NodeAddress{
		{Type: v1.NodeHostName, Address: "here"}, {Type: v1.NodeInternalIP, Address: "192.168.0.1"}}}}
}

func newService(name string) *v1.Service {
	return &v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: v1.ServiceSpec{ClusterIP: "10.96.0.1", ClusterIPs: []string{"10.96.0.1"}, Ports: []v1.ServicePort{{Port: 80}}}}
}

func newSlice(service string, addresses ...string) *discoveryv1.EndpointSlice {
	port := int32(8080)
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: service + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Port: &port}}}
	for _, address := range addresses {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}})
	}
	return slice
}

func TestFollowsTheAPI(t *testing.T) {
	client, r := fake.NewClientset(newNode(), newService("web"), newSlice("web", "10.0.0.1")), &recorder{}
	start(t, client, r)
	eventually(t, "first rules", func() bool { rules, _, _ := r.state(); return rules == 1 && r.endpoints() == 1 })
	eventually(t, "node addresses", func() bool {
		_, _, addrs := r.state()
		return len(addrs) == 1 && addrs[0] == netip.MustParseAddr("192.168.0.1")
	})
	if _, err := client.DiscoveryV1().EndpointSlices("default").Update(t.Context(), newSlice("web", "10.0.0.1", "10.0.0.2"), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a second endpoint", func() bool { return r.endpoints() == 2 })
	if err := client.CoreV1().Services("default").Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no rules", func() bool { rules, _, _ := r.state(); return rules == 0 })
	if _, resets, _ := r.state(); resets != 1 {
		t.Errorf("everything was written %d times, want once", resets)
	}
}

func TestKnowsTheNetworksOfServices(t *testing.T) {
	cidr := func(name string, cidrs ...string) *networkingv1.ServiceCIDR {
		return &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: cidrs}}
	}
	client, r := fake.NewClientset(newNode(), cidr("kubernetes", "10.96.0.0/12", "fd00:96::/108")), &recorder{}
	start(t, client, r)
	want := func(what string, networks ...netip.Prefix) {
		t.Helper()
		eventually(t, what, func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return slices.Equal(r.around.ServiceNetworks, networks)
		})
	}
	first, second := netip.MustParsePrefix("10.96.0.0/12"), netip.MustParsePrefix("fd00:96::/108")
	want("the first networks", first, second)
	if _, err := client.NetworkingV1().ServiceCIDRs().Create(t.Context(), cidr("more", "10.95.0.0/16", "10.96.0.0/12"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	want("a network more", netip.MustParsePrefix("10.95.0.0/16"), first, second)
	if err := client.NetworkingV1().ServiceCIDRs().Delete(t.Context(), "more", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	want("a network less", first, second)
}

func TestStartsOverAfterAnError(t *testing.T) {
	client, r := fake.NewClientset(newNode()), &recorder{}
	start(t, client, r)
	eventually(t, "started", func() bool { _, resets, _ := r.state(); return resets == 1 })
	r.mu.Lock()
	r.fail = errors.New("no such chain")
	r.mu.Unlock()
	if _, err := client.CoreV1().Services("default").Create(t.Context(), newService("web"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "everything written anew", func() bool { rules, resets, _ := r.state(); return resets == 2 && rules == 1 })
}

func TestHealth(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1000, 0))
	h := newHealth(clock, time.Minute)
	p := &Proxy{health: h}
	check := func(what, path string, want int) {
		t.Helper()
		w := httptest.NewRecorder()
		p.Health().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		var answer struct{ NodeEligible *bool }
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.NodeEligible == nil {
			t.Errorf("%s: answer %q: %v", what, w.Body, err)
		}
		if w.Code != want {
			t.Errorf("%s: %s is %d, want %d", what, path, w.Code, want)
		}
	}
	check("before the first synchronization", "/healthz", 503)
	h.synced(clock.Now())
	check("synchronized", "/healthz", 200)
	h.pending()
	clock.SetTime(clock.Now().Add(time.Minute))
	check("a change waits", "/healthz", 200)
	clock.SetTime(clock.Now().Add(2 * time.Minute))
	check("a change waits too long", "/healthz", 503)
	check("a change waits too long", "/livez", 503)
	h.synced(clock.Now())
	h.setEligible(false)
	check("the node goes away", "/healthz", 503)
	check("the node goes away", "/livez", 200)
}
