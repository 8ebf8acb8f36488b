package core

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

func endpoints() *registry.Resource {
	return &registry.Resource{
		Kind: kind("Endpoints"), Name: "endpoints", Singular: "endpoints", ShortNames: []string{"ep"}, Namespaced: true,
		Verbs: row.AllVerbs(), StoragePrefix: "services/endpoints", New: row.New[corev1.Endpoints], NewList: row.New[corev1.EndpointsList],
		Strategy: registry.Strategy{
			Default:        registry.Do(defaultEndpoints),
			Validate:       registry.Check(validateEndpoints),
			CreateOnUpdate: true,
		},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("Endpoints", func(e *corev1.Endpoints) any { return endpointsCell(e) }),
			row.AgeColumn(),
		},
	}
}

func defaultEndpoints(e *corev1.Endpoints) {
	for i := range e.Subsets {
		for j := range e.Subsets[i].Ports {
			if p := &e.Subsets[i].Ports[j]; p.Protocol == "" {
				p.Protocol = corev1.ProtocolTCP
			}
		}
	}
}

func validateEndpoints(e *corev1.Endpoints) field.ErrorList {
	var errs field.ErrorList
	for i := range e.Subsets {
		s, at := &e.Subsets[i], field.NewPath("subsets").Index(i)
		if len(s.Addresses)+len(s.NotReadyAddresses) == 0 {
			errs = append(errs, field.Required(at, "must specify `addresses` or `notReadyAddresses`"))
		}
		for j := range s.Addresses {
			errs = append(errs, validateEndpointAddress(at.Child("addresses").Index(j), &s.Addresses[j])...)
		}
		for j := range s.NotReadyAddresses {
			errs = append(errs, validateEndpointAddress(at.Child("notReadyAddresses").Index(j), &s.NotReadyAddresses[j])...)
		}
		for j := range s.Ports {
			errs = append(errs, validateEndpointPort(at.Child("ports").Index(j), &s.Ports[j], len(s.Ports) > 1)...)
		}
	}
	return errs
}

func validateEndpointAddress(at *field.Path, a *corev1.EndpointAddress) field.ErrorList {
	errs := rule.IP(at.Child("ip"), a.IP)
	if a.Hostname != "" {
		errs = append(errs, rule.DNSLabel(at.Child("hostname"), a.Hostname)...)
	}
	if a.NodeName != nil {
		errs = append(errs, rule.DNSSubdomain(at.Child("nodeName"), *a.NodeName)...)
	}
	if len(errs) > 0 {
		return errs
	}
	return NonSpecialIP(at.Child("ip"), a.IP)
}

// NonSpecialIP refuses addresses that name no other machine.
func NonSpecialIP(at *field.Path, value string) field.ErrorList {
	ip, err := netip.ParseAddr(value)
	if err != nil {
		return rule.IP(at, value)
	}
	var why string
	switch {
	case ip.IsUnspecified():
		why = fmt.Sprintf("may not be unspecified (%v)", value)
	case ip.IsLoopback():
		why = "may not be in the loopback range (127.0.0.0/8, ::1/128)"
	case ip.IsLinkLocalUnicast():
		why = "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
	case ip.IsLinkLocalMulticast():
		why = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
	default:
		return nil
	}
	return field.ErrorList{field.Invalid(at, value, why)}
}

func validateEndpointPort(at *field.Path, p *corev1.EndpointPort, named bool) field.ErrorList {
	var errs field.ErrorList
	if p.Name == "" && named {
		errs = append(errs, field.Required(at.Child("name"), ""))
	} else if p.Name != "" {
		errs = append(errs, rule.DNSLabel(at.Child("name"), p.Name)...)
	}
	errs = append(errs, rule.Port(at.Child("port"), p.Port)...)
	errs = append(errs, rule.OneOf(at.Child("protocol"), p.Protocol, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)...)
	if p.AppProtocol != nil {
		errs = append(errs, rule.QualifiedName(at.Child("appProtocol"), *p.AppProtocol)...)
	}
	return errs
}

// shownEndpoints is how many addresses a table shows at most.
const shownEndpoints = 3

func endpointsCell(e *corev1.Endpoints) string {
	if len(e.Subsets) == 0 {
		return row.None
	}
	var shown []string
	total := 0
	for _, s := range e.Subsets {
		ports := s.Ports
		if len(ports) == 0 {
			ports = []corev1.EndpointPort{{}}
		}
		for _, p := range ports {
			for _, a := range s.Addresses {
				if total++; total <= shownEndpoints {
					shown = append(shown, endpointCell(a.IP, p.Port))
				}
			}
		}
	}
	text := strings.Join(shown, ",")
	if total > shownEndpoints {
		text += fmt.Sprintf(" + %d more...", total-shownEndpoints)
	}
	return row.Or(text)
}

func endpointCell(ip string, port int32) string {
	if port == 0 {
		return ip
	}
	if strings.Contains(ip, ":") {
		ip = "[" + ip + "]"
	}
	return fmt.Sprintf("%s:%d", ip, port)
}
