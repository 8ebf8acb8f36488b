package core

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

const maxAffinitySeconds int32 = 86400

func validateService(s *corev1.Service) field.ErrorList {
	spec := field.NewPath("spec")
	errs := validateServiceShape(spec, s)
	errs = append(errs, validateServicePorts(spec.Child("ports"), s)...)
	errs = append(errs, metavalidation.ValidateLabels(s.Spec.Selector, spec.Child("selector"))...)
	errs = append(errs, validateAffinityFields(spec, &s.Spec)...)
	errs = append(errs, rule.OneOf(spec.Child("type"), s.Spec.Type, corev1.ServiceTypeClusterIP,
		corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeExternalName)...)
	errs = append(errs, validateClusterIPs(spec, s)...)
	errs = append(errs, validateExternal(spec, s)...)
	return append(errs, validateTraffic(spec, s)...)
}

// validateServiceShape checks what a type needs and what it cannot have.
func validateServiceShape(spec *field.Path, s *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	if len(s.Spec.Ports) == 0 && !headless(s) && s.Spec.Type != corev1.ServiceTypeExternalName {
		errs = append(errs, field.Required(spec.Child("ports"), ""))
	}
	switch s.Spec.Type {
	case corev1.ServiceTypeLoadBalancer:
		for i, p := range s.Spec.Ports {
			// The kubelet's own port must not be balanced to the world.
			if p.Port == 10250 {
				errs = append(errs, field.Invalid(spec.Child("ports").Index(i), p.Port, "may not expose port 10250 externally since it is used by kubelet"))
			}
		}
		if headless(s) {
			errs = append(errs, field.Invalid(spec.Child("clusterIPs").Index(0), s.Spec.ClusterIP, "may not be set to 'None' for LoadBalancer services"))
		}
	case corev1.ServiceTypeNodePort:
		if headless(s) {
			errs = append(errs, field.Invalid(spec.Child("clusterIPs").Index(0), s.Spec.ClusterIP, "may not be set to 'None' for NodePort services"))
		}
	case corev1.ServiceTypeExternalName:
		errs = append(errs, validateExternalName(spec, s)...)
	}
	return errs
}

func validateExternalName(spec *field.Path, s *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	const why = "may not be set for ExternalName services"
	if len(s.Spec.ClusterIPs) > 0 {
		errs = append(errs, field.Forbidden(spec.Child("clusterIPs"), why))
	}
	if len(s.Spec.IPFamilies) > 0 {
		errs = append(errs, field.Forbidden(spec.Child("ipFamilies"), why))
	}
	if s.Spec.IPFamilyPolicy != nil {
		errs = append(errs, field.Forbidden(spec.Child("ipFamilyPolicy"), why))
	}
	// The name may end in a dot, as in DNS.
	name := strings.TrimSuffix(s.Spec.ExternalName, ".")
	if name == "" {
		return append(errs, field.Required(spec.Child("externalName"), ""))
	}
	return append(errs, rule.DNSSubdomain(spec.Child("externalName"), name)...)
}

func validateServicePorts(at *field.Path, s *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	names := sets.New[string]()
	type service struct {
		protocol corev1.Protocol
		port     int32
	}
	ports, nodePorts := sets.New[service](), sets.New[service]()
	for i := range s.Spec.Ports {
		p, path := &s.Spec.Ports[i], at.Index(i)
		errs = append(errs, validateServicePort(path, p, len(s.Spec.Ports) > 1, names)...)
		key := service{p.Protocol, p.Port}
		if ports.Has(key) {
			errs = append(errs, field.Duplicate(path, corev1.ServicePort{Protocol: p.Protocol, Port: p.Port}))
		}
		ports.Insert(key)
		if p.NodePort == 0 {
			continue
		}
		if s.Spec.Type == corev1.ServiceTypeClusterIP {
			errs = append(errs, field.Forbidden(path.Child("nodePort"), "may not be used when `type` is 'ClusterIP'"))
		}
		key = service{p.Protocol, p.NodePort}
		if nodePorts.Has(key) {
			errs = append(errs, field.Duplicate(path.Child("nodePort"), p.NodePort))
		}
		nodePorts.Insert(key)
	}
	return errs
}

