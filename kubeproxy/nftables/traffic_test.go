package nftables

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	v1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/kubeproxy/conntrack"
	"github.com/yare-io/yare/kubeproxy/model"
)

func TestClusterIPReachesEveryEndpoint(t *testing.T) {
	p := newProxy(newWorld(t, 3))
	p.set(service("web", "10.96.0.10", p.serve(0), p.serve(1), p.serve(2)))
	if got := p.answers(p.node, "10.96.0.10:80", 60); len(got) != 3 {
		t.Errorf("from the host: %v", got)
	}
	if got := p.answers(p.pods[0], "10.96.0.10:80", 60); len(got) != 3 {
		t.Errorf("from a pod, which is also an endpoint: %v", got)
	}
}

// A connection that is tried before its service exists must leave nothing
// behind that keeps the next one from the same port from the service.
func TestServiceAnswersWhoeverTriedBeforeItWasThere(t *testing.T) {
	p := newProxy(newWorld(t, 1))
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{Port: 40123}, Timeout: 300 * time.Millisecond}
	dial := func() (conn net.Conn, err error) {
		within(t, p.node, func() { conn, err = dialer.Dial("tcp", "10.96.0.10:80") })
		return conn, err
	}
	if conn, err := dial(); err == nil {
		conn.Close()
		t.Fatal("something answers at an address that no service has")
	}
	p.set(service("web", "10.96.0.10", p.serve(0)))
	dialer.Timeout = 10 * time.Second
	conn, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestSourceAddressIsKeptInsideTheClusterOnly(t *testing.T) {
	p := newProxy(newWorld(t, 2))
	p.set(service("web", "10.96.0.10", p.serve(0)))
	for _, tc := range []struct {
		name string
		from int
		want string
	}{{"another pod", 1, "10.244.0.3"}, {"the endpoint itself", 0, "10.244.0.1"}} {
		if _, source, err := p.ask(p.pods[tc.from], "10.96.0.10:80"); err != nil || source != tc.want {
			t.Errorf("from %s: source %s, %v; want %s", tc.name, source, err, tc.want)
		}
	}
	if _, source, err := p.ask(p.client, "10.96.0.10:80"); err != nil || source != "10.244.0.1" {
		t.Errorf("from outside: source %s, %v; want the node", source, err)
	}
}

func TestNodePortAnswersOnTheNodesAddress(t *testing.T) {
	p := newProxy(newWorld(t, 2))
	rule := service("web", "10.96.0.10", p.serve(0), p.serve(1))
	rule.NodePort = 30080
	p.set(rule)
	for name, from := range map[string]netns.NsHandle{"outside": p.client, "host": p.node, "pod": p.pods[0]} {
		if got := p.answers(from, "192.168.77.1:30080", 40); len(got) != 2 {
			t.Errorf("from %s: %v", name, got)
		}
	}
}

