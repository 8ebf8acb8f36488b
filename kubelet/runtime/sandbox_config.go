package runtime

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/yare-io/yare/kubelet/cri"
)

func (r *Runtime) sandboxConfig(pod Pod, attempt uint32) (*runtimeapi.PodSandboxConfig, error) {
	resolver, fallback, err := r.DNS.ForPod(pod.Pod)
	if err != nil {
		return nil, err
	}
	if fallback && attempt == 0 {
		r.Events.Pod(pod.Pod, v1.EventTypeWarning, "MissingClusterDNS",
			"pod: %q. kubelet does not have ClusterDNS IP configured and cannot create Pod using %q policy. Falling back to %q policy.",
			pod.Name+"_"+pod.Namespace+"("+string(pod.UID)+")", pod.Spec.DNSPolicy, v1.DNSDefault)
	}
	hostname, _, err := r.DNS.Hostname(pod.Pod, r.NodeName)
	if err != nil {
		return nil, err
	}
	linux, err := r.sandboxLinux(pod)
	if err != nil {
		return nil, err
	}
	config := &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{
			Name: pod.Name, Namespace: pod.Namespace, Uid: string(pod.UID), Attempt: attempt,
		},
		LogDirectory: r.LogDir(pod.Namespace, pod.Name, pod.UID),
		DnsConfig:    resolver,
		PortMappings: portMappings(pod.Pod),
		Labels:       podLabels(pod.Pod),
		Annotations:  maps.Clone(pod.Annotations),
		Linux:        linux,
	}
	if config.Annotations == nil {
		config.Annotations = map[string]string{}
	}
	if grace := pod.Spec.TerminationGracePeriodSeconds; grace != nil {
		config.Annotations[cri.AnnotationPodGracePeriod] = strconv.FormatInt(*grace, 10)
	}
	if !pod.Spec.HostNetwork {
		config.Hostname = hostname
	}
	return config, nil
}

func podLabels(pod *v1.Pod) map[string]string {
	labels := maps.Clone(pod.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[cri.LabelPodName] = pod.Name
	labels[cri.LabelPodNamespace] = pod.Namespace
	labels[cri.LabelPodUID] = string(pod.UID)
	return labels
}

func portMappings(pod *v1.Pod) []*runtimeapi.PortMapping {
	if pod.Spec.HostNetwork {
		return nil
	}
	var mappings []*runtimeapi.PortMapping
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			for _, p := range list[i].Ports {
				if p.HostPort > 0 {
					mappings = append(mappings, &runtimeapi.PortMapping{
						Protocol: protocol(p.Protocol), ContainerPort: p.ContainerPort, HostPort: p.HostPort, HostIp: p.HostIP,
					})
				}
			}
		}
	}
	return mappings
}

func protocol(p v1.Protocol) runtimeapi.Protocol {
	switch p {
	case v1.ProtocolUDP:
		return runtimeapi.Protocol_UDP
	case v1.ProtocolSCTP:
		return runtimeapi.Protocol_SCTP
	}
	return runtimeapi.Protocol_TCP
}

func (r *Runtime) sandboxLinux(pod Pod) (*runtimeapi.LinuxPodSandboxConfig, error) {
	if pod.Spec.HostUsers != nil && !*pod.Spec.HostUsers {
		return nil, fmt.Errorf("hostUsers: false: user namespaces are not supported on this node")
	}
	sysctls, err := r.sysctls(pod.Pod)
	if err != nil {
		return nil, err
	}
	security := &runtimeapi.LinuxSandboxSecurityContext{
		NamespaceOptions: namespaceOptions(pod.Pod),
		Privileged:       anyPrivileged(pod.Pod),
		Seccomp:          &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault},
	}
	if sc := pod.Spec.SecurityContext; sc != nil {
		security.RunAsUser, security.RunAsGroup = int64Value(sc.RunAsUser), int64Value(sc.RunAsGroup)
		if security.RunAsUser == nil {
			security.RunAsGroup = nil
		}
		security.SupplementalGroups = podGroups(pod)
		security.SelinuxOptions = selinux(sc.SELinuxOptions)
	}
	return &runtimeapi.LinuxPodSandboxConfig{
		CgroupParent: pod.CgroupParent, SecurityContext: security, Sysctls: sysctls,
	}, nil
}

// safeSysctls are those that cannot harm other pods or the node.
var safeSysctls = []string{
	"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
	"net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time",
	"net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes",
	"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
}

func (r *Runtime) sysctls(pod *v1.Pod) (map[string]string, error) {
	if pod.Spec.SecurityContext == nil || len(pod.Spec.SecurityContext.Sysctls) == 0 {
		return nil, nil
	}
	out := map[string]string{}
	for _, s := range pod.Spec.SecurityContext.Sysctls {
		name := strings.ReplaceAll(s.Name, "/", ".")
		if !r.SysctlAllowed(name) {
			return nil, fmt.Errorf("forbidden sysctl: %q not allowlisted", s.Name)
		}
		out[name] = s.Value
	}
	return out, nil
}

// SysctlAllowed says whether a pod may set the sysctl.
func (r *Runtime) SysctlAllowed(name string) bool {
	for _, allowed := range append(safeSysctls, r.AllowedUnsafeSysctls...) {
		prefix, glob := strings.CutSuffix(allowed, "*")
		if name == allowed || (glob && strings.HasPrefix(name, prefix)) {
			return true
		}
	}
	return false
}

func anyPrivileged(pod *v1.Pod) bool {
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if sc := list[i].SecurityContext; sc != nil && sc.Privileged != nil && *sc.Privileged {
				return true
			}
		}
	}
	return false
}

func int64Value(p *int64) *runtimeapi.Int64Value {
	if p == nil {
		return nil
	}
	return &runtimeapi.Int64Value{Value: *p}
}

func podGroups(pod Pod) []int64 {
	groups := append([]int64(nil), pod.Groups...)
	if sc := pod.Spec.SecurityContext; sc != nil {
		if sc.FSGroup != nil {
			groups = append(groups, *sc.FSGroup)
		}
		groups = append(groups, sc.SupplementalGroups...)
	}
	return groups
}

func selinux(o *v1.SELinuxOptions) *runtimeapi.SELinuxOption {
	if o == nil {
		return nil
	}
	return &runtimeapi.SELinuxOption{User: o.User, Role: o.Role, Type: o.Type, Level: o.Level}
}
