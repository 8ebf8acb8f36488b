package endpoints

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/controllers/podstatus"
	"github.com/yare-io/yare/controllers/serviceendpoints"
)

const (
	// capacity is how many addresses one Endpoints object holds at most.
	capacity     = 1000
	truncated    = "truncated"
	managedLabel = "endpoints.kubernetes.io/managed-by"
	managedBy    = "endpoint-controller"
)

// desired returns the Endpoints object of the service. The trigger time is kept
// from current unless the call names a new one.
func desired(service *corev1.Service, pods []*corev1.Pod, current *corev1.Endpoints, trigger time.Time) *corev1.Endpoints {
	wanted := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: service.Name, Namespace: service.Namespace}}
	if current != nil {
		wanted = current.DeepCopy()
	}
	subsets := pack(candidates(service, pods))
	wanted.Annotations = annotations(wanted.Annotations, trigger, truncate(&subsets))
	wanted.Subsets = subsets
	wanted.Labels = labelsOf(service)
	return wanted
}

// same says whether there is nothing to write but a trigger time.
func same(a, b *corev1.Endpoints) bool {
	return equality.Semantic.DeepEqual(a.Subsets, b.Subsets) &&
		equality.Semantic.DeepEqual(a.Labels, b.Labels) &&
		a.Annotations[corev1.EndpointsOverCapacity] == b.Annotations[corev1.EndpointsOverCapacity]
}

func labelsOf(service *corev1.Service) map[string]string {
	labels := maps.Clone(service.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	delete(labels, corev1.IsHeadlessService)
	if serviceendpoints.IsHeadless(service) {
		labels[corev1.IsHeadlessService] = ""
	}
	labels[managedLabel] = managedBy
	return labels
}

func annotations(before map[string]string, trigger time.Time, overCapacity bool) map[string]string {
	after := maps.Clone(before)
	if after == nil {
		after = map[string]string{}
	}
	delete(after, corev1.EndpointsLastChangeTriggerTime)
	delete(after, corev1.EndpointsOverCapacity)
	if !trigger.IsZero() {
		after[corev1.EndpointsLastChangeTriggerTime] = trigger.UTC().Format(time.RFC3339Nano)
	}
	if overCapacity {
		after[corev1.EndpointsOverCapacity] = truncated
	}
	return after
}

// candidate is one address on its ports.
type candidate struct {
	address corev1.EndpointAddress
	ports   []corev1.EndpointPort
	ready   bool
}

func candidates(service *corev1.Service, pods []*corev1.Pod) []candidate {
	var found []candidate
	for _, pod := range pods {
		if !serviceendpoints.Eligible(pod) || pod.DeletionTimestamp != nil && !service.Spec.PublishNotReadyAddresses {
			continue
		}
		ip := addressFor(service, pod)
		if ip == "" {
			continue
		}
		ports := portsOf(service, pod)
		if len(ports) == 0 && len(service.Spec.Ports) > 0 {
			continue
		}
		found = append(found, candidate{
			address: addressOf(service, pod, ip),
			ports:   ports,
			ready:   service.Spec.PublishNotReadyAddresses || podstatus.IsReady(pod),
		})
	}
	return found
}

// addressFor returns the pod's address of the service's first family.
func addressFor(service *corev1.Service, pod *corev1.Pod) string {
	wantV6 := len(service.Spec.IPFamilies) > 0 && service.Spec.IPFamilies[0] == corev1.IPv6Protocol
	if len(service.Spec.IPFamilies) == 0 {
		ip, err := netip.ParseAddr(service.Spec.ClusterIP)
		wantV6 = err == nil && ip.Is6()
	}
	for _, address := range serviceendpoints.Addresses(pod) {
		if ip, err := netip.ParseAddr(address); err == nil && ip.Is6() == wantV6 {
			return address
		}
	}
	return ""
}

func addressOf(service *corev1.Service, pod *corev1.Pod, ip string) corev1.EndpointAddress {
	address := corev1.EndpointAddress{
		IP:       ip,
		Hostname: serviceendpoints.Hostname(pod, service),
		TargetRef: &corev1.ObjectReference{
			Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
		},
	}
	if pod.Spec.NodeName != "" {
		address.NodeName = &pod.Spec.NodeName
	}
	return address
}

func portsOf(service *corev1.Service, pod *corev1.Pod) []corev1.EndpointPort {
	var ports []corev1.EndpointPort
	for i := range service.Spec.Ports {
		port := &service.Spec.Ports[i]
		number, ok := serviceendpoints.TargetPort(pod, port)
		if !ok {
			continue
		}
		ports = append(ports, corev1.EndpointPort{
			Name: port.Name, Port: number, Protocol: port.Protocol, AppProtocol: port.AppProtocol,
		})
	}
	return ports
}

// pack gathers addresses with the same ports into one subset, in a fixed order.
func pack(found []candidate) []corev1.EndpointSubset {
	var subsets []corev1.EndpointSubset
	for _, c := range found {
		at := slices.IndexFunc(subsets, func(s corev1.EndpointSubset) bool { return equality.Semantic.DeepEqual(s.Ports, c.ports) })
		if at < 0 {
			at = len(subsets)
			subsets = append(subsets, corev1.EndpointSubset{Ports: c.ports})
		}
		subset := &subsets[at]
		if c.ready {
			subset.Addresses = append(subset.Addresses, c.address)
		} else {
			subset.NotReadyAddresses = append(subset.NotReadyAddresses, c.address)
		}
	}
	for i := range subsets {
		slices.SortFunc(subsets[i].Addresses, compareAddresses)
		slices.SortFunc(subsets[i].NotReadyAddresses, compareAddresses)
	}
	slices.SortFunc(subsets, func(a, b corev1.EndpointSubset) int { return slices.CompareFunc(a.Ports, b.Ports, comparePorts) })
	return subsets
}

func compareAddresses(a, b corev1.EndpointAddress) int {
	return cmp.Or(cmp.Compare(a.IP, b.IP), cmp.Compare(a.TargetRef.UID, b.TargetRef.UID))
}

func comparePorts(a, b corev1.EndpointPort) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
}

// truncate cuts addresses beyond the capacity, those not ready first, and says
// whether it had to.
func truncate(subsets *[]corev1.EndpointSubset) bool {
	room, cut := capacity, false
	take := func(addresses []corev1.EndpointAddress) []corev1.EndpointAddress {
		if len(addresses) > room {
			cut = true
			addresses = addresses[:room]
		}
		room -= len(addresses)
		return addresses
	}
	for i := range *subsets {
		(*subsets)[i].Addresses = take((*subsets)[i].Addresses)
	}
	for i := range *subsets {
		(*subsets)[i].NotReadyAddresses = take((*subsets)[i].NotReadyAddresses)
	}
	*subsets = slices.DeleteFunc(*subsets, func(s corev1.EndpointSubset) bool {
		return len(s.Addresses)+len(s.NotReadyAddresses) == 0
	})
	return cut
}
