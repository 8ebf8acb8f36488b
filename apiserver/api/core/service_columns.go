package core

import (
	"fmt"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

func serviceColumns() []registry.Column {
	return []registry.Column{
		row.NameColumn(),
		row.Text("Type", func(s *corev1.Service) any { return string(s.Spec.Type) }),
		row.Text("Cluster-IP", func(s *corev1.Service) any {
			if len(s.Spec.ClusterIPs) > 0 {
				return s.Spec.ClusterIPs[0]
			}
			return row.Or(s.Spec.ClusterIP)
		}),
		row.Text("External-IP", func(s *corev1.Service) any { return externalCell(s) }),
		row.Text("Port(s)", func(s *corev1.Service) any { return row.Or(portsCell(s.Spec.Ports)) }),
		row.AgeColumn(),
		row.Wide(row.Text("Selector", func(s *corev1.Service) any { return row.SelectorMap(s.Spec.Selector) })),
	}
}

// externalCell shows where a service can be reached from outside.
func externalCell(s *corev1.Service) string {
	external := strings.Join(s.Spec.ExternalIPs, ",")
	switch s.Spec.Type {
	case corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort:
		return row.Or(external)
	case corev1.ServiceTypeLoadBalancer:
		all := balancerAddresses(s)
		if len(s.Spec.ExternalIPs) > 0 {
			all = append(all, s.Spec.ExternalIPs...)
			return strings.Join(all, ",")
		}
		if len(all) == 0 {
			return "<pending>"
		}
		return strings.Join(all, ",")
	case corev1.ServiceTypeExternalName:
		return s.Spec.ExternalName
	}
	return row.Unknown
}

func balancerAddresses(s *corev1.Service) []string {
	var all []string
	for _, in := range s.Status.LoadBalancer.Ingress {
		switch {
		case in.IP != "":
			all = append(all, in.IP)
		case in.Hostname != "":
			all = append(all, in.Hostname)
		}
	}
	sort.Strings(all)
	return all
}

func portsCell(ports []corev1.ServicePort) string {
	cells := make([]string, len(ports))
	for i, p := range ports {
		cells[i] = fmt.Sprintf("%d/%s", p.Port, p.Protocol)
		if p.NodePort > 0 {
			cells[i] = fmt.Sprintf("%d:%d/%s", p.Port, p.NodePort, p.Protocol)
		}
	}
	return strings.Join(cells, ",")
}
