package podnetwork

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

var clusterCIDR = netip.MustParsePrefix("10.244.0.0/16")

const pluginDir = "/usr/lib/cni"

func needRootAndPlugins(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to make network namespaces")
	}
	if _, err := os.Stat(filepath.Join(pluginDir, "bridge")); err != nil {
		t.Skip("needs the CNI plugins in " + pluginDir)
	}
	if _, err := os.Stat(filepath.Join(sysctls, "bridge")); err != nil {
		t.Skip("needs the kernel module br_netfilter")
	}
}

func newNamespace(t *testing.T) netns.NsHandle {
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
	within(t, ns, func() error { return ip("link", "set", "lo", "up") })
	return ns
}

// within runs f on a thread that is in the namespace.
func within(t *testing.T, ns netns.NsHandle, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := netns.Set(ns); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// machine is a node in a namespace of its own.
type machine struct {
	ns      netns.NsHandle
	network *network
	node    *v1.Node
}

// newMachines makes nodes 192.168.50.1, .2, … on one switch, which is a
// namespace too, with an outside machine 192.168.60.2 behind its router.
func newMachines(t *testing.T, count int) (machines []*machine, outside netns.NsHandle) {
	t.Helper()
	lan := newNamespace(t)
	outside = newNamespace(t)
	within(t, lan, func() error {
		return errors.Join(ip("link", "add", "br0", "type", "bridge"), ip("addr", "add", "192.168.50.254/24", "dev", "br0"), ip("link", "set", "br0", "up"),
			os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644),
			os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("0"), 0o644))
	})
	plug(t, lan, outside, "out", "192.168.60.2/24", "192.168.60.1")
	within(t, lan, func() error { return ip("addr", "add", "192.168.60.1/24", "dev", "out") })
	for i := range count {
		address := fmt.Sprintf("192.168.50.%d", i+1)
		m := &machine{ns: newNamespace(t), node: newNode(fmt.Sprintf("node-%d", i), address, fmt.Sprintf("10.244.%d.0/24", i))}
		port := fmt.Sprintf("port%d", i)
		plug(t, lan, m.ns, port, address+"/24", "192.168.50.254")
		within(t, lan, func() error { return ip("link", "set", port, "master", "br0") })
		dir := t.TempDir()
		m.network = newNetwork(&Config{BridgeName: "yare0", CNIConfDir: filepath.Join(dir, "net.d"), IPAMDir: filepath.Join(dir, "ipam"), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		machines = append(machines, m)
	}
	return machines, outside
}

func plug(t *testing.T, lan, ns netns.NsHandle, port, address, gateway string) {
	t.Helper()
	within(t, lan, func() error {
		if err := ip("link", "add", port, "type", "veth", "peer", "name", "peer"); err != nil {
			return err
		}
		peer, err := netlink.LinkByName("peer")
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetNsFd(peer, int(ns)), ip("link", "set", port, "up"))
	})
	within(t, ns, func() error {
		return errors.Join(ip("link", "set", "peer", "name", "eth0"), ip("addr", "add", address, "dev", "eth0"), ip("link", "set", "eth0", "up"),
			ip("route", "add", "default", "via", gateway))
	})
}

// apply makes every machine as a cluster of these machines needs it.
func apply(t *testing.T, machines ...*machine) {
	t.Helper()
	var nodes []*v1.Node
	for _, m := range machines {
		nodes = append(nodes, m.node)
	}
	for _, m := range machines {
		plan := NewPlan(nodes, m.node.Name, []netip.Prefix{clusterCIDR})
		within(t, m.ns, func() error { return m.network.apply(context.Background(), plan) })
	}
}

// startPod joins a new namespace to the network as a runtime does, and serves
// on port 8080 of it what address the client has.
func (m *machine) startPod(t *testing.T, id string) (netns.NsHandle, string) {
	t.Helper()
	list, err := libcni.ConfListFromFile(filepath.Join(m.network.confDir, confFile))
	if err != nil {
		t.Fatal(err)
	}
	pod := newNamespace(t)
	plugins := libcni.NewCNIConfigWithCacheDir([]string{pluginDir}, t.TempDir(), nil)
	conf := &libcni.RuntimeConf{ContainerID: id, NetNS: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), pod), IfName: "eth0"}
	var result types.Result
	within(t, m.ns, func() error {
		result, err = plugins.AddNetworkList(context.Background(), list, conf)
		return err
	})
	got, err := types100.NewResultFromResult(result)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, pod)
	return pod, got.IPs[0].Address.IP.String()
}