func validateServicePort(at *field.Path, p *corev1.ServicePort, named bool, names sets.Set[string]) field.ErrorList {
	var errs field.ErrorList
	if p.Name == "" && named {
		errs = append(errs, field.Required(at.Child("name"), ""))
	} else if p.Name != "" {
		errs = append(errs, rule.DNSLabel(at.Child("name"), p.Name)...)
		if names.Has(p.Name) {
			errs = append(errs, field.Duplicate(at.Child("name"), p.Name))
		}
		names.Insert(p.Name)
	}
	errs = append(errs, rule.Port(at.Child("port"), p.Port)...)
	errs = append(errs, rule.OneOf(at.Child("protocol"), p.Protocol, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)...)
	errs = append(errs, rule.PortOrName(at.Child("targetPort"), p.TargetPort)...)
	if p.AppProtocol != nil {
		errs = append(errs, rule.QualifiedName(at.Child("appProtocol"), *p.AppProtocol)...)
	}
	return errs
}

func validateAffinityFields(spec *field.Path, s *corev1.ServiceSpec) field.ErrorList {
	errs := rule.OneOf(spec.Child("sessionAffinity"), s.SessionAffinity, corev1.ServiceAffinityClientIP, corev1.ServiceAffinityNone)
	config := spec.Child("sessionAffinityConfig")
	switch s.SessionAffinity {
	case corev1.ServiceAffinityClientIP:
		timeout := config.Child("clientIP", "timeoutSeconds")
		c := s.SessionAffinityConfig
		if c == nil || c.ClientIP == nil || c.ClientIP.TimeoutSeconds == nil {
			return append(errs, field.Required(timeout, "when session affinity type is "+string(corev1.ServiceAffinityClientIP)))
		}
		if n := *c.ClientIP.TimeoutSeconds; n <= 0 || n > maxAffinitySeconds {
			errs = append(errs, field.Invalid(timeout, n, fmt.Sprintf("must be greater than 0 and less than %d", maxAffinitySeconds)))
		}
	case corev1.ServiceAffinityNone:
		if s.SessionAffinityConfig != nil {
			errs = append(errs, field.Forbidden(config, "must not be set when session affinity is "+string(corev1.ServiceAffinityNone)))
		}
	}
	return errs
}

// validateClusterIPs checks addresses, families and policy against each other.
func validateClusterIPs(spec *field.Path, s *corev1.Service) field.ErrorList {
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	at := spec.Child("clusterIPs")
	ips := s.Spec.ClusterIPs
	var errs field.ErrorList
	if len(ips) > 0 && s.Spec.ClusterIP != ips[0] {
		errs = append(errs, field.Invalid(at, ips, "first value must match `clusterIP`"))
	}
	if len(ips) == 0 && s.Spec.ClusterIP != "" {
		errs = append(errs, field.Required(at, ""))
	}
	errs = append(errs, validateFamilies(spec, s)...)
	if len(ips) > 1 && slices.Contains(ips, corev1.ClusterIPNone) {
		return append(errs, field.Invalid(at, ips, "'None' must be the first and only value"))
	}
	if len(ips) > 2 {
		return append(errs, field.Invalid(at, ips, "may only hold up to 2 values"))
	}
	for i, ip := range ips {
		if ip == corev1.ClusterIPNone {
			continue
		}
		errs = append(errs, rule.IP(at.Index(i), ip)...)
		if f := s.Spec.IPFamilies; i < len(f) && f[i] != familyOf(ip) {
			errs = append(errs, field.Invalid(at.Index(i), ip, fmt.Sprintf("expected an %v value as indicated by `ipFamilies[%v]`", f[i], i)))
		}
	}
	if len(ips) == 2 && familyOf(ips[0]) == familyOf(ips[1]) {
		errs = append(errs, field.Invalid(at, ips, "may specify no more than one IP for each IP family"))
	}
	return errs
}

