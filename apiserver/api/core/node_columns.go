package core

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

const (
	roleLabelPrefix = "node-role.kubernetes.io/"
	roleLabel       = "kubernetes.io/role"
)

func nodeColumns() []registry.Column {
	info := func(name string, value func(corev1.NodeSystemInfo) string) registry.Column {
		return row.Wide(row.Text(name, func(n *corev1.Node) any {
			if v := value(n.Status.NodeInfo); v != "" {
				return v
			}
			return row.Unknown
		}))
	}
	return []registry.Column{
		row.NameColumn(),
		row.Text("Status", func(n *corev1.Node) any { return nodeStatus(n) }),
		row.Text("Roles", func(n *corev1.Node) any { return row.Or(strings.Join(nodeRoles(n), ",")) }),
		row.AgeColumn(),
		row.Text("Version", func(n *corev1.Node) any { return n.Status.NodeInfo.KubeletVersion }),
		row.Wide(row.Text("Internal-IP", func(n *corev1.Node) any { return nodeAddress(n, corev1.NodeInternalIP) })),
		row.Wide(row.Text("External-IP", func(n *corev1.Node) any { return nodeAddress(n, corev1.NodeExternalIP) })),
		info("OS-Image", func(i corev1.NodeSystemInfo) string { return i.OSImage }),
		info("Kernel-Version", func(i corev1.NodeSystemInfo) string { return i.KernelVersion }),
		info("Container-Runtime", func(i corev1.NodeSystemInfo) string { return i.ContainerRuntimeVersion }),
	}
}

func nodeStatus(n *corev1.Node) string {
	status := "Unknown"
	for _, c := range n.Status.Conditions {
		if c.Type != corev1.NodeReady {
			continue
		}
		status = "NotReady"
		if c.Status == corev1.ConditionTrue {
			status = "Ready"
		}
	}
	if n.Spec.Unschedulable {
		status += ",SchedulingDisabled"
	}
	return status
}

func nodeRoles(n *corev1.Node) []string {
	var roles []string
	for key, value := range n.Labels {
		if role, ok := strings.CutPrefix(key, roleLabelPrefix); ok && role != "" {
			roles = append(roles, role)
		} else if key == roleLabel && value != "" {
			roles = append(roles, value)
		}
	}
	slices.Sort(roles)
	return slices.Compact(roles)
}

func nodeAddress(n *corev1.Node, t corev1.NodeAddressType) string {
	for _, a := range n.Status.Addresses {
		if a.Type == t {
			return a.Address
		}
	}
	return row.None
}
