package core

import corev1 "k8s.io/api/core/v1"

// Before a service is validated, the fields that mean the same are brought in
// step, and what the client left out of what the server had filled is filled
// again.

func prepareService(s *corev1.Service) {
	s.Status = corev1.ServiceStatus{}
	alignClusterIPs(s, nil)
}

func prepareServiceUpdate(s, old *corev1.Service) {
	s.Status = old.Status
	dropUnused(s, old)
	carryAllocated(s, old)
	alignClusterIPs(s, old)
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		s.Status.LoadBalancer = corev1.LoadBalancerStatus{}
	}
}

// alignClusterIPs keeps clusterIP and clusterIPs in step for clients that know
// only the first.
func alignClusterIPs(s, old *corev1.Service) {
	spec := &s.Spec
	if old == nil {
		if spec.ClusterIP != "" && len(spec.ClusterIPs) == 0 {
			spec.ClusterIPs = []string{spec.ClusterIP}
		}
		return
	}
	was := &old.Spec
	sameList := equalStrings(spec.ClusterIPs, was.ClusterIPs)
	switch {
	case was.ClusterIP != "" && spec.ClusterIP == "" && sameList:
		spec.ClusterIPs = nil
	case spec.ClusterIP != was.ClusterIP && spec.ClusterIP != "" && sameList:
		spec.ClusterIPs = []string{spec.ClusterIP}
	case was.ClusterIP == "" && spec.ClusterIP != "" && len(spec.ClusterIPs) == 0:
		spec.ClusterIPs = []string{spec.ClusterIP}
	}
}

func equalStrings(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// carryAllocated gives back to a service what was allocated for it and the
// client did not mention.
func carryAllocated(s, old *corev1.Service) {
	if hasClusterIP(old) && hasClusterIP(s) {
		if s.Spec.ClusterIP == "" && len(s.Spec.ClusterIPs) == 0 {
			s.Spec.ClusterIP = old.Spec.ClusterIP
			s.Spec.ClusterIPs = append([]string(nil), old.Spec.ClusterIPs...)
		} else if s.Spec.ClusterIP == "" {
			s.Spec.ClusterIP = s.Spec.ClusterIPs[0]
		} else if len(s.Spec.ClusterIPs) == 0 && s.Spec.ClusterIP == old.Spec.ClusterIP {
			s.Spec.ClusterIPs = append([]string(nil), old.Spec.ClusterIPs...)
		}
	}
	if wantsNodePorts(old) && wantsNodePorts(s) {
		carryNodePorts(s, old)
	}
	if wantsHealthPort(old) && wantsHealthPort(s) && s.Spec.HealthCheckNodePort == 0 {
		s.Spec.HealthCheckNodePort = old.Spec.HealthCheckNodePort
	}
}

// carryNodePorts finds a port's old node port by protocol and number.
func carryNodePorts(s, old *corev1.Service) {
	type id struct {
		protocol corev1.Protocol
		port     int32
	}
	had, taken := map[id]int32{}, map[int32]bool{}
	for _, p := range old.Spec.Ports {
		had[id{p.Protocol, p.Port}] = p.NodePort
	}
	for _, p := range s.Spec.Ports {
		taken[p.NodePort] = true
	}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if was := had[id{p.Protocol, p.Port}]; p.NodePort == 0 && was != 0 && !taken[was] {
			p.NodePort = was
		}
	}
}

// dropUnused clears what a change of type leaves behind, unless the client
// changed it too and so means it.
func dropUnused(s, old *corev1.Service) {
	spec, was := &s.Spec, &old.Spec
	if hasClusterIP(old) && !hasClusterIP(s) && spec.Type == corev1.ServiceTypeExternalName {
		dropAddresses(spec, was)
	}
	if wantsNodePorts(old) && !wantsNodePorts(s) && sameNodePorts(spec.Ports, was.Ports) {
		for i := range spec.Ports {
			spec.Ports[i].NodePort = 0
		}
	}
	if wantsHealthPort(old) && !wantsHealthPort(s) && spec.HealthCheckNodePort == was.HealthCheckNodePort {
		spec.HealthCheckNodePort = 0
	}
	if spec.Type != corev1.ServiceTypeLoadBalancer {
		dropLoadBalancer(spec, was)
	}
	if externallyReachable(was) && !externallyReachable(spec) && spec.ExternalTrafficPolicy == was.ExternalTrafficPolicy {
		spec.ExternalTrafficPolicy = ""
	}
	if spec.Type == corev1.ServiceTypeExternalName && was.Type != corev1.ServiceTypeExternalName {
		if p := spec.InternalTrafficPolicy; p != nil && was.InternalTrafficPolicy != nil && *p == *was.InternalTrafficPolicy {
			spec.InternalTrafficPolicy = nil
		}
	}
	if was.Type == corev1.ServiceTypeExternalName && spec.Type != corev1.ServiceTypeExternalName && spec.ExternalName == was.ExternalName {
		spec.ExternalName = ""
	}
}

func dropAddresses(spec, was *corev1.ServiceSpec) {
	if spec.ClusterIP == was.ClusterIP {
		spec.ClusterIP = ""
	}
	if equalStrings(spec.ClusterIPs, was.ClusterIPs) {
		spec.ClusterIPs = nil
	}
	if len(spec.IPFamilies) == len(was.IPFamilies) {
		spec.IPFamilies = nil
	}
	if spec.IPFamilyPolicy != nil && was.IPFamilyPolicy != nil && *spec.IPFamilyPolicy == *was.IPFamilyPolicy {
		spec.IPFamilyPolicy = nil
	}
}

func dropLoadBalancer(spec, was *corev1.ServiceSpec) {
	if was.Type != corev1.ServiceTypeLoadBalancer {
		return
	}
	if a, b := spec.AllocateLoadBalancerNodePorts, was.AllocateLoadBalancerNodePorts; a != nil && b != nil && *a == *b {
		spec.AllocateLoadBalancerNodePorts = nil
	}
	if a, b := spec.LoadBalancerClass, was.LoadBalancerClass; a != nil && b != nil && *a == *b {
		spec.LoadBalancerClass = nil
	}
}

func sameNodePorts(a, b []corev1.ServicePort) bool {
	had := map[int32]bool{}
	for _, p := range b {
		had[p.NodePort] = true
	}
	for _, p := range a {
		if p.NodePort != 0 && !had[p.NodePort] {
			return false
		}
	}
	return true
}

// hasClusterIP: the type has an address in the cluster, be it None.
func hasClusterIP(s *corev1.Service) bool { return s.Spec.Type != corev1.ServiceTypeExternalName }

// wantsNodePorts reports whether the service's ports are opened on every node.
func wantsNodePorts(s *corev1.Service) bool {
	switch s.Spec.Type {
	case corev1.ServiceTypeNodePort:
		return true
	case corev1.ServiceTypeLoadBalancer:
		return s.Spec.AllocateLoadBalancerNodePorts == nil || *s.Spec.AllocateLoadBalancerNodePorts
	}
	return false
}

// wantsHealthPort reports whether nodes tell load balancers which of them have
// endpoints.
func wantsHealthPort(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

func headless(s *corev1.Service) bool { return s.Spec.ClusterIP == corev1.ClusterIPNone }