func validateFamilies(spec *field.Path, s *corev1.Service) field.ErrorList {
	at := spec.Child("ipFamilies")
	errs := rule.OptionalOneOf(spec.Child("ipFamilyPolicy"), s.Spec.IPFamilyPolicy,
		corev1.IPFamilyPolicySingleStack, corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyRequireDualStack)
	seen := sets.New[corev1.IPFamily]()
	for i, f := range s.Spec.IPFamilies {
		errs = append(errs, rule.Supported(at.Index(i), f, corev1.IPv4Protocol, corev1.IPv6Protocol)...)
		if seen.Has(f) {
			errs = append(errs, field.Duplicate(at.Index(i), f))
		}
		seen.Insert(f)
	}
	dual := len(s.Spec.IPFamilies) == 2 || len(s.Spec.ClusterIPs) == 2
	if p := s.Spec.IPFamilyPolicy; dual && (p == nil || *p == corev1.IPFamilyPolicySingleStack) {
		errs = append(errs, field.Invalid(spec.Child("ipFamilyPolicy"), p, "must be RequireDualStack or PreferDualStack when multiple `ipFamilies` are specified"))
	}
	return errs
}

func familyOf(ip string) corev1.IPFamily {
	if isIPv6(ip) {
		return corev1.IPv6Protocol
	}
	return corev1.IPv4Protocol
}

// validateExternal checks what brings traffic in from outside.
func validateExternal(spec *field.Path, s *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	for i, ip := range s.Spec.ExternalIPs {
		at := spec.Child("externalIPs").Index(i)
		if found := rule.IP(at, ip); len(found) > 0 {
			errs = append(errs, found...)
			continue
		}
		errs = append(errs, NonSpecialIP(at, ip)...)
	}
	balanced := s.Spec.Type == corev1.ServiceTypeLoadBalancer
	if ranges := s.Spec.LoadBalancerSourceRanges; len(ranges) > 0 {
		at := spec.Child("LoadBalancerSourceRanges")
		if !balanced {
			errs = append(errs, field.Forbidden(at, "may only be used when `type` is 'LoadBalancer'"))
		}
		for i, r := range ranges {
			errs = append(errs, rule.CIDR(at.Index(i), strings.TrimSpace(r))...)
		}
	}
	if s.Spec.AllocateLoadBalancerNodePorts != nil && !balanced {
		errs = append(errs, field.Forbidden(spec.Child("allocateLoadBalancerNodePorts"), "may only be used when `type` is 'LoadBalancer'"))
	}
	if balanced && s.Spec.AllocateLoadBalancerNodePorts == nil {
		errs = append(errs, field.Required(spec.Child("allocateLoadBalancerNodePorts"), ""))
	}
	if c := s.Spec.LoadBalancerClass; c != nil {
		if !balanced {
			errs = append(errs, field.Forbidden(spec.Child("loadBalancerClass"), "may only be used when `type` is 'LoadBalancer'"))
		}
		errs = append(errs, rule.QualifiedName(spec.Child("loadBalancerClass"), *c)...)
	}
	return errs
}

