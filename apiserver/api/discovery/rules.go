package discovery

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

// How much one slice can hold.
const (
	maxEndpoints    = 1000
	maxAddresses    = 100
	maxPorts        = 20000
	maxTopologyKeys = 16
	maxHints        = 8
)

func validateSlice(s *discoveryv1.EndpointSlice) field.ErrorList {
	errs := validateAddressType(s.AddressType)
	endpoints := field.NewPath("endpoints")
	if len(s.Endpoints) > maxEndpoints {
		return append(errs, field.TooMany(endpoints, len(s.Endpoints), maxEndpoints))
	}
	for i := range s.Endpoints {
		errs = append(errs, validateEndpoint(endpoints.Index(i), &s.Endpoints[i], s.AddressType)...)
	}
	return append(errs, validatePorts(field.NewPath("ports"), s.Ports)...)
}

func validateAddressType(t discoveryv1.AddressType) field.ErrorList {
	return rule.OneOf(field.NewPath("addressType"), t, discoveryv1.AddressTypeFQDN, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6)
}

func validateEndpoint(path *field.Path, e *discoveryv1.Endpoint, t discoveryv1.AddressType) field.ErrorList {
	var errs field.ErrorList
	addresses := path.Child("addresses")
	switch n := len(e.Addresses); {
	case n == 0:
		errs = append(errs, field.Required(addresses, "must contain at least 1 address"))
	case n > maxAddresses:
		errs = append(errs, field.TooMany(addresses, n, maxAddresses))
	}
	for i, a := range e.Addresses {
		errs = append(errs, validateAddress(addresses.Index(i), a, t)...)
	}
	if e.NodeName != nil {
		errs = append(errs, rule.DNSSubdomain(path.Child("nodeName"), *e.NodeName)...)
	}
	topology := path.Child("deprecatedTopology")
	if len(e.DeprecatedTopology) > maxTopologyKeys {
		errs = append(errs, field.TooMany(topology, len(e.DeprecatedTopology), maxTopologyKeys))
	}
	errs = append(errs, metavalidation.ValidateLabels(e.DeprecatedTopology, topology)...)
	if _, found := e.DeprecatedTopology[corev1.LabelTopologyZone]; found {
		errs = append(errs, field.InternalError(topology.Key(corev1.LabelTopologyZone), fmt.Errorf("reserved key was not removed in conversion")))
	}
	if e.Hostname != nil {
		errs = append(errs, rule.DNSLabel(path.Child("hostname"), *e.Hostname)...)
	}
	if e.Hints != nil {
		errs = append(errs, validateHints(path.Child("hints"), e.Hints)...)
	}
	return errs
}

func validateAddress(path *field.Path, address string, t discoveryv1.AddressType) field.ErrorList {
	if t == discoveryv1.AddressTypeFQDN {
		return validation.IsFullyQualifiedDomainName(path, address)
	}
	errs := rule.IP(path, address)
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return errs
	}
	if t == discoveryv1.AddressTypeIPv4 && !ip.Is4() {
		errs = append(errs, field.Invalid(path, address, "must be an IPv4 address"))
	}
	if t == discoveryv1.AddressTypeIPv6 && !ip.Is6() {
		errs = append(errs, field.Invalid(path, address, "must be an IPv6 address"))
	}
	return append(errs, nonSpecial(path, ip)...)
}

// nonSpecial refuses addresses that name no other machine.
func nonSpecial(path *field.Path, ip netip.Addr) field.ErrorList {
	var why string
	switch {
	case ip.IsUnspecified():
		why = fmt.Sprintf("may not be unspecified (%v)", ip)
	case ip.IsLoopback():
		why = "may not be in the loopback range (127.0.0.0/8, ::1/128)"
	case ip.IsLinkLocalUnicast():
		why = "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
	case ip.IsLinkLocalMulticast():
		why = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
	default:
		return nil
	}
	return field.ErrorList{field.Invalid(path, ip.String(), why)}
}

func validateHints(path *field.Path, h *discoveryv1.EndpointHints) field.ErrorList {
	var errs field.ErrorList
	unique := func(at *field.Path, n int, name func(int) string, valid func(*field.Path, string) field.ErrorList) {
		if n > maxHints {
			errs = append(errs, field.TooMany(at, n, maxHints))
			return
		}
		seen := sets.New[string]()
		for i := range n {
			p := at.Index(i).Child("name")
			if seen.Has(name(i)) {
				errs = append(errs, field.Duplicate(p, name(i)))
				continue
			}
			seen.Insert(name(i))
			errs = append(errs, valid(p, name(i))...)
		}
	}
	unique(path.Child("forZones"), len(h.ForZones), func(i int) string { return h.ForZones[i].Name }, func(p *field.Path, v string) field.ErrorList {
		return rule.Invalid(p, v, validation.IsValidLabelValue(v))
	})
	unique(path.Child("forNodes"), len(h.ForNodes), func(i int) string { return h.ForNodes[i].Name }, rule.DNSSubdomain)
	return errs
}

func validatePorts(path *field.Path, ports []discoveryv1.EndpointPort) field.ErrorList {
	if len(ports) > maxPorts {
		return field.ErrorList{field.TooMany(path, len(ports), maxPorts)}
	}
	var errs field.ErrorList
	names := sets.New[string]()
	for i := range ports {
		p, at := &ports[i], path.Index(i)
		if *p.Name != "" {
			errs = append(errs, rule.DNSLabel(at.Child("name"), *p.Name)...)
		}
		if names.Has(*p.Name) {
			errs = append(errs, field.Duplicate(at.Child("name"), *p.Name))
		}
		names.Insert(*p.Name)
		errs = append(errs, rule.Supported(at.Child("protocol"), *p.Protocol, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)...)
		if p.Port != nil {
			errs = append(errs, rule.Port(at.Child("port"), *p.Port)...)
		}
		if p.AppProtocol != nil {
			errs = append(errs, rule.QualifiedName(at.Child("appProtocol"), *p.AppProtocol)...)
		}
	}
	return errs
}

func validateSliceUpdate(s, old *discoveryv1.EndpointSlice) field.ErrorList {
	return append(validateSlice(s), rule.Immutable(field.NewPath("addressType"), s.AddressType, old.AddressType)...)
}
