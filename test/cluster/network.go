// Package cluster starts real clusters for tests: hosts that are network
// namespaces on one link, each with the yare binary, a containerd and a pod
// network of its own.
package cluster

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// LAN is a link that hosts are plugged into. It has a namespace of its own, so
// that nothing of it is seen outside.
type LAN struct {
	t      testing.TB
	name   string
	handle netns.NsHandle
	next   netip.Addr
}

var lanCount atomic.Int32

// NewLAN makes a link that goes away with the test. It skips the test without
// root.
func NewLAN(t testing.TB) *LAN {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	name := fmt.Sprintf("yare%d-%d", os.Getpid()%100000, lanCount.Add(1))
	lan := &LAN{t: t, name: name, next: netip.MustParseAddr("10.89.0.1")}
	lan.handle = newNamespace(t, name)
	inNamespace(t, lan.handle, func() error {
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "lan"}}
		if err := netlink.LinkAdd(bridge); err != nil {
			return err
		}
		return netlink.LinkSetUp(bridge)
	})
	return lan
}

// Host is a machine as far as the network is concerned.
type Host struct {
	Name    string
	Address netip.Addr

	lan    *LAN
	handle netns.NsHandle
	port   string // the host's end in the LAN's namespace
}

// NewHost plugs a machine into the link.
func (l *LAN) NewHost(name string) *Host {
	l.t.Helper()
	h := &Host{Name: name, Address: l.next, lan: l, port: "p-" + name}
	l.next = l.next.Next()
	h.handle = newNamespace(l.t, l.name+"-"+name)
	inNamespace(l.t, l.handle, func() error {
		veth := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: h.port}, PeerName: "eth0", PeerNamespace: netlink.NsFd(h.handle),
		}
		if err := netlink.LinkAdd(veth); err != nil {
			return err
		}
		bridge, err := netlink.LinkByName("lan")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetMaster(veth, bridge); err != nil {
			return err
		}
		return netlink.LinkSetUp(veth)
	})
	inNamespace(l.t, h.handle, h.configure)
	return h
}

func (h *Host) configure() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	eth0, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	address, err := netlink.ParseAddr(h.Address.String() + "/24")
	if err != nil {
		return err
	}
	for _, link := range []netlink.Link{lo, eth0} {
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
	}
	if err := netlink.AddrAdd(eth0, address); err != nil {
		return err
	}
	// A default route, as every machine has one: without it the kernel
	// refuses to send to service addresses before the rules can rewrite them.
	return netlink.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Gw: net.IPv4(10, 89, 0, 254)})
}

// Cut unplugs the host from the link, Heal plugs it in again.
func (h *Host) Cut() { h.setPort(netlink.LinkSetDown) }

// Heal plugs the host in again.
func (h *Host) Heal() { h.setPort(netlink.LinkSetUp) }

func (h *Host) setPort(set func(netlink.Link) error) {
	h.lan.t.Helper()
	inNamespace(h.lan.t, h.lan.handle, func() error {
		port, err := netlink.LinkByName(h.port)
		if err != nil {
			return err
		}
		return set(port)
	})
}

// Command is a program that runs on the host.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + namespacePath(h.lan.name+"-"+h.Name), name}, args...)...)
}

// DialContext dials from the host. It has the form that http.Transport and
// rest.Config want.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		// The thread is thrown away with the goroutine: it is never unlocked.
		runtime.LockOSThread()
		if err := netns.Set(h.handle); err != nil {
			done <- result{nil, err}
			return
		}
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

// Listen listens on a TCP port of the host.
func (h *Host) Listen(address string) (listener net.Listener, err error) {
	inNamespace(h.lan.t, h.handle, func() error {
		listener, err = net.Listen("tcp", address)
		return nil
	})
	return listener, err
}

func namespacePath(name string) string { return "/run/netns/" + name }

func newNamespace(t testing.TB, name string) netns.NsHandle {
	t.Helper()
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Fatalf("ip netns add %s: %v: %s", name, err, out)
	}
	handle, err := netns.GetFromPath(namespacePath(name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		handle.Close()
		if out, err := exec.Command("ip", "netns", "delete", name).CombinedOutput(); err != nil {
			t.Errorf("ip netns delete %s: %v: %s", name, err, strings.TrimSpace(string(out)))
		}
	})
	return handle
}

// inNamespace runs f on a thread that is in the namespace.
func inNamespace(t testing.TB, handle netns.NsHandle, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(handle); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
