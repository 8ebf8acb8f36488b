package model

import (
	"net/netip"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"
)

// endpoint is one address behind a service port.
type endpoint struct {
	addr                        netip.AddrPort
	ready, serving, terminating bool
	local                       bool
	zones, nodes                []string
}

// endpointsOf lists the endpoints of one service port, each address once, in
// order of their addresses.
func endpointsOf(slicesOf []*discoveryv1.EndpointSlice, key Key, node Node) []endpoint {
	byAddr := map[netip.AddrPort]endpoint{}
	for _, slice := range slicesOf {
		port, ok := portOf(slice, key)
		if !ok {
			continue
		}
		for i := range slice.Endpoints {
			e, ok := newEndpoint(&slice.Endpoints[i], port, key.Family, node)
			// While an endpoint moves from slice to slice it can be in two:
			// the copy that knows it ready is the newer one.
			if old, seen := byAddr[e.addr]; ok && (!seen || !old.ready) {
				byAddr[e.addr] = e
			}
		}
	}
	out := make([]endpoint, 0, len(byAddr))
	for _, e := range byAddr {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b endpoint) int { return a.addr.Compare(b.addr) })
	return out
}

func portOf(slice *discoveryv1.EndpointSlice, key Key) (uint16, bool) {
	want := discoveryv1.AddressTypeIPv4
	if key.Family == IPv6 {
		want = discoveryv1.AddressTypeIPv6
	}
	if slice.AddressType != want {
		return 0, false
	}
	for i := range slice.Ports {
		p := &slice.Ports[i]
		name, protocol := "", "TCP"
		if p.Name != nil {
			name = *p.Name
		}
		if p.Protocol != nil {
			protocol = string(*p.Protocol)
		}
		if p.Port != nil && name == key.PortName && protocol == string(key.Protocol) {
			return uint16(*p.Port), true
		}
	}
	return 0, false
}

func newEndpoint(e *discoveryv1.Endpoint, port uint16, family Family, node Node) (endpoint, bool) {
	if len(e.Addresses) == 0 {
		return endpoint{}, false
	}
	parsed := addresses(e.Addresses[:1], family)
	if len(parsed) == 0 {
		return endpoint{}, false
	}
	ready := e.Conditions.Ready == nil || *e.Conditions.Ready
	out := endpoint{addr: netip.AddrPortFrom(parsed[0], port), ready: ready, serving: ready,
		terminating: e.Conditions.Terminating != nil && *e.Conditions.Terminating,
		local:       e.NodeName != nil && *e.NodeName == node.Name}
	if e.Conditions.Serving != nil {
		out.serving = *e.Conditions.Serving
	}
	if e.Hints != nil {
		for _, zone := range e.Hints.ForZones {
			out.zones = append(out.zones, zone.Name)
		}
		for _, n := range e.Hints.ForNodes {
			out.nodes = append(out.nodes, n.Name)
		}
	}
	return out, true
}

// fillEndpoints chooses where the rule's traffic goes.
func (r *Rule) fillEndpoints(all []endpoint, node Node) {
	usesCluster := !r.InternalLocal || r.HasExternal() && !r.ExternalLocal
	usesLocal := r.InternalLocal || r.HasExternal() && r.ExternalLocal
	if usesCluster || r.ExternalLocal {
		nearby := near(all, node)
		r.ClusterEndpoints = usable(all, nearby)
	}
	if usesLocal {
		r.LocalEndpoints = usable(all, func(e *endpoint) bool { return e.local })
	}
	if r.HealthCheckNodePort != 0 {
		r.LocalReady = localReady(all)
	}
	r.HasEndpoints = len(usable(all, func(*endpoint) bool { return true })) > 0
}

// localReady leaves out what is only going away: load balancers must not send
// more there.
func localReady(all []endpoint) []netip.Addr {
	var out []netip.Addr
	for i := range all {
		if all[i].local && all[i].ready {
			out = append(out, all[i].addr.Addr())
		}
	}
	return slices.Compact(out) // one port of the service: sorted by address
}

// usable returns the ready endpoints that are wanted; while there are none,
// those that are going away but still serve, so that no request is lost while a
// workload is replaced.
func usable(all []endpoint, wanted func(*endpoint) bool) []netip.AddrPort {
	var ready, leaving []netip.AddrPort
	for i := range all {
		switch e := &all[i]; {
		case e.ready && wanted(e):
			ready = append(ready, e.addr)
		case e.serving && e.terminating && wanted(e):
			leaving = append(leaving, e.addr)
		}
	}
	if len(ready) > 0 {
		return ready
	}
	return leaving
}

// near returns the endpoints that topology hints assign to the node, or to its
// zone; hints count only when every ready endpoint has them and one is for us.
func near(all []endpoint, node Node) func(*endpoint) bool {
	byNode, byZone := true, node.Zone != ""
	forNode, forZone := false, false
	for i := range all {
		e := &all[i]
		if !e.ready {
			continue
		}
		byNode = byNode && len(e.nodes) > 0
		byZone = byZone && len(e.zones) > 0
		forNode = forNode || slices.Contains(e.nodes, node.Name)
		forZone = forZone || slices.Contains(e.zones, node.Zone)
	}
	switch {
	case byNode && forNode:
		return func(e *endpoint) bool { return !e.ready || slices.Contains(e.nodes, node.Name) }
	case byZone && forZone:
		return func(e *endpoint) bool { return !e.ready || slices.Contains(e.zones, node.Zone) }
	}
	return func(*endpoint) bool { return true }
}
