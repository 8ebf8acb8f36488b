package networking

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

func networkPolicies() *registry.Resource {
	return &registry.Resource{
		Kind: kind("NetworkPolicy"), Name: "networkpolicies", Singular: "networkpolicy", ShortNames: []string{"netpol"}, Namespaced: true,
		Verbs: row.AllVerbs(), StoragePrefix: "networkpolicies", New: row.New[networkingv1.NetworkPolicy], NewList: row.New[networkingv1.NetworkPolicyList],
		Strategy: registry.Strategy{
			Default:          registry.Do(defaultPolicy),
			PrepareForCreate: registry.Prepare(func(p *networkingv1.NetworkPolicy) { p.Generation = 1 }),
			PrepareForUpdate: registry.PrepareUpdate(func(p, old *networkingv1.NetworkPolicy) {
				row.NextGeneration(p, old, !row.Same(p.Spec, old.Spec))
			}),
			Validate: registry.Check(func(p *networkingv1.NetworkPolicy) field.ErrorList { return validatePolicy(p, nil) }),
			ValidateUpdate: registry.CheckUpdate(func(p, old *networkingv1.NetworkPolicy) field.ErrorList {
				return validatePolicy(p, cidrsOf(old))
			}),
		},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("Pod-Selector", func(p *networkingv1.NetworkPolicy) any { return row.Selector(&p.Spec.PodSelector) }),
			row.AgeColumn(),
		},
	}
}

func defaultPolicy(p *networkingv1.NetworkPolicy) {
	ports := func(list []networkingv1.NetworkPolicyPort) {
		for i := range list {
			if list[i].Protocol == nil {
				tcp := corev1.ProtocolTCP
				list[i].Protocol = &tcp
			}
		}
	}
	for _, r := range p.Spec.Ingress {
		ports(r.Ports)
	}
	for _, r := range p.Spec.Egress {
		ports(r.Ports)
	}
	if len(p.Spec.PolicyTypes) > 0 {
		return
	}
	p.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
	if len(p.Spec.Egress) > 0 {
		p.Spec.PolicyTypes = append(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
	}
}

// cidrsOf returns the networks a policy names already; those may stay as they
// are written.
func cidrsOf(p *networkingv1.NetworkPolicy) []string {
	var cidrs []string
	add := func(peers []networkingv1.NetworkPolicyPeer) {
		for _, peer := range peers {
			if b := peer.IPBlock; b != nil {
				cidrs = append(append(cidrs, b.CIDR), b.Except...)
			}
		}
	}
	for _, r := range p.Spec.Ingress {
		add(r.From)
	}
	for _, r := range p.Spec.Egress {
		add(r.To)
	}
	return cidrs
}

func validatePolicy(p *networkingv1.NetworkPolicy, known []string) field.ErrorList {
	spec := field.NewPath("spec")
	errs := rule.Selector(spec.Child("podSelector"), &p.Spec.PodSelector)
	for i, r := range p.Spec.Ingress {
		at := spec.Child("ingress").Index(i)
		errs = append(errs, validatePolicyPorts(at.Child("ports"), r.Ports)...)
		errs = append(errs, validatePeers(at.Child("from"), r.From, known)...)
	}
	for i, r := range p.Spec.Egress {
		at := spec.Child("egress").Index(i)
		errs = append(errs, validatePolicyPorts(at.Child("ports"), r.Ports)...)
		errs = append(errs, validatePeers(at.Child("to"), r.To, known)...)
	}
	types := spec.Child("policyTypes")
	if len(p.Spec.PolicyTypes) > 2 {
		return append(errs, field.Invalid(types, &p.Spec.PolicyTypes, "may not specify more than two policyTypes"))
	}
	seen := sets.New[networkingv1.PolicyType]()
	for i, t := range p.Spec.PolicyTypes {
		if seen.Has(t) {
			errs = append(errs, field.Duplicate(types.Index(i), t))
		}
		seen.Insert(t)
		errs = append(errs, rule.Supported(types.Index(i), t, networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress)...)
	}
	return errs
}

func validatePolicyPorts(at *field.Path, ports []networkingv1.NetworkPolicyPort) field.ErrorList {
	var errs field.ErrorList
	for i, p := range ports {
		path := at.Index(i)
		if p.Protocol != nil {
			errs = append(errs, rule.Supported(path.Child("protocol"), *p.Protocol, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)...)
		}
		if p.Port == nil {
			if p.EndPort != nil {
				errs = append(errs, field.Required(path.Child("port"), "must be specified if `endPort` is specified"))
			}
			continue
		}
		errs = append(errs, rule.PortOrName(path.Child("port"), *p.Port)...)
		if p.EndPort == nil {
			continue
		}
		end := path.Child("endPort")
		if p.Port.Type == intstr.String {
			errs = append(errs, field.Invalid(end, *p.EndPort, "may not be specified when `port` is non-numeric"))
			continue
		}
		if *p.EndPort < p.Port.IntVal {
			errs = append(errs, field.Invalid(end, *p.EndPort, "must be greater than or equal to `port`"))
		}
		errs = append(errs, rule.Port(end, *p.EndPort)...)
	}
	return errs
}

func validatePeers(at *field.Path, peers []networkingv1.NetworkPolicyPeer, known []string) field.ErrorList {
	var errs field.ErrorList
	for i, p := range peers {
		path := at.Index(i)
		if p.PodSelector != nil {
			errs = append(errs, rule.Selector(path.Child("podSelector"), p.PodSelector)...)
		}
		if p.NamespaceSelector != nil {
			errs = append(errs, rule.Selector(path.Child("namespaceSelector"), p.NamespaceSelector)...)
		}
		if p.IPBlock != nil {
			errs = append(errs, validateBlock(path.Child("ipBlock"), p.IPBlock, known)...)
		}
		switch selected := p.PodSelector != nil || p.NamespaceSelector != nil; {
		case !selected && p.IPBlock == nil:
			errs = append(errs, field.Required(path, "must specify a peer"))
		case selected && p.IPBlock != nil:
			errs = append(errs, field.Forbidden(path, "may not specify both ipBlock and another peer"))
		}
	}
	return errs
}

func validateBlock(at *field.Path, b *networkingv1.IPBlock, known []string) field.ErrorList {
	if b.CIDR == "" {
		return field.ErrorList{field.Required(at.Child("cidr"), "")}
	}
	errs := rule.CIDR(at.Child("cidr"), b.CIDR, known...)
	whole, err := netip.ParsePrefix(b.CIDR)
	if err != nil {
		return errs
	}
	for i, e := range b.Except {
		path := at.Child("except").Index(i)
		errs = append(errs, rule.CIDR(path, e, known...)...)
		part, err := netip.ParsePrefix(e)
		if err == nil && (!whole.Masked().Contains(part.Addr()) || part.Bits() <= whole.Bits()) {
			errs = append(errs, field.Invalid(path, e, "must be a strict subset of `cidr`"))
		}
	}
	return errs
}
