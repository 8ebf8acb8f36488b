package model

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Family is an IP version.
type Family int

// The two families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// FamilyOf returns the family of an address.
func FamilyOf(addr netip.Addr) Family {
	if addr.Is4() {
		return IPv4
	}
	return IPv6
}

// Key names one port of one service in one family.
type Key struct {
	Service types.NamespacedName
	// PortName is "" for a single unnamed port.
	PortName string
	Protocol v1.Protocol
	Family   Family
}

// String returns namespace/name:port/protocol/family, for logs.
func (k Key) String() string {
	return fmt.Sprintf("%s:%s/%s/IPv%d", k.Service, k.PortName, k.Protocol, k.Family)
}

// Compare orders keys.
func (k Key) Compare(other Key) int {
	return cmp.Or(cmp.Compare(k.Service.Namespace, other.Service.Namespace), cmp.Compare(k.Service.Name, other.Service.Name),
		cmp.Compare(k.PortName, other.PortName), cmp.Compare(k.Protocol, other.Protocol), cmp.Compare(k.Family, other.Family))
}

// Rule is what a node does with the traffic of one service port. Rules are
// values: two rules with the same content are Equal, and none is changed after
// it was made.
type Rule struct {
	Key
	ClusterIP netip.Addr
	Port      uint16
	// NodePort is 0 when there is none.
	NodePort        uint16
	ExternalIPs     []netip.Addr
	LoadBalancerIPs []netip.Addr
	// Sources restrict who may use the load balancer addresses; nil is anyone.
	Sources []netip.Prefix
	// AffinitySeconds is how long a client keeps its endpoint, 0 for no affinity.
	AffinitySeconds int
	// ExternalLocal keeps traffic from outside on this node, with its source
	// address; it goes to LocalEndpoints.
	ExternalLocal bool
	// InternalLocal keeps traffic to the cluster IP on this node.
	InternalLocal bool
	// HealthCheckNodePort tells load balancers whether this node has endpoints; 0 for none.
	HealthCheckNodePort uint16

	// ClusterEndpoints and LocalEndpoints are sorted. LocalEndpoints are only
	// filled if a policy asks for them.
	ClusterEndpoints []netip.AddrPort
	LocalEndpoints   []netip.AddrPort
	// LocalReady are the addresses of ready endpoints on this node, sorted; only
	// filled with a HealthCheckNodePort.
	LocalReady []netip.Addr
	// HasEndpoints reports whether any endpoint exists anywhere: traffic that
	// finds none here is then dropped, else rejected.
	HasEndpoints bool
}

// InternalEndpoints are those for traffic to the cluster IP.
func (r *Rule) InternalEndpoints() []netip.AddrPort {
	if r.InternalLocal {
		return r.LocalEndpoints
	}
	return r.ClusterEndpoints
}

// ExternalEndpoints are those for traffic from outside the cluster.
func (r *Rule) ExternalEndpoints() []netip.AddrPort {
	if r.ExternalLocal {
		return r.LocalEndpoints
	}
	return r.ClusterEndpoints
}

// HasExternal reports whether the port can be reached from outside.
func (r *Rule) HasExternal() bool {
	return r.NodePort != 0 || len(r.ExternalIPs) > 0 || len(r.LoadBalancerIPs) > 0
}

// Equal reports whether two rules say the same.
func (r *Rule) Equal(other *Rule) bool {
	return r.Key == other.Key && r.ClusterIP == other.ClusterIP && r.Port == other.Port && r.NodePort == other.NodePort &&
		r.AffinitySeconds == other.AffinitySeconds && r.ExternalLocal == other.ExternalLocal && r.InternalLocal == other.InternalLocal &&
		r.HealthCheckNodePort == other.HealthCheckNodePort && r.HasEndpoints == other.HasEndpoints &&
		slices.Equal(r.ExternalIPs, other.ExternalIPs) && slices.Equal(r.LoadBalancerIPs, other.LoadBalancerIPs) &&
		slices.Equal(r.Sources, other.Sources) && slices.Equal(r.ClusterEndpoints, other.ClusterEndpoints) &&
		slices.Equal(r.LocalEndpoints, other.LocalEndpoints) && slices.Equal(r.LocalReady, other.LocalReady)
}
