package allocation

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	testclock "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/memory"
)

func newStore(t *testing.T) storage.Store {
	t.Helper()
	store := memory.New(memory.Config{})
	t.Cleanup(func() { store.Close() })
	return store
}

func newServices(t *testing.T, store Store, network string) (*Services, *testclock.FakeClock) {
	t.Helper()
	now := testclock.NewFakeClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	s, err := New(Config{Store: store, Networks: []netip.Prefix{netip.MustParsePrefix(network)}, Clock: now})
	if err != nil {
		t.Fatal(err)
	}
	return s, now
}

func service(i int) types.NamespacedName {
	return types.NamespacedName{Namespace: "default", Name: fmt.Sprintf("s%d", i)}
}

// all runs n calls at once and returns what they got and how often they
// failed.
func all[T comparable](n int, call func(i int) (T, error)) (got []T, errs []error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			v, err := call(i)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			got = append(got, v)
		})
	}
	wg.Wait()
	return got, errs
}

func TestAddressesAreUniqueAcrossServers(t *testing.T) {
	store := newStore(t)
	a, _ := newServices(t, store, "10.96.0.0/16")
	b, _ := newServices(t, store, "10.96.0.0/16")
	got, errs := all(1000, func(i int) (string, error) {
		return []*Services{a, b}[i%2].Address(t.Context(), corev1.IPv4Protocol, service(i), "", false)
	})
	if len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
	if n := sets.New(got...).Len(); n != 1000 {
		t.Fatalf("%d different addresses for 1000 services", n)
	}
}

func TestFullRangeIsUsedUpExactly(t *testing.T) {
	s, _ := newServices(t, newStore(t), "10.96.0.0/24")
	got, errs := all(300, func(i int) (string, error) {
		return s.Address(t.Context(), corev1.IPv4Protocol, service(i), "", false)
	})
	if n := sets.New(got...).Len(); n != 254 || len(got) != 254 {
		t.Errorf("%d addresses, %d different, want 254", len(got), n)
	}
	for _, err := range errs {
		if !errors.Is(err, ErrFull) {
			t.Errorf("got %v, want %v", err, ErrFull)
		}
	}
	s.ReleaseAddress(t.Context(), types.NamespacedName{Namespace: "default", Name: "nobody"}, got[0])
	if _, err := s.Address(t.Context(), corev1.IPv4Protocol, service(999), "", false); !errors.Is(err, ErrFull) {
		t.Errorf("an address was released by a service that does not have it: %v", err)
	}
}