func TestExternalAndLoadBalancerIPs(t *testing.T) {
	p := newProxy(newWorld(t, 1))
	rule := service("web", "10.96.0.10", p.serve(0))
	rule.ExternalIPs = []netip.Addr{netip.MustParseAddr("192.168.88.1")}
	rule.LoadBalancerIPs = []netip.Addr{netip.MustParseAddr("192.168.88.2")}
	p.set(rule)
	for _, address := range []string{"192.168.88.1:80", "192.168.88.2:80"} {
		if _, _, err := p.ask(p.client, address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	rule.Sources = []netip.Prefix{netip.MustParsePrefix("172.16.0.0/12")}
	p.set(rule)
	if _, _, err := p.ask(p.client, "192.168.88.2:80"); !timedOut(err) {
		t.Errorf("from a source that is not allowed: %v", err)
	}
	if _, _, err := p.ask(p.client, "192.168.88.1:80"); err != nil {
		t.Errorf("external IPs have no source ranges, but: %v", err)
	}
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestAffinityKeepsAClientOnItsEndpoint(t *testing.T) {
	p := newProxy(newWorld(t, 4))
	rule := service("web", "10.96.0.10", p.serve(0), p.serve(1), p.serve(2))
	rule.AffinitySeconds = 60
	p.set(rule)
	if got := p.answers(p.pods[3], "10.96.0.10:80", 30); len(got) != 1 {
		t.Errorf("one client was answered by %v", got)
	}
	rule.AffinitySeconds = 120
	p.set(rule)
	if got := p.answers(p.pods[3], "10.96.0.10:80", 30); len(got) != 1 {
		t.Errorf("after a change of the time, one client was answered by %v", got)
	}
	rule.AffinitySeconds = 0
	p.set(rule)
	if got := p.answers(p.pods[3], "10.96.0.10:80", 60); len(got) != 3 {
		t.Errorf("without affinity: %v", got)
	}
}

func TestServiceWithoutEndpointsRefusesAtOnce(t *testing.T) {
	p := newProxy(newWorld(t, 1))
	rule := service("web", "10.96.0.10")
	rule.NodePort = 30080
	p.set(rule)
	for name, try := range map[string]func() error{
		"cluster IP from the host": func() error { _, _, err := p.ask(p.node, "10.96.0.10:80"); return err },
		"cluster IP from a pod":    func() error { _, _, err := p.ask(p.pods[0], "10.96.0.10:80"); return err },
		"node port from outside":   func() error { _, _, err := p.ask(p.client, "192.168.77.1:30080"); return err },
		"node port from the host":  func() error { _, _, err := p.ask(p.node, "192.168.77.1:30080"); return err },
		"unused port from a pod":   func() error { _, _, err := p.ask(p.pods[0], "10.96.0.10:81"); return err },
	} {
		if err := try(); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v, want connection refused", name, err)
		}
	}
	rule.ClusterEndpoints, rule.HasEndpoints = []netip.AddrPort{p.serve(0)}, true
	p.set(rule)
	if got := p.answers(p.node, "10.96.0.10:80", 3); got["0"] != 3 {
		t.Errorf("after an endpoint came: %v", got)
	}
}

func TestTrafficMovesWhenAnEndpointGoes(t *testing.T) {
	p := newProxy(newWorld(t, 3))
	all := []netip.AddrPort{p.serve(0), p.serve(1), p.serve(2)}
	p.set(service("web", "10.96.0.10", all...))
	p.set(service("web", "10.96.0.10", all[1:]...))
	if got := p.answers(p.node, "10.96.0.10:80", 60); got["0"] > 0 || len(got) != 2 {
		t.Errorf("after the first endpoint went: %v", got)
	}
	p.set(service("web", "10.96.0.10", all[0]))
	if got := p.answers(p.node, "10.96.0.10:80", 10); got["0"] != 10 {
		t.Errorf("after only the first is there: %v", got)
	}
}

func TestExternalLocalKeepsTheSourceAndDropsWithoutLocalEndpoints(t *testing.T) {
	p := newProxy(newWorld(t, 2))
	local, remote := p.serve(0), p.serve(1)
	rule := service("web", "10.96.0.10", local, remote)
	rule.NodePort, rule.ExternalLocal, rule.LocalEndpoints = 30080, true, []netip.AddrPort{local}
	p.set(rule)
	for range 20 {
		if pod, source, err := p.ask(p.client, "192.168.77.1:30080"); err != nil || pod != "0" || source != "192.168.77.2" {
			t.Fatalf("from outside: pod %s saw %s, %v", pod, source, err)
		}
	}
	if got := p.answers(p.pods[0], "192.168.77.1:30080", 60); len(got) != 2 {
		t.Errorf("from a pod, traffic stays in the cluster: %v", got)
	}
	if got := p.answers(p.node, "192.168.77.1:30080", 60); len(got) != 2 {
		t.Errorf("from the host, traffic stays in the cluster: %v", got)
	}
	rule.LocalEndpoints = nil
	p.set(rule)
	if _, _, err := p.ask(p.client, "192.168.77.1:30080"); !timedOut(err) {
		t.Errorf("without local endpoints: %v, want silence", err)
	}
	if got := p.answers(p.node, "192.168.77.1:30080", 60); len(got) != 2 {
		t.Errorf("from the host, without local endpoints: %v", got)
	}
}

func TestInternalLocalUsesLocalEndpointsOnly(t *testing.T) {
	p := newProxy(newWorld(t, 2))
	local, remote := p.serve(0), p.serve(1)
	rule := service("web", "10.96.0.10", local, remote)
	rule.InternalLocal, rule.LocalEndpoints = true, []netip.AddrPort{local}
	p.set(rule)
	if got := p.answers(p.node, "10.96.0.10:80", 30); got["0"] != 30 {
		t.Errorf("%v", got)
	}
}

func TestUDP(t *testing.T) {
	p := newProxy(newWorld(t, 1))
	rule := service("dns", "10.96.0.10", p.serve(0))
	rule.Protocol = v1.ProtocolUDP
	p.set(rule)
	within(t, p.node, func() {
		conn, err := net.Dial("udp4", "10.96.0.10:80")
		must(t, err)
		defer conn.Close()
		_, err = conn.Write([]byte("?"))
		must(t, err)
		buffer := make([]byte, 10)
		n, err := conn.Read(buffer)
		must(t, err)
		if string(buffer[:n]) != "0\n" {
			t.Errorf("answer %q", buffer[:n])
		}
	})
}

func TestSecondOwnerOfAnAddressWaitsForTheFirst(t *testing.T) {
	p := newProxy(newWorld(t, 2))
	shared := []netip.Addr{netip.MustParseAddr("192.168.88.1")}
	a, b := service("a", "10.96.0.10", p.serve(0)), service("b", "10.96.0.11", p.serve(1))
	a.ExternalIPs, b.ExternalIPs = shared, shared
	p.set(b)
	p.set(a)
	if got := p.answers(p.client, "192.168.88.1:80", 5); got["0"] != 5 {
		t.Errorf("with both: %v", got)
	}
	p.remove(a.Key)
	if got := p.answers(p.client, "192.168.88.1:80", 5); got["1"] != 5 {
		t.Errorf("after the first went: %v", got)
	}
}

// Handles of rules and chains are given by the kernel in order of creation: what
// keeps its handle was not touched.
func TestChangeOfOneServiceTouchesNoOther(t *testing.T) {
	p := newProxy(newWorld(t, 0))
	a, b := netip.MustParseAddrPort("10.244.0.2:8080"), netip.MustParseAddrPort("10.244.0.3:8080")
	p.set(service("one", "10.96.0.10", a, b))
	p.set(service("two", "10.96.0.11", a, b))
	before := p.handlesOf("two")
	if len(before) < 6 {
		t.Fatalf("expected chains and rules of service two, found %v", before)
	}
	p.set(service("one", "10.96.0.10", a))
	p.remove(service("one", "10.96.0.10").Key)
	if after := p.handlesOf("two"); !slices.Equal(before, after) {
		t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	if left := p.handlesOf("one"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

var handleLine = regexp.MustCompile(`# handle \d+`)

// handlesOf lists the lines with handles in the chains of a service.
func (p *proxy) handlesOf(name string) []string {
	var out []string
	inChain := false
	for _, line := range strings.Split(p.ruleset("-a"), "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "chain ") {
			inChain = strings.Contains(line, "default/"+name+"/")
		}
		if inChain && handleLine.MatchString(line) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

func TestResetReplacesWhateverIsThere(t *testing.T) {
	p := newProxy(newWorld(t, 1))
	p.set(service("old", "10.96.0.10", netip.MustParseAddrPort("10.244.0.9:1")))
	rules := []model.Rule{service("new", "10.96.0.11", p.serve(0))}
	within(t, p.node, func() { must(t, p.backend.Reset(context.Background(), rules, model.Surroundings{})) })
	if set := p.ruleset(); strings.Contains(set, "default/old") || !strings.Contains(set, "default/new") {
		t.Errorf("after reset:\n%s", set)
	}
	if got := p.answers(p.node, "10.96.0.11:80", 3); got["0"] != 3 {
		t.Errorf("%v", got)
	}
}

func TestCleanupLeavesNothing(t *testing.T) {
	p := newProxy(newWorld(t, 0), model.IPv4, model.IPv6)
	p.set(service("web", "10.96.0.10", netip.MustParseAddrPort("10.244.0.9:1")))
	p.set(service("web", "fd00::10", netip.MustParseAddrPort("[fd00:1::9]:1")))
	if set := p.ruleset(); !strings.Contains(set, "fd00:1::9") {
		t.Fatalf("no IPv6 endpoint in\n%s", set)
	}
	within(t, p.node, func() {
		must(t, Cleanup(context.Background()))
		must(t, Cleanup(context.Background()))
	})
	if set := p.ruleset(); set != "" {
		t.Errorf("left behind:\n%s", set)
	}
}

// A client that keeps sending from one port must reach the new endpoint once
// its flow to the old one is forgotten.
func TestUDPClientMovesToTheNewEndpoint(t *testing.T) {
	p := newProxy(newWorld(t, 3))
	before := service("dns", "10.96.0.10", p.serve(0))
	before.Protocol = v1.ProtocolUDP
	after := before
	after.ClusterEndpoints = []netip.AddrPort{p.serve(1)}
	p.set(before)
	var conn net.Conn
	within(t, p.pods[2], func() {
		var err error
		conn, err = net.Dial("udp4", "10.96.0.10:80")
		must(t, err)
	})
	defer conn.Close()
	if got := exchange(t, conn); got != "0\n" {
		t.Fatalf("answer %q", got)
	}
	p.set(after)
	within(t, p.node, func() {
		deleted, err := conntrack.Clean([]model.Change{{Old: &before, New: &after}}, around.NodeAddrs)
		must(t, err)
		if deleted != 1 {
			t.Errorf("%d flows deleted", deleted)
		}
	})
	if got := exchange(t, conn); got != "1\n" {
		t.Errorf("after the endpoint went, answer %q", got)
	}
}

func exchange(t *testing.T, conn net.Conn) string {
	t.Helper()
	buffer := make([]byte, 10)
	for range 5 {
		if _, err := conn.Write([]byte("?")); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		if n, err := conn.Read(buffer); err == nil {
			return string(buffer[:n])
		}
	}
	return "none"
}

// benchTable is a table with n services of three endpoints each.
func benchTable(b *testing.B, n int) (*proxy, func(i int) model.Rule) {
	rule := func(i int) model.Rule {
		var endpoints []netip.AddrPort
		for k := range 3 {
			endpoints = append(endpoints, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 244, byte(i / 80), byte(i%80*3 + k + 1)}), 8080))
		}
		return service(fmt.Sprintf("svc-%d", i), fmt.Sprintf("10.96.%d.%d", i/250, i%250+1), endpoints...)
	}
	p := newProxy(newWorld(b, 0))
	var rules []model.Rule
	for i := range n {
		rules = append(rules, rule(i))
	}
	within(b, p.node, func() { must(b, p.backend.Reset(context.Background(), rules, around)) })
	return p, rule
}

func BenchmarkChangeOneOf1000Services(b *testing.B) {
	p, rule := benchTable(b, 1000)
	within(b, p.node, func() {
		old := rule(500)
		for b.Loop() {
			next := old
			next.ClusterEndpoints = next.ClusterEndpoints[:2]
			if len(old.ClusterEndpoints) == 2 {
				next = rule(500)
			}
			must(b, p.backend.Apply(context.Background(), []model.Change{{Old: &old, New: &next}}, around))
			old = next
		}
	})
}

func BenchmarkReset1000Services(b *testing.B) {
	p, rule := benchTable(b, 0)
	var rules []model.Rule
	for i := range 1000 {
		rules = append(rules, rule(i))
	}
	within(b, p.node, func() {
		for b.Loop() {
			must(b, p.backend.Reset(context.Background(), rules, around))
		}
	})
}