func validateTraffic(spec *field.Path, s *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	external := spec.Child("externalTrafficPolicy")
	policy := s.Spec.ExternalTrafficPolicy
	switch {
	case policy != "" && !externallyReachable(&s.Spec):
		errs = append(errs, field.Invalid(external, policy, "may only be set for externally-accessible services"))
	case policy == "" && externallyReachable(&s.Spec):
		errs = append(errs, field.Required(external, "must be specified for externally-accessible services"))
	case policy != "":
		errs = append(errs, rule.Supported(external, policy, corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal)...)
	}
	if p := s.Spec.HealthCheckNodePort; p != 0 {
		if !wantsHealthPort(s) {
			errs = append(errs, field.Invalid(spec.Child("healthCheckNodePort"), p, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"))
		}
		for _, m := range validation.IsInRange(int(p), 0, 65535) {
			errs = append(errs, field.Invalid(spec.Child("healthCheckNodePort"), p, m))
		}
	}
	if s.Spec.Type != corev1.ServiceTypeExternalName {
		internal := spec.Child("internalTrafficPolicy")
		if s.Spec.InternalTrafficPolicy == nil {
			errs = append(errs, field.Required(internal, ""))
		} else {
			errs = append(errs, rule.Supported(internal, *s.Spec.InternalTrafficPolicy, corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal)...)
		}
	}
	return append(errs, rule.OptionalOneOf(spec.Child("trafficDistribution"), s.Spec.TrafficDistribution,
		string(corev1.ServiceTrafficDistributionPreferClose), string(corev1.ServiceTrafficDistributionPreferSameZone), string(corev1.ServiceTrafficDistributionPreferSameNode))...)
}

func validateServiceUpdate(s, old *corev1.Service) field.ErrorList {
	spec := field.NewPath("spec")
	errs := keptClusterIPs(spec, s, old)
	if was := old.Spec.LoadBalancerClass; old.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Spec.Type == corev1.ServiceTypeLoadBalancer {
		is := s.Spec.LoadBalancerClass
		if (is == nil) != (was == nil) || is != nil && *is != *was {
			errs = append(errs, field.Invalid(spec.Child("loadBalancerClass"), is, "may not change once set"))
		}
	}
	return append(errs, validateService(s)...)
}

// keptClusterIPs: the primary address stays as long as the service has one;
// a second one can come and go with the policy.
func keptClusterIPs(spec *field.Path, s, old *corev1.Service) field.ErrorList {
	if !hasClusterIP(s) || !hasClusterIP(old) {
		return nil
	}
	var errs field.ErrorList
	at := spec.Child("clusterIPs")
	is, was := s.Spec.ClusterIPs, old.Spec.ClusterIPs
	const primary = "may not change once set"
	if len(was) > 0 && was[0] != "" {
		switch {
		case len(is) == 0:
			errs = append(errs, field.Invalid(at.Index(0), is, "primary clusterIP can not be unset"))
		case is[0] != was[0]:
			errs = append(errs, field.Invalid(at.Index(0), is, primary))
		}
	}
	if len(was) > 1 && len(is) > 1 && was[1] != is[1] {
		errs = append(errs, field.Invalid(at.Index(1), is, primary))
	}
	families, had := s.Spec.IPFamilies, old.Spec.IPFamilies
	if len(families) > 0 && len(had) > 0 && families[0] != had[0] {
		errs = append(errs, field.Invalid(spec.Child("ipFamilies").Index(0), families, "primary ipFamily can not be changed"))
	}
	return errs
}

func validateServiceStatus(s, old *corev1.Service) field.ErrorList {
	ingress := field.NewPath("status", "loadBalancer", "ingress")
	var errs field.ErrorList
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer && len(s.Status.LoadBalancer.Ingress) > 0 && !slices.EqualFunc(
		s.Status.LoadBalancer.Ingress, old.Status.LoadBalancer.Ingress, func(a, b corev1.LoadBalancerIngress) bool { return a.IP == b.IP && a.Hostname == b.Hostname }) {
		errs = append(errs, field.Forbidden(ingress, "may only be used when `spec.type` is LoadBalancer"))
	}
	for i, in := range s.Status.LoadBalancer.Ingress {
		at := ingress.Index(i)
		if in.IP != "" {
			errs = append(errs, rule.IP(at.Child("ip"), in.IP)...)
			if in.IPMode == nil {
				errs = append(errs, field.Required(at.Child("ipMode"), "must be specified when `ip` is set"))
			} else {
				errs = append(errs, rule.Supported(at.Child("ipMode"), *in.IPMode, corev1.LoadBalancerIPModeVIP, corev1.LoadBalancerIPModeProxy)...)
			}
		} else if in.IPMode != nil {
			errs = append(errs, field.Forbidden(at.Child("ipMode"), "may not be specified when `ip` is not set"))
		}
		if in.Hostname != "" {
			errs = append(errs, rule.DNSSubdomain(at.Child("hostname"), in.Hostname)...)
			if validation.IsValidIP(at, in.Hostname) == nil {
				errs = append(errs, field.Invalid(at.Child("hostname"), in.Hostname, "must be a DNS name, not an IP address"))
			}
		}
	}
	return errs
}

func serviceWarnings(_ context.Context, o, _ runtime.Object) []string {
	s := o.(*corev1.Service)
	var texts []string
	if s.Spec.Type == corev1.ServiceTypeExternalName && s.Spec.PublishNotReadyAddresses {
		texts = append(texts, "spec.publishNotReadyAddresses: has no effect for ExternalName services")
	}
	if headless(s) && s.Spec.LoadBalancerIP != "" {
		texts = append(texts, "spec.loadBalancerIP is ignored for headless services")
	}
	if headless(s) && len(s.Spec.ExternalIPs) > 0 {
		texts = append(texts, "spec.externalIPs is ignored for headless services")
	}
	if headless(s) && s.Spec.SessionAffinity != corev1.ServiceAffinityNone {
		texts = append(texts, "spec.SessionAffinity is ignored for headless services")
	}
	return texts
}
