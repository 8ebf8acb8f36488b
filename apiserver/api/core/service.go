package core

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

const defaultAffinitySeconds int32 = 10800

func services(d Deps) *registry.Resource {
	return &registry.Resource{
		Kind: kind("Service"), Name: "services", Singular: "service", ShortNames: []string{"svc"}, Categories: []string{"all"},
		Namespaced: true, Verbs: row.AllVerbs(), StoragePrefix: "services/specs",
		New: row.New[corev1.Service], NewList: row.New[corev1.ServiceList],
		Strategy: registry.Strategy{
			Default:          registry.Do(defaultService),
			PrepareForCreate: registry.Prepare(prepareService),
			PrepareForUpdate: registry.PrepareUpdate(prepareServiceUpdate),
			Validate:         registry.Check(validateService),
			ValidateUpdate:   registry.CheckUpdate(validateServiceUpdate),
			Warnings:         serviceWarnings,
			Allocate:         allocateService(d.Services),
			ValidName:        apivalidation.NameIsDNSLabel,
			CreateOnUpdate:   true,
		},
		Delete:  registry.DeleteStrategy{ReturnObject: true},
		Columns: serviceColumns(),
		Fields: func(o runtime.Object) fields.Set {
			s := o.(*corev1.Service)
			return fields.Set{"spec.clusterIP": s.Spec.ClusterIP, "spec.type": string(s.Spec.Type)}
		},
		Subresources: []registry.Subresource{
			{Name: "proxy", Kind: kind("ServiceProxyOptions"), New: row.New[corev1.ServiceProxyOptions], Verbs: row.Proxy(), Connect: true},
			row.Status(registry.Strategy{
				Default:          registry.Do(defaultService),
				PrepareForUpdate: registry.PrepareUpdate(func(s, old *corev1.Service) { s.Spec = old.Spec }),
				ValidateUpdate:   registry.CheckUpdate(validateServiceStatus),
			}),
		},
	}
}

func defaultService(s *corev1.Service) {
	spec := &s.Spec
	if spec.Type == "" {
		spec.Type = corev1.ServiceTypeClusterIP
	}
	defaultAffinity(spec)
	for i := range spec.Ports {
		p := &spec.Ports[i]
		if p.Protocol == "" {
			p.Protocol = corev1.ProtocolTCP
		}
		if p.TargetPort == intstr.FromInt32(0) || p.TargetPort == intstr.FromString("") {
			p.TargetPort = intstr.FromInt32(p.Port)
		}
	}
	defaultTraffic(spec)
	if spec.Type == corev1.ServiceTypeLoadBalancer {
		for i := range s.Status.LoadBalancer.Ingress {
			if in := &s.Status.LoadBalancer.Ingress[i]; in.IP != "" && in.IPMode == nil {
				mode := corev1.LoadBalancerIPModeVIP
				in.IPMode = &mode
			}
		}
	}
}

func defaultAffinity(spec *corev1.ServiceSpec) {
	if spec.SessionAffinity == "" {
		spec.SessionAffinity = corev1.ServiceAffinityNone
	}
	if spec.SessionAffinity == corev1.ServiceAffinityNone {
		spec.SessionAffinityConfig = nil
	}
	if spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return
	}
	if c := spec.SessionAffinityConfig; c == nil || c.ClientIP == nil || c.ClientIP.TimeoutSeconds == nil {
		seconds := defaultAffinitySeconds
		spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &seconds}}
	}
}

func defaultTraffic(spec *corev1.ServiceSpec) {
	if spec.ExternalTrafficPolicy == "" && externallyReachable(spec) {
		spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	}
	if spec.InternalTrafficPolicy == nil && spec.Type != corev1.ServiceTypeExternalName {
		policy := corev1.ServiceInternalTrafficPolicyCluster
		spec.InternalTrafficPolicy = &policy
	}
	if spec.Type == corev1.ServiceTypeLoadBalancer && spec.AllocateLoadBalancerNodePorts == nil {
		yes := true
		spec.AllocateLoadBalancerNodePorts = &yes
	}
}

// externallyReachable reports whether traffic can come in from outside the
// cluster.
func externallyReachable(spec *corev1.ServiceSpec) bool {
	return spec.Type == corev1.ServiceTypeLoadBalancer || spec.Type == corev1.ServiceTypeNodePort ||
		spec.Type == corev1.ServiceTypeClusterIP && len(spec.ExternalIPs) > 0
}

func isIPv6(s string) bool {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Addr().Is6()
	}
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6()
}
