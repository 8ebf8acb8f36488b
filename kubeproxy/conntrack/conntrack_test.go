package conntrack

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/kubeproxy/model"
)

func TestMatchesOnlyStaleFlowsOfChangedUDPServices(t *testing.T) {
	old := model.Rule{Key: model.Key{Protocol: v1.ProtocolUDP, Family: model.IPv4}, ClusterIP: netip.MustParseAddr("10.96.0.10"), Port: 53, NodePort: 30053,
		ClusterEndpoints: []netip.AddrPort{netip.MustParseAddrPort("10.244.0.2:5353"), netip.MustParseAddrPort("10.244.0.3:5353")}}
	current := old
	current.ClusterEndpoints = old.ClusterEndpoints[:1]
	tcp := old
	tcp.Protocol, tcp.ClusterIP = v1.ProtocolTCP, netip.MustParseAddr("10.96.0.11")
	filters := staleFlows([]model.Change{{Old: &old, New: &current}, {Old: &tcp}}, []netip.Addr{netip.MustParseAddr("192.168.0.1")})
	if len(filters) != 1 {
		t.Fatalf("filters for %d families", len(filters))
	}
	filter := filters[unix.AF_INET]
	for _, tc := range []struct {
		name     string
		protocol uint8
		to, from string
		stale    bool
	}{
		{"to an endpoint that stays", unix.IPPROTO_UDP, "10.96.0.10:53", "10.244.0.2:5353", false},
		{"to an endpoint that went", unix.IPPROTO_UDP, "10.96.0.10:53", "10.244.0.3:5353", true},
		{"to nobody", unix.IPPROTO_UDP, "10.96.0.10:53", "10.96.0.10:53", true},
		{"by node port to one that went", unix.IPPROTO_UDP, "192.168.0.1:30053", "10.244.0.3:5353", true},
		{"to another service", unix.IPPROTO_UDP, "10.96.0.12:53", "10.244.0.3:5353", false},
		{"to another port", unix.IPPROTO_UDP, "10.96.0.10:54", "10.244.0.3:5353", false},
		{"by TCP", unix.IPPROTO_TCP, "10.96.0.10:53", "10.244.0.3:5353", false},
		{"to a TCP service", unix.IPPROTO_TCP, "10.96.0.11:53", "10.244.0.3:5353", false},
	} {
		to, from := netip.MustParseAddrPort(tc.to), netip.MustParseAddrPort(tc.from)
		flow := &netlink.ConntrackFlow{
			Forward: netlink.IPTuple{Protocol: tc.protocol, DstIP: net.IP(to.Addr().AsSlice()), DstPort: to.Port()},
			Reverse: netlink.IPTuple{Protocol: tc.protocol, SrcIP: net.IP(from.Addr().AsSlice()), SrcPort: from.Port()},
		}
		if got := filter.MatchConntrackFlow(flow); got != tc.stale {
			t.Errorf("%s: stale %v, want %v", tc.name, got, tc.stale)
		}
	}
}
