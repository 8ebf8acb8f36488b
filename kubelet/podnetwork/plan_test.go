package podnetwork

import (
	"fmt"
	"net/netip"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func newNode(name, address string, cidrs ...string) *v1.Node {
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.NodeSpec{PodCIDRs: cidrs}}
	if address != "" {
		node.Status.Addresses = []v1.NodeAddress{{Type: v1.NodeHostName, Address: name}, {Type: v1.NodeInternalIP, Address: address}}
	}
	return node
}

func TestPlan(t *testing.T) {
	for name, tc := range map[string]struct {
		nodes  []*v1.Node
		own    string
		routes string
	}{
		"nothing yet": {nodes: []*v1.Node{newNode("a", "192.168.0.1")}, own: "[]", routes: "[]"},
		"a route to each other node": {
			nodes: []*v1.Node{newNode("c", "192.168.0.3", "10.244.2.0/24"), newNode("a", "192.168.0.1", "10.244.0.0/24"), newNode("b", "192.168.0.2", "10.244.1.0/24")},
			own:   "[10.244.0.0/24]", routes: "[{10.244.1.0/24 192.168.0.2} {10.244.2.0/24 192.168.0.3}]",
		},
		"nodes without address or CIDR": {
			nodes: []*v1.Node{newNode("a", "192.168.0.1", "10.244.0.0/24"), newNode("b", "", "10.244.1.0/24"), newNode("c", "192.168.0.3")},
			own:   "[10.244.0.0/24]", routes: "[]",
		},
		"both families, each by an address of its own": {
			nodes: []*v1.Node{newNode("a", "192.168.0.1", "10.244.0.0/24", "fd00::/64"), newNode("b", "192.168.0.2", "10.244.1.0/24", "fd00:1::/64")},
			own:   "[10.244.0.0/24 fd00::/64]", routes: "[{10.244.1.0/24 192.168.0.2}]",
		},
		"our own CIDR claimed by another": {
			nodes: []*v1.Node{newNode("a", "192.168.0.1", "10.244.0.0/24"), newNode("b", "192.168.0.2", "10.244.0.0/16")},
			own:   "[10.244.0.0/24]", routes: "[]",
		},
		"one CIDR claimed by two": {
			nodes: []*v1.Node{newNode("a", "192.168.0.1", "10.244.0.0/24"), newNode("c", "192.168.0.3", "10.244.1.0/24"), newNode("b", "192.168.0.2", "10.244.1.0/24")},
			own:   "[10.244.0.0/24]", routes: "[{10.244.1.0/24 192.168.0.2}]",
		},
		"a CIDR that is none": {nodes: []*v1.Node{newNode("a", "192.168.0.1", "nonsense")}, own: "[]", routes: "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			plan := NewPlan(tc.nodes, "a", nil)
			if got := fmt.Sprint(plan.PodCIDRs); got != tc.own {
				t.Errorf("own %s, want %s", got, tc.own)
			}
			if got := fmt.Sprint(plan.Routes); got != tc.routes {
				t.Errorf("routes %s, want %s", got, tc.routes)
			}
		})
	}
}

func TestMasqueradesOnlyWhatLeavesTheCluster(t *testing.T) {
	plan := Plan{PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/24")}, Cluster: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}}
	const want = `[ip saddr 10.244.0.0/24 ip daddr != { 10.244.0.0/16, 224.0.0.0/4 } oifname != "yare0" masquerade fully-random]`
	if got := fmt.Sprint(masqueradeRules("ip", "yare0", plan)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := masqueradeRules("ip6", "yare0", plan); got != nil {
		t.Errorf("rules for a family without pods: %s", got)
	}
	plan.Cluster = nil
	if got := masqueradeRules("ip", "yare0", plan); got != nil {
		t.Errorf("rules without knowing the cluster: %s", got)
	}
}
