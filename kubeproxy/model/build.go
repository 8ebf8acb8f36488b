package model

import (
	"net/netip"
	"slices"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
)

const labelProxyName = "service.kubernetes.io/service-proxy-name"

// Node is what the rules depend on about the node they are for.
type Node struct {
	Name string
	// Zone is the value of the topology.kubernetes.io/zone label.
	Zone string
}

// Handled reports whether a service is for us to handle: it has cluster IPs
// and names no other proxy.
func Handled(service *v1.Service) bool {
	_, other := service.Labels[labelProxyName]
	return !other && service.Spec.Type != v1.ServiceTypeExternalName &&
		service.Spec.ClusterIP != "" && service.Spec.ClusterIP != v1.ClusterIPNone
}

// Build returns the rules of one service on one node, in order of their keys.
// A nil service has none.
func Build(service *v1.Service, slicesOf []*discoveryv1.EndpointSlice, node Node) []Rule {
	if service == nil || !Handled(service) {
		return nil
	}
	var rules []Rule
	for _, ip := range clusterIPs(service) {
		for i := range service.Spec.Ports {
			rule := newRule(service, &service.Spec.Ports[i], ip)
			rule.fillEndpoints(endpointsOf(slicesOf, rule.Key, node), node)
			rules = append(rules, rule)
		}
	}
	slices.SortFunc(rules, func(a, b Rule) int { return a.Key.Compare(b.Key) })
	return rules
}

func clusterIPs(service *v1.Service) []netip.Addr {
	ips := service.Spec.ClusterIPs
	if len(ips) == 0 {
		ips = []string{service.Spec.ClusterIP}
	}
	return addresses(ips, 0)
}

// addresses parses those of the family, both for 0, and leaves out what is no
// address: the API server has complained about it already.
func addresses(texts []string, family Family) []netip.Addr {
	var out []netip.Addr
	for _, text := range texts {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.IsUnspecified() {
			continue
		}
		addr = addr.Unmap()
		if family == 0 || FamilyOf(addr) == family {
			out = append(out, addr)
		}
	}
	return out
}

func newRule(service *v1.Service, port *v1.ServicePort, ip netip.Addr) Rule {
	family := FamilyOf(ip)
	protocol := port.Protocol
	if protocol == "" {
		protocol = v1.ProtocolTCP
	}
	spec := &service.Spec
	rule := Rule{
		Key:       Key{Service: types.NamespacedName{Namespace: service.Namespace, Name: service.Name}, PortName: port.Name, Protocol: protocol, Family: family},
		ClusterIP: ip, Port: uint16(port.Port), NodePort: uint16(port.NodePort),
		ExternalIPs:     addresses(spec.ExternalIPs, family),
		LoadBalancerIPs: loadBalancerIPs(service, family),
		ExternalLocal:   spec.ExternalTrafficPolicy == v1.ServiceExternalTrafficPolicyLocal,
		InternalLocal:   spec.InternalTrafficPolicy != nil && *spec.InternalTrafficPolicy == v1.ServiceInternalTrafficPolicyLocal,
		AffinitySeconds: affinitySeconds(spec),
	}
	if len(rule.LoadBalancerIPs) > 0 {
		rule.Sources = sourceRanges(spec.LoadBalancerSourceRanges, family)
	}
	if rule.ExternalLocal && spec.Type == v1.ServiceTypeLoadBalancer {
		rule.HealthCheckNodePort = uint16(spec.HealthCheckNodePort)
	}
	return rule
}

// loadBalancerIPs leaves out addresses for which the load balancer handles the
// traffic itself.
func loadBalancerIPs(service *v1.Service, family Family) []netip.Addr {
	var texts []string
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		if ingress.IPMode == nil || *ingress.IPMode == v1.LoadBalancerIPModeVIP {
			texts = append(texts, ingress.IP)
		}
	}
	return addresses(texts, family)
}

func affinitySeconds(spec *v1.ServiceSpec) int {
	if spec.SessionAffinity != v1.ServiceAffinityClientIP {
		return 0
	}
	if c := spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
		return int(*c.ClientIP.TimeoutSeconds)
	}
	return int(v1.DefaultClientIPServiceAffinitySeconds)
}

// sourceRanges returns nil when everyone may come. Ranges given for the other
// family only leave nobody of this one, hence an empty list.
func sourceRanges(texts []string, family Family) []netip.Prefix {
	if len(texts) == 0 {
		return nil
	}
	out := []netip.Prefix{}
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if err != nil || FamilyOf(prefix.Addr()) != family {
			continue
		}
		if prefix.Bits() == 0 {
			return nil
		}
		out = append(out, prefix.Masked())
	}
	return out
}