func TestReleasedAddressIsHandedOutAgain(t *testing.T) {
	s, _ := newServices(t, newStore(t), "10.96.0.0/30")
	ctx := t.Context()
	first, err := s.Address(ctx, corev1.IPv4Protocol, service(1), "", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Address(ctx, corev1.IPv4Protocol, service(2), "", false); err != nil {
		t.Fatal(err)
	}
	s.ReleaseAddress(ctx, service(1), first)
	again, err := s.Address(ctx, corev1.IPv4Protocol, service(3), "", false)
	if err != nil || again != first {
		t.Errorf("got %q (%v), want %q", again, err, first)
	}
}

func TestWantedAddresses(t *testing.T) {
	s, _ := newServices(t, newStore(t), "10.96.0.0/24")
	ctx := t.Context()
	api, err := s.Address(ctx, corev1.IPv4Protocol, types.NamespacedName{Namespace: "default", Name: "kubernetes"}, "", false)
	if err != nil || api != "10.96.0.1" {
		t.Errorf("the API's own service got %q (%v)", api, err)
	}
	for wanted, ok := range map[string]bool{
		"10.96.0.10": true, "10.96.0.1": false, "10.96.0.0": false, "10.96.0.255": false, "10.97.0.1": false, "x": false,
	} {
		_, err := s.Address(ctx, corev1.IPv4Protocol, service(1), wanted, false)
		if (err == nil) != ok {
			t.Errorf("%s: %v", wanted, err)
		}
	}
	if _, err := s.Address(ctx, corev1.IPv6Protocol, service(1), "", false); err == nil {
		t.Error("an address of a family the cluster does not have")
	}
}

func TestDryRunTakesNothing(t *testing.T) {
	store := newStore(t)
	s, _ := newServices(t, store, "10.96.0.0/24")
	ctx := t.Context()
	if _, err := s.Address(ctx, corev1.IPv4Protocol, service(1), "", true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Port(ctx, 30500, true); err != nil {
		t.Fatal(err)
	}
	list, err := store.List(ctx, storage.ListRequest{Prefix: "/"})
	if err != nil || len(list.KVs) != 0 {
		t.Errorf("a dry run wrote %d keys (%v)", len(list.KVs), err)
	}
}

func TestServerChoosesAboveWhatClientsChoose(t *testing.T) {
	s, _ := newServices(t, newStore(t), "10.96.0.0/24")
	for i := range 100 {
		text, err := s.Address(t.Context(), corev1.IPv4Protocol, service(i), "", false)
		if err != nil {
			t.Fatal(err)
		}
		if ip := netip.MustParseAddr(text); ip.Less(netip.MustParseAddr("10.96.0.17")) {
			t.Errorf("%v is from the lower band", ip)
		}
		port, err := s.Port(t.Context(), 0, false)
		if err != nil || port < 30086 {
			t.Errorf("port %d (%v) is from the lower band", port, err)
		}
	}
}

func TestReadyServiceCIDRExtendsTheRange(t *testing.T) {
	store := newStore(t)
	s, _ := newServices(t, store, "10.96.0.0/30")
	put := func(name, cidr string, ready metav1.ConditionStatus) {
		c := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{cidr}}}
		c.SetGroupVersionKind(networkingv1.SchemeGroupVersion.WithKind("ServiceCIDR"))
		c.Status.Conditions = []metav1.Condition{{Type: networkingv1.ServiceCIDRConditionReady, Status: ready}}
		value, err := encode(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Create(t.Context(), "/registry/servicecidrs/"+name, value, 0); err != nil {
			t.Fatal(err)
		}
	}
	put("late", "10.98.0.0/30", metav1.ConditionFalse)
	put("more", "10.97.0.0/30", metav1.ConditionTrue)
	got, errs := all(5, func(i int) (string, error) {
		return s.Address(t.Context(), corev1.IPv4Protocol, service(i), "", false)
	})
	want := sets.New("10.96.0.1", "10.96.0.2", "10.97.0.1", "10.97.0.2")
	if !sets.New(got...).Equal(want) || len(errs) != 1 {
		t.Errorf("got %v and %v, want %v and one error", got, errs, sets.List(want))
	}
}

func TestNodePortsAreUniqueAcrossServers(t *testing.T) {
	store := newStore(t)
	a, _ := newServices(t, store, "10.96.0.0/16")
	b, _ := newServices(t, store, "10.96.0.0/16")
	got, errs := all(1000, func(i int) (int32, error) {
		return []*Services{a, b}[i%2].Port(t.Context(), 0, false)
	})
	if len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
	if n := sets.New(got...).Len(); n != 1000 {
		t.Fatalf("%d different ports for 1000 calls", n)
	}
	if _, err := b.Port(t.Context(), got[0], false); !errors.Is(err, ErrPortAllocated) {
		t.Errorf("a taken port: %v", err)
	}
	a.ReleasePort(t.Context(), got[0])
	if _, err := b.Port(t.Context(), got[0], false); err != nil {
		t.Errorf("a released port: %v", err)
	}
	if _, err := b.Port(t.Context(), 29999, false); err == nil {
		t.Error("a port outside of the range")
	}
}

func TestPortsSurviveAnotherRange(t *testing.T) {
	store := newStore(t)
	a, _ := newServices(t, store, "10.96.0.0/16")
	if _, err := a.Port(t.Context(), 30100, false); err != nil {
		t.Fatal(err)
	}
	b, err := New(Config{Store: store, Networks: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16")}, Ports: PortRange{30090, 30200}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Port(t.Context(), 30100, false); !errors.Is(err, ErrPortAllocated) {
		t.Errorf("got %v, want %v", err, ErrPortAllocated)
	}
}

// round lets Run check once and stop.
func round(t *testing.T, s *Services) {
	t.Helper()
	r := &repairer{Services: s, seen: map[int32]int{}}
	for range leakRounds {
		if err := r.repair(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRepairGivesBackWhatADeadServerTook(t *testing.T) {
	store := newStore(t)
	s, now := newServices(t, store, "10.96.0.0/24")
	ctx := t.Context()
	lost, _ := s.Address(ctx, corev1.IPv4Protocol, service(1), "", false)
	port, _ := s.Port(ctx, 0, false)
	round(t, s)
	if _, err := s.Address(ctx, corev1.IPv4Protocol, service(2), lost, false); !errors.Is(err, ErrAllocated) {
		t.Errorf("a fresh lock was taken for lost: %v", err)
	}
	now.Step(leakAge)
	round(t, s)
	if _, err := s.Address(ctx, corev1.IPv4Protocol, service(2), lost, false); err != nil {
		t.Errorf("address was not given back: %v", err)
	}
	if _, err := s.Port(ctx, port, false); err != nil {
		t.Errorf("port was not given back: %v", err)
	}
}

func TestRepairLocksWhatServicesHave(t *testing.T) {
	store := newStore(t)
	s, now := newServices(t, store, "10.96.0.0/24")
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeNodePort, ClusterIP: "10.96.0.77", ClusterIPs: []string{"10.96.0.77"}, Ports: []corev1.ServicePort{{Port: 80, NodePort: 30777}},
	}}
	svc.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Service"))
	value, err := encode(svc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Create(t.Context(), "/registry/services/specs/default/web", value, 0); err != nil {
		t.Fatal(err)
	}
	round(t, s)
	now.Step(2 * leakAge)
	round(t, s)
	if _, err := s.Address(t.Context(), corev1.IPv4Protocol, service(2), "10.96.0.77", false); !errors.Is(err, ErrAllocated) {
		t.Errorf("address: %v", err)
	}
	if _, err := s.Port(t.Context(), 30777, false); !errors.Is(err, ErrPortAllocated) {
		t.Errorf("port: %v", err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	s, _ := newServices(t, newStore(t), "10.96.0.0/24")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("got %v", err)
	}
}

func TestBadConfigurationsAreRefused(t *testing.T) {
	store := newStore(t)
	good := netip.MustParsePrefix("10.96.0.0/16")
	for name, c := range map[string]Config{
		"no store":        {Networks: []netip.Prefix{good}},
		"no network":      {Store: store},
		"host bits":       {Store: store, Networks: []netip.Prefix{netip.MustParsePrefix("10.96.0.1/16")}},
		"same family":     {Store: store, Networks: []netip.Prefix{good, netip.MustParsePrefix("10.97.0.0/16")}},
		"too small":       {Store: store, Networks: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/32")}},
		"inverted ports":  {Store: store, Networks: []netip.Prefix{good}, Ports: PortRange{200, 100}},
		"ports too large": {Store: store, Networks: []netip.Prefix{good}, Ports: PortRange{200, 65536}},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
