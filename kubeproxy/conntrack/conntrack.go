// Package conntrack forgets connections of UDP services that the kernel still
// sends to endpoints that are gone, or to nobody because none was there when
// they began. UDP has no end of connection, so a client that keeps sending
// would never notice.
//
// It reads and changes the connection table of the calling OS thread's network
// namespace, and knows nothing of how packets are translated.
package conntrack

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/kubeproxy/model"
)

// Clean deletes the stale flows of the UDP services among the changes and
// returns how many. nodeAddrs are where node ports answer.
func Clean(changes []model.Change, nodeAddrs []netip.Addr) (deleted uint, err error) {
	var errs []error
	for family, filter := range staleFlows(changes, nodeAddrs) {
		n, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, filter)
		deleted += n
		// An interrupted dump has still deleted what it saw; the kernel
		// interrupts whenever the table changes meanwhile.
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			errs = append(errs, fmt.Errorf("delete stale UDP flows: %w", err))
		}
	}
	return deleted, errors.Join(errs...)
}

// frontends maps what clients send to, to the endpoints that may answer. A
// flow to a frontend that is answered by another address is stale.
type frontends map[netip.AddrPort]map[netip.AddrPort]bool

var _ netlink.CustomConntrackFilter = frontends{}

// staleFlows returns the filters that match stale flows, by family.
func staleFlows(changes []model.Change, nodeAddrs []netip.Addr) map[netlink.InetFamily]frontends {
	out := map[netlink.InetFamily]frontends{}
	for _, change := range changes {
		if change.Key().Protocol != v1.ProtocolUDP {
			continue
		}
		family := netlink.InetFamily(unix.AF_INET)
		if change.Key().Family == model.IPv6 {
			family = unix.AF_INET6
		}
		if out[family] == nil {
			out[family] = frontends{}
		}
		for _, rule := range []*model.Rule{change.Old, change.New} {
			if rule != nil {
				out[family].add(rule, change.New, nodeAddrs)
			}
		}
	}
	return out
}

// add notes every address of rule, answered by the endpoints of current, which
// is nil when the service is gone.
func (f frontends) add(rule, current *model.Rule, nodeAddrs []netip.Addr) {
	valid := map[netip.AddrPort]bool{}
	if current != nil {
		for _, endpoints := range [][]netip.AddrPort{current.ClusterEndpoints, current.LocalEndpoints} {
			for _, addr := range endpoints {
				valid[addr] = true
			}
		}
	}
	f[netip.AddrPortFrom(rule.ClusterIP, rule.Port)] = valid
	for _, ips := range [][]netip.Addr{rule.ExternalIPs, rule.LoadBalancerIPs} {
		for _, ip := range ips {
			f[netip.AddrPortFrom(ip, rule.Port)] = valid
		}
	}
	if rule.NodePort != 0 {
		for _, ip := range nodeAddrs {
			f[netip.AddrPortFrom(ip, rule.NodePort)] = valid
		}
	}
}

// MatchConntrackFlow reports whether the flow is stale.
func (f frontends) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	if flow.Forward.Protocol != unix.IPPROTO_UDP {
		return false
	}
	valid, ours := f[addrPort(flow.Forward.DstIP, flow.Forward.DstPort)]
	return ours && !valid[addrPort(flow.Reverse.SrcIP, flow.Reverse.SrcPort)]
}

func addrPort(ip net.IP, port uint16) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(addr.Unmap(), port)
}
