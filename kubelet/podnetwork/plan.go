package podnetwork

import (
	"net/netip"
	"slices"

	v1 "k8s.io/api/core/v1"
)

// Plan is what one node's network must be. Plans are values.
type Plan struct {
	// PodCIDRs are the node's own, one for each family; empty until it has some.
	PodCIDRs []netip.Prefix
	// Routes lead to the pods of other nodes, in order of their destinations.
	Routes []Route
	// Cluster holds the pod networks whose traffic keeps its source address.
	Cluster []netip.Prefix
}

// Route leads to the pods of one other node.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// NewPlan derives the plan for the node of that name from all nodes. It is pure.
func NewPlan(nodes []*v1.Node, name string, cluster []netip.Prefix) Plan {
	plan := Plan{Cluster: cluster}
	for _, node := range nodes {
		cidrs := podCIDRs(node)
		if node.Name == name {
			plan.PodCIDRs = cidrs
			continue
		}
		for _, cidr := range cidrs {
			if via, ok := internalIP(node, cidr.Addr().Is4()); ok {
				plan.Routes = append(plan.Routes, Route{To: cidr, Via: via})
			}
		}
	}
	// A CIDR that two nodes claim is a mistake somewhere else; our own pods win.
	plan.Routes = slices.DeleteFunc(plan.Routes, func(r Route) bool {
		return slices.ContainsFunc(plan.PodCIDRs, r.To.Overlaps)
	})
	slices.SortFunc(plan.Routes, func(a, b Route) int {
		if c := a.To.Addr().Compare(b.To.Addr()); c != 0 {
			return c
		}
		return a.Via.Compare(b.Via)
	})
	plan.Routes = slices.CompactFunc(plan.Routes, func(a, b Route) bool { return a.To == b.To })
	return plan
}

// podCIDRs returns the node's CIDRs, one for each family at most.
func podCIDRs(node *v1.Node) []netip.Prefix {
	texts := node.Spec.PodCIDRs
	if len(texts) == 0 && node.Spec.PodCIDR != "" {
		texts = []string{node.Spec.PodCIDR}
	}
	var out []netip.Prefix
	for _, text := range texts {
		cidr, err := netip.ParsePrefix(text)
		if err != nil {
			continue
		}
		sameFamily := func(other netip.Prefix) bool { return other.Addr().Is4() == cidr.Addr().Is4() }
		if !slices.ContainsFunc(out, sameFamily) {
			out = append(out, cidr.Masked())
		}
	}
	return out
}

func internalIP(node *v1.Node, v4 bool) (netip.Addr, bool) {
	for _, address := range node.Status.Addresses {
		if address.Type != v1.NodeInternalIP {
			continue
		}
		if addr, err := netip.ParseAddr(address.Address); err == nil && addr.Unmap().Is4() == v4 {
			return addr.Unmap(), true
		}
	}
	return netip.Addr{}, false
}
