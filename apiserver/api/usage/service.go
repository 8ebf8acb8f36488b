package usage

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
)

var serviceResources = []corev1.ResourceName{corev1.ResourceServices, corev1.ResourceServicesNodePorts, corev1.ResourceServicesLoadBalancers}

func addService(list corev1.ResourceList, s *corev1.Service) {
	balancers, ports := 0, 0
	switch s.Spec.Type {
	case corev1.ServiceTypeNodePort:
		ports = len(s.Spec.Ports)
	case corev1.ServiceTypeLoadBalancer:
		balancers, ports = 1, balancerPorts(s)
	}
	list[corev1.ResourceServices] = *resource.NewQuantity(1, resource.DecimalSI)
	list[corev1.ResourceServicesNodePorts] = *resource.NewQuantity(int64(ports), resource.DecimalSI)
	list[corev1.ResourceServicesLoadBalancers] = *resource.NewQuantity(int64(balancers), resource.DecimalSI)
}

// balancerPorts are all ports, or those with a node port when the service wants
// none by itself.
func balancerPorts(s *corev1.Service) int {
	if ptr.Deref(s.Spec.AllocateLoadBalancerNodePorts, true) {
		return len(s.Spec.Ports)
	}
	n := 0
	for _, p := range s.Spec.Ports {
		if p.NodePort != 0 {
			n++
		}
	}
	return n
}
