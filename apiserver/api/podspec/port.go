package podspec

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

func validatePorts(path *field.Path, ports []corev1.ContainerPort) field.ErrorList {
	var errs field.ErrorList
	names := sets.New[string]()
	for i := range ports {
		errs = append(errs, validatePort(path.Index(i), &ports[i], names)...)
	}
	return errs
}

func validatePort(path *field.Path, port *corev1.ContainerPort, names sets.Set[string]) field.ErrorList {
	var errs field.ErrorList
	if port.Name != "" {
		if messages := validation.IsValidPortName(port.Name); len(messages) > 0 {
			errs = append(errs, rule.Invalid(path.Child("name"), port.Name, messages)...)
		} else {
			errs = append(errs, uniqueName(path, port.Name, names)...)
		}
	}
	if port.ContainerPort == 0 {
		errs = append(errs, field.Required(path.Child("containerPort"), ""))
	} else {
		errs = append(errs, rule.Port(path.Child("containerPort"), port.ContainerPort)...)
	}
	if port.HostPort != 0 {
		errs = append(errs, rule.Port(path.Child("hostPort"), port.HostPort)...)
	}
	errs = append(errs, rule.OneOf(path.Child("protocol"), port.Protocol, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)...)
	if port.HostIP != "" {
		errs = append(errs, rule.IP(path.Child("hostIP"), port.HostIP)...)
	}
	return errs
}

// hostPorts checks the ports taken on the node: each once, and the same as the
// container's where both are in one network.
func (sc *scope) hostPorts(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := sets.New[string]()
	check := func(path *field.Path, containers []corev1.Container, shared bool) {
		for i := range containers {
			if !shared {
				seen = sets.New[string]()
			}
			ports := path.Index(i).Child("ports")
			for j := range containers[i].Ports {
				errs = append(errs, sc.hostPort(ports.Index(j).Child("hostPort"), &containers[i].Ports[j], seen)...)
			}
		}
	}
	check(path.Child("containers"), sc.spec.Containers, true)
	// Init containers run one after the other, so that each may take what
	// another took.
	check(path.Child("initContainers"), sc.spec.InitContainers, false)
	return errs
}

func (sc *scope) hostPort(path *field.Path, port *corev1.ContainerPort, seen sets.Set[string]) field.ErrorList {
	var errs field.ErrorList
	if sc.spec.HostNetwork && (sc.options.Pod || port.HostPort != 0) && port.HostPort != port.ContainerPort {
		errs = append(errs, field.Invalid(path, port.HostPort, "must match `containerPort` when `hostNetwork` is true"))
	}
	if port.HostPort == 0 {
		return errs
	}
	key := fmt.Sprintf("%s/%s/%d", port.Protocol, port.HostIP, port.HostPort)
	if seen.Has(key) {
		return append(errs, field.Duplicate(path, key))
	}
	seen.Insert(key)
	return errs
}
