package nftables

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/yare-io/yare/kubeproxy/model"
)

// world is a node with pods and a client outside, each a network namespace of
// its own: pods 10.244.0.2.. on the node's bridge, the client 192.168.77.2
// next to the node's 192.168.77.1.
type world struct {
	t      testing.TB
	node   netns.NsHandle
	client netns.NsHandle
	pods   []netns.NsHandle
}

var (
	nodeIP   = netip.MustParseAddr("192.168.77.1")
	podRange = netip.MustParsePrefix("10.244.0.0/16")
)

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to make network namespaces and nftables rules")
	}
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("needs the nft program")
	}
}

func newNamespace(t testing.TB) netns.NsHandle {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	if err := netns.Set(home); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	within(t, ns, func() { must(t, run("ip", "link", "set", "lo", "up")) })
	return ns
}

// within runs f on a thread that is in the namespace; f must not start
// goroutines that use the network.
func within(t testing.TB, ns netns.NsHandle, f func()) {
	t.Helper()
	done := make(chan any, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		defer func() { done <- recover() }()
		if err := netns.Set(ns); err != nil {
			panic(err)
		}
		f()
	}()
	if failure := <-done; failure != nil {
		t.Fatalf("in namespace: %v", failure)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		panic(err)
	}
}

func run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

func newWorld(t testing.TB, pods int) *world {
	t.Helper()
	needRoot(t)
	w := &world{t: t, node: newNamespace(t), client: newNamespace(t)}
	within(t, w.node, func() {
		must(t, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644))
		must(t, run("ip", "link", "add", "br0", "type", "bridge"))
		must(t, run("ip", "addr", "add", "10.244.0.1/24", "dev", "br0"))
		must(t, run("ip", "link", "set", "br0", "up"))
	})
	w.connect(w.client, "uplink", "192.168.77.1/24", "192.168.77.2/24", "192.168.77.1")
	// Without a route, the kernel refuses cluster IPs before any rule sees them.
	within(t, w.node, func() { must(t, run("ip", "route", "add", "default", "via", "192.168.77.2")) })
	for i := range pods {
		pod := newNamespace(t)
		w.pods = append(w.pods, pod)
		name := fmt.Sprintf("pod%d", i)
		w.connect(pod, name, "", fmt.Sprintf("10.244.0.%d/24", i+2), "10.244.0.1")
		within(t, w.node, func() {
			must(t, run("ip", "link", "set", name, "master", "br0"))
			must(t, run("bridge", "link", "set", "dev", name, "hairpin", "on"))
		})
	}
	return w
}

// connect joins the namespace to the node by a veth pair.
func (w *world) connect(ns netns.NsHandle, name, nodeAddr, addr, gateway string) {
	within(w.t, w.node, func() {
		must(w.t, run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0tmp"))
		peer, err := netlink.LinkByName("eth0tmp")
		must(w.t, err)
		must(w.t, netlink.LinkSetNsFd(peer, int(ns)))
		if nodeAddr != "" {
			must(w.t, run("ip", "addr", "add", nodeAddr, "dev", name))
		}
		must(w.t, run("ip", "link", "set", name, "up"))
	})
	within(w.t, ns, func() {
		must(w.t, run("ip", "link", "set", "eth0tmp", "name", "eth0"))
		must(w.t, run("ip", "addr", "add", addr, "dev", "eth0"))
		must(w.t, run("ip", "link", "set", "eth0", "up"))
		must(w.t, run("ip", "route", "add", "default", "via", gateway))
	})
}

// serve answers on TCP and UDP port 8080 of the pod with its number and the
// address that the client seems to have.
func (w *world) serve(i int) netip.AddrPort {
	w.t.Helper()
	var listener net.Listener
	var packets net.PacketConn
	within(w.t, w.pods[i], func() {
		var err error
		listener, err = net.Listen("tcp4", ":8080")
		must(w.t, err)
		packets, err = net.ListenPacket("udp4", ":8080")
		must(w.t, err)
	})
	w.t.Cleanup(func() { listener.Close(); packets.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
			fmt.Fprintf(conn, "%d %s\n", i, host)
			conn.Close()
		}
	}()
	go func() {
		buffer := make([]byte, 100)
		for {
			_, from, err := packets.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = packets.WriteTo([]byte(fmt.Sprintf("%d\n", i)), from)
		}
	}()
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 244, 0, byte(i + 2)}), 8080)
}

// ask connects from the namespace and returns which pod answered and what it
// took the client for.
func (w *world) ask(from netns.NsHandle, address string) (pod, source string, err error) {
	within(w.t, from, func() {
		var conn net.Conn
		conn, err = (&net.Dialer{Timeout: 2 * time.Second}).DialContext(context.Background(), "tcp4", address)
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		var line string
		if line, err = bufio.NewReader(conn).ReadString('\n'); err == nil {
			_, err = fmt.Sscan(line, &pod, &source)
		}
	})
	return pod, source, err
}

// answers counts who answers over many tries.
func (w *world) answers(from netns.NsHandle, address string, tries int) map[string]int {
	w.t.Helper()
	counts := map[string]int{}
	for range tries {
		pod, _, err := w.ask(from, address)
		if err != nil {
			w.t.Fatalf("asking %s: %v", address, err)
		}
		counts[pod]++
	}
	return counts
}

// proxy is a backend that works in the node's namespace.
type proxy struct {
	*world
	backend *Backend
	rules   map[model.Key]model.Rule
}

// around is where the proxies of these tests are.
var around = model.Surroundings{NodeAddrs: []netip.Addr{nodeIP}, ServiceNetworks: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")}}

func newProxy(w *world, families ...model.Family) *proxy {
	w.t.Helper()
	p := &proxy{world: w, rules: map[model.Key]model.Rule{}}
	if len(families) == 0 {
		families = []model.Family{model.IPv4}
	}
	within(w.t, w.node, func() {
		var err error
		p.backend, err = New(Config{PodNetworks: []netip.Prefix{podRange}, Families: families})
		must(w.t, err)
		must(w.t, p.backend.Reset(context.Background(), nil, around))
	})
	return p
}

// set installs a rule in place of the one with its key.
func (p *proxy) set(rule model.Rule) {
	p.t.Helper()
	change := model.Change{New: &rule}
	if old, ok := p.rules[rule.Key]; ok {
		change.Old = &old
	}
	p.rules[rule.Key] = rule
	p.apply(change)
}

func (p *proxy) remove(key model.Key) {
	p.t.Helper()
	old := p.rules[key]
	delete(p.rules, key)
	p.apply(model.Change{Old: &old})
}

func (p *proxy) apply(changes ...model.Change) {
	p.t.Helper()
	within(p.t, p.node, func() {
		must(p.t, p.backend.Apply(context.Background(), changes, around))
	})
}

// ruleset is what nft prints for our tables.
func (p *proxy) ruleset(options ...string) string {
	var out []byte
	within(p.t, p.node, func() {
		var err error
		out, err = exec.Command("nft", append(options, "list", "ruleset")...).CombinedOutput()
		must(p.t, err)
	})
	return string(out)
}

func service(name, clusterIP string, endpoints ...netip.AddrPort) model.Rule {
	ip := netip.MustParseAddr(clusterIP)
	return model.Rule{
		Key:       model.Key{Service: types.NamespacedName{Namespace: "default", Name: name}, Protocol: v1.ProtocolTCP, Family: model.FamilyOf(ip)},
		ClusterIP: ip, Port: 80, ClusterEndpoints: endpoints, HasEndpoints: len(endpoints) > 0,
	}
}
