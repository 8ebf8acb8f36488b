package endpointslice

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/yare-io/yare/controllers/podstatus"
	"github.com/yare-io/yare/controllers/serviceendpoints"
	"github.com/yare-io/yare/controllers/slicepack"
)

// Managed is the managed-by label of this controller's slices.
const Managed = "endpointslice-controller.k8s.io"

var serviceKind = corev1.SchemeGroupVersion.WithKind("Service")

// groups returns the endpoints the service should have, by address type and by
// the ports they resolve to. node finds a node by name, nil if it is not known.
func groups(service *corev1.Service, pods []*corev1.Pod, node func(string) *corev1.Node) []slicepack.Group {
	var all []slicepack.Group
	for _, family := range addressTypes(service) {
		all = append(all, groupsOf(family, service, pods, node)...)
	}
	return all
}

func groupsOf(family discoveryv1.AddressType, service *corev1.Service, pods []*corev1.Pod, node func(string) *corev1.Node) []slicepack.Group {
	byPorts := map[string]*slicepack.Group{}
	var order []string
	for _, pod := range pods {
		if !serviceendpoints.Eligible(pod) {
			continue
		}
		addresses := addressesOf(family, pod)
		if len(addresses) == 0 {
			continue
		}
		ports := portsOf(service, pod)
		key := fmt.Sprint(portNumbers(ports))
		group := byPorts[key]
		if group == nil {
			group = &slicepack.Group{AddressType: family, Ports: ports}
			byPorts[key] = group
			order = append(order, key)
		}
		group.Endpoints = append(group.Endpoints, endpoint(service, pod, addresses, node(pod.Spec.NodeName)))
	}
	if len(order) == 0 {
		return []slicepack.Group{{AddressType: family, Ports: []discoveryv1.EndpointPort{}}}
	}
	slices.Sort(order)
	found := make([]slicepack.Group, 0, len(order))
	for _, key := range order {
		found = append(found, *byPorts[key])
	}
	return found
}

func addressTypes(service *corev1.Service) []discoveryv1.AddressType {
	var types []discoveryv1.AddressType
	for _, family := range service.Spec.IPFamilies {
		types = append(types, discoveryv1.AddressType(family))
	}
	if len(types) > 0 {
		return types
	}
	if ip, err := netip.ParseAddr(service.Spec.ClusterIP); err == nil && ip.Is6() {
		return []discoveryv1.AddressType{discoveryv1.AddressTypeIPv6}
	}
	return []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4}
}

func addressesOf(family discoveryv1.AddressType, pod *corev1.Pod) []string {
	var found []string
	for _, address := range serviceendpoints.Addresses(pod) {
		ip, err := netip.ParseAddr(address)
		if err == nil && ip.Is4() == (family == discoveryv1.AddressTypeIPv4) {
			found = append(found, address)
		}
	}
	return found
}

// portsOf resolves the service's ports on the pod; those it does not have are
// left out.
func portsOf(service *corev1.Service, pod *corev1.Pod) []discoveryv1.EndpointPort {
	ports := []discoveryv1.EndpointPort{}
	for i := range service.Spec.Ports {
		port := service.Spec.Ports[i]
		number, ok := serviceendpoints.TargetPort(pod, &port)
		if !ok {
			continue
		}
		ports = append(ports, discoveryv1.EndpointPort{
			Name: &port.Name, Protocol: &port.Protocol, Port: &number, AppProtocol: port.AppProtocol,
		})
	}
	return ports
}

func portNumbers(ports []discoveryv1.EndpointPort) []string {
	numbers := make([]string, 0, len(ports))
	for _, port := range ports {
		numbers = append(numbers, fmt.Sprintf("%s/%s/%05d", *port.Name, *port.Protocol, *port.Port))
	}
	return numbers
}

func endpoint(service *corev1.Service, pod *corev1.Pod, addresses []string, node *corev1.Node) discoveryv1.Endpoint {
	serving := podstatus.IsReady(pod)
	terminating := pod.DeletionTimestamp != nil
	ready := service.Spec.PublishNotReadyAddresses || serving && !terminating
	e := discoveryv1.Endpoint{
		Addresses:  addresses,
		Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating},
		TargetRef: &corev1.ObjectReference{
			Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
		},
	}
	if pod.Spec.NodeName != "" {
		e.NodeName = &pod.Spec.NodeName
	}
	if hostname := serviceendpoints.Hostname(pod, service); hostname != "" {
		e.Hostname = &hostname
	}
	if node != nil {
		if zone := node.Labels[corev1.LabelTopologyZone]; zone != "" {
			e.Zone = &zone
		}
	}
	e.Hints = hints(service, &e)
	return e
}

// hints follow the service's trafficDistribution: stay in the zone, or on the node.
func hints(service *corev1.Service, e *discoveryv1.Endpoint) *discoveryv1.EndpointHints {
	distribution := service.Spec.TrafficDistribution
	if distribution == nil || e.Conditions.Ready == nil || !*e.Conditions.Ready {
		return nil
	}
	var hints discoveryv1.EndpointHints
	if e.Zone != nil {
		hints.ForZones = []discoveryv1.ForZone{{Name: *e.Zone}}
	}
	if *distribution == corev1.ServiceTrafficDistributionPreferSameNode && e.NodeName != nil {
		hints.ForNodes = []discoveryv1.ForNode{{Name: *e.NodeName}}
	}
	if hints.ForZones == nil && hints.ForNodes == nil {
		return nil
	}
	return &hints
}

// blank makes an empty slice of the service. trigger is when the change
// happened that it is written for; zero: unknown.
func blank(service *corev1.Service, family discoveryv1.AddressType, trigger time.Time) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName:    namePrefix(service.Name),
			Namespace:       service.Namespace,
			Labels:          sliceLabels(service),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(service, serviceKind)},
		},
		AddressType: family,
		Endpoints:   []discoveryv1.Endpoint{},
	}
	if !trigger.IsZero() {
		slice.Annotations = map[string]string{corev1.EndpointsLastChangeTriggerTime: trigger.UTC().Format(time.RFC3339Nano)}
	}
	return slice
}

func namePrefix(service string) string {
	if prefix := service + "-"; len(prefix) <= validation.DNS1123SubdomainMaxLength {
		return prefix
	}
	return service
}

// sliceLabels are the service's labels, but those that say what a slice is.
func sliceLabels(service *corev1.Service) map[string]string {
	labels := maps.Clone(service.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.DeleteFunc(labels, func(key, _ string) bool { return strings.HasPrefix(key, "endpointslice.kubernetes.io/") })
	delete(labels, corev1.IsHeadlessService)
	labels[discoveryv1.LabelServiceName] = service.Name
	labels[discoveryv1.LabelManagedBy] = Managed
	if serviceendpoints.IsHeadless(service) {
		labels[corev1.IsHeadlessService] = ""
	}
	return labels
}