func serve(t *testing.T, ns netns.NsHandle) {
	t.Helper()
	var listener net.Listener
	within(t, ns, func() (err error) {
		listener, err = net.Listen("tcp4", ":8080")
		return err
	})
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
			_, _ = io.WriteString(conn, host)
			conn.Close()
		}
	}()
}

// seenAs connects and returns the source address that the other side saw.
func seenAs(t *testing.T, from netns.NsHandle, address string) (source string, err error) {
	t.Helper()
	within(t, from, func() error {
		var conn net.Conn
		if conn, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(context.Background(), "tcp4", address); err != nil {
			return nil
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		out, readErr := io.ReadAll(conn)
		source, err = string(out), readErr
		return nil
	})
	return source, err
}

func TestPodsOfTwoNodesReachEachOther(t *testing.T) {
	needRootAndPlugins(t)
	machines, outside := newMachines(t, 2)
	serve(t, outside)
	apply(t, machines...)
	podA, addrA := machines[0].startPod(t, "a")
	podA2, addrA2 := machines[0].startPod(t, "a2")
	podB, addrB := machines[1].startPod(t, "b")
	for _, tc := range []struct {
		name     string
		from     netns.NsHandle
		to, want string
	}{
		{"same node", podA, addrA2, addrA},
		{"and back", podA2, addrA, addrA2},
		{"other node", podA, addrB, addrA},
		{"and back", podB, addrA, addrB},
		{"host to its pod", machines[0].ns, addrA, "10.244.0.1"},
		{"host to a pod elsewhere", machines[0].ns, addrB, "192.168.50.1"},
		{"out of the cluster", podA, "192.168.60.2", "192.168.50.1"},
	} {
		got, err := seenAs(t, tc.from, tc.to+":8080")
		if err != nil || got != tc.want {
			t.Errorf("%s: seen as %q, want %q: %v", tc.name, got, tc.want, err)
		}
	}
}

func TestForeignRoutesAreLeftAloneAndOursFollowTheNodes(t *testing.T) {
	needRootAndPlugins(t)
	machines, _ := newMachines(t, 1)
	m := machines[0]
	within(t, m.ns, func() error { return ip("route", "add", "10.99.0.0/24", "via", "192.168.50.254") })
	set := func(routes ...Route) string {
		t.Helper()
		within(t, m.ns, func() error { return m.network.setRoutes(routes) })
		var out []byte
		within(t, m.ns, func() (err error) {
			out, err = exec.Command("sh", "-c", "ip route show proto 89; ip route show 10.99.0.0/24").Output()
			return err
		})
		return strings.Join(strings.Fields(strings.ReplaceAll(string(out), "dev eth0", "")), " ")
	}
	to1, to2 := netip.MustParsePrefix("10.244.1.0/24"), netip.MustParsePrefix("10.244.2.0/24")
	via8, via9 := netip.MustParseAddr("192.168.50.8"), netip.MustParseAddr("192.168.50.9")
	const foreign = " 10.99.0.0/24 via 192.168.50.254"
	for _, tc := range []struct {
		routes []Route
		want   string
	}{
		{[]Route{{to1, via8}, {to2, via9}}, "10.244.1.0/24 via 192.168.50.8 10.244.2.0/24 via 192.168.50.9" + foreign},
		{[]Route{{to1, via9}}, "10.244.1.0/24 via 192.168.50.9" + foreign},
		{nil, strings.TrimSpace(foreign)},
	} {
		if got := set(tc.routes...); got != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
	}
}

func TestForwardPolicyThatDropsIsOpenedForPods(t *testing.T) {
	needRootAndPlugins(t)
	if _, err := exec.LookPath("iptables"); err != nil {
		t.Skip("needs iptables")
	}
	machines, _ := newMachines(t, 2)
	for _, m := range machines {
		within(t, m.ns, func() error { return exec.Command("iptables", "-w", "-P", "FORWARD", "DROP").Run() })
	}
	apply(t, machines...)
	apply(t, machines...)
	podA, _ := machines[0].startPod(t, "a")
	_, addrB := machines[1].startPod(t, "b")
	if _, err := seenAs(t, podA, addrB+":8080"); err != nil {
		t.Error(err)
	}
	within(t, machines[0].ns, func() error {
		rules, err := listForward(t.Context(), "iptables")
		if got := strings.Count(rules, "-A FORWARD"); got != 2 {
			t.Errorf("%d rules after applying twice:\n%s", got, rules)
		}
		return err
	})
}

func TestCleanupLeavesNothing(t *testing.T) {
	needRootAndPlugins(t)
	machines, _ := newMachines(t, 2)
	m := machines[0]
	within(t, m.ns, func() error { return exec.Command("iptables", "-w", "-P", "FORWARD", "DROP").Run() })
	apply(t, machines...)
	m.startPod(t, "a")
	within(t, m.ns, func() error { return m.network.remove(context.Background()) })
	within(t, m.ns, func() error { return m.network.remove(context.Background()) })
	within(t, m.ns, func() error {
		out, err := exec.Command("sh", "-c", "nft list tables | grep yare; ip route show proto 89; ip -o link show yare0 2>/dev/null; iptables -S FORWARD | grep yare0; true").CombinedOutput()
		if len(out) > 0 {
			t.Errorf("left behind:\n%s", out)
		}
		return err
	})
	for _, dir := range []string{m.network.confDir, m.network.ipamDir} {
		if left, err := os.ReadDir(dir); err == nil && len(left) > 0 {
			t.Errorf("left in %s: %v", dir, left)
		}
	}
}

func TestConflistIsReplacedOnlyWhenItChanges(t *testing.T) {
	n := newNetwork(&Config{BridgeName: "yare0", CNIConfDir: filepath.Join(t.TempDir(), "net.d"), IPAMDir: "/ipam", Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	path := filepath.Join(n.confDir, confFile)
	write := func(cidr string) os.FileInfo {
		t.Helper()
		if err := n.writeConflist([]netip.Prefix{netip.MustParsePrefix(cidr)}); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	first := write("10.244.0.0/24")
	if again := write("10.244.0.0/24"); !os.SameFile(first, again) {
		t.Error("written again though nothing changed")
	}
	if changed := write("10.244.1.0/24"); os.SameFile(first, changed) {
		t.Error("changed in place; a runtime could read half of it")
	}
	list, err := libcni.ConfListFromFile(path)
	if err != nil || len(list.Plugins) != 2 {
		t.Errorf("%v: %v", list, err)
	}
	if entries, _ := os.ReadDir(n.confDir); len(entries) != 1 {
		t.Errorf("files: %v", entries)
	}
}

func TestAgentFollowsTheNodes(t *testing.T) {
	needRootAndPlugins(t)
	machines, _ := newMachines(t, 1)
	m := machines[0]
	waiting := m.node.DeepCopy()
	waiting.Spec.PodCIDRs = nil
	client := fake.NewClientset(waiting)
	a, err := New(Config{Client: client, NodeName: m.node.Name, ClusterCIDRs: []netip.Prefix{clusterCIDR}, CNIConfDir: m.network.confDir, Logger: m.network.log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		within(t, m.ns, func() error { return a.Run(ctx) })
	}()
	defer func() {
		cancel()
		<-ended
	}()
	if _, err := client.CoreV1().Nodes().Update(t.Context(), m.node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "CNI configuration", func() bool { _, err := os.Stat(filepath.Join(m.network.confDir, confFile)); return err == nil })
	other := newNode("other", "192.168.50.9", "10.244.9.0/24")
	if _, err := client.CoreV1().Nodes().Create(t.Context(), other, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	routes := func() (count int) {
		within(t, m.ns, func() error {
			found, err := ourRoutes()
			count = len(found)
			return err
		})
		return count
	}
	eventually(t, "a route to the new node", func() bool { return routes() == 1 })
	if err := client.CoreV1().Nodes().Delete(t.Context(), "other", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no route", func() bool { return routes() == 0 })
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never happened: %s", what)
		}
	}
}

func TestReportsTheNetworkAvailable(t *testing.T) {
	node := newNode("a", "192.168.0.1", "10.244.0.0/24")
	node.Status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}, {Type: v1.NodeNetworkUnavailable, Status: v1.ConditionTrue}}
	client := fake.NewClientset(node)
	a, err := New(Config{Client: client, NodeName: "a", CNIConfDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	a.informers.Start(t.Context().Done())
	a.informers.WaitForCacheSync(t.Context().Done())
	if err := a.reportAvailable(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := client.CoreV1().Nodes().Get(t.Context(), "a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range got.Status.Conditions {
		if c.Type == v1.NodeNetworkUnavailable && c.Status == v1.ConditionFalse && len(got.Status.Conditions) == 2 {
			return
		}
	}
	t.Errorf("conditions %+v", got.Status.Conditions)
}
