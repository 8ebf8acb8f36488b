// Package serviceendpoints says which pods stand behind a service, on which
// ports, and since when. Both the EndpointSlice and the Endpoints controller
// build on it; it writes nothing.
package serviceendpoints

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/yare-io/yare/controllers/podstatus"
	"github.com/yare-io/yare/controllers/worker"
)

// Eligible says whether the pod may be an endpoint at all: it has an address
// and has not run to its end.
func Eligible(pod *corev1.Pod) bool {
	return !podstatus.IsTerminal(pod) && (pod.Status.PodIP != "" || len(pod.Status.PodIPs) > 0)
}

// Addresses returns the pod's addresses.
func Addresses(pod *corev1.Pod) []string {
	if len(pod.Status.PodIPs) == 0 && pod.Status.PodIP != "" {
		return []string{pod.Status.PodIP}
	}
	addresses := make([]string, 0, len(pod.Status.PodIPs))
	for _, ip := range pod.Status.PodIPs {
		addresses = append(addresses, ip.IP)
	}
	return addresses
}

// TargetPort resolves the service port on the pod. A named port that the pod
// does not have yields ok false.
func TargetPort(pod *corev1.Pod, port *corev1.ServicePort) (number int32, ok bool) {
	if port.TargetPort.Type == intstr.Int {
		return port.TargetPort.IntVal, true
	}
	for _, container := range containersWithPorts(pod) {
		for _, candidate := range container.Ports {
			if candidate.Name == port.TargetPort.StrVal && candidate.Protocol == port.Protocol {
				return candidate.ContainerPort, true
			}
		}
	}
	return 0, false
}

// containersWithPorts are the containers and then the sidecars.
func containersWithPorts(pod *corev1.Pod) []corev1.Container {
	containers := slices.Clone(pod.Spec.Containers)
	for _, container := range pod.Spec.InitContainers {
		if container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			containers = append(containers, container)
		}
	}
	return containers
}

// Hostname returns the name the pod has under the service, or "".
func Hostname(pod *corev1.Pod, service *corev1.Service) string {
	if pod.Spec.Subdomain == service.Name && pod.Namespace == service.Namespace {
		return pod.Spec.Hostname
	}
	return ""
}

// IsHeadless says whether the service has no address of its own.
func IsHeadless(service *corev1.Service) bool { return service.Spec.ClusterIP == corev1.ClusterIPNone }

// PodMatters says whether a change of a pod can change endpoints.
func PodMatters(old, now *corev1.Pod) bool {
	if old == nil || now == nil {
		return true
	}
	return podstatus.IsReady(old) != podstatus.IsReady(now) ||
		podstatus.IsTerminal(old) != podstatus.IsTerminal(now) ||
		(old.DeletionTimestamp == nil) != (now.DeletionTimestamp == nil) ||
		old.Spec.NodeName != now.Spec.NodeName ||
		old.Spec.Hostname != now.Spec.Hostname || old.Spec.Subdomain != now.Spec.Subdomain ||
		!slices.Equal(Addresses(old), Addresses(now)) ||
		!equality.Semantic.DeepEqual(old.Labels, now.Labels)
}

// Selecting returns the keys of the services that select the pod.
func Selecting(services corelisters.ServiceLister, pod *corev1.Pod) []worker.Key {
	candidates, err := services.Services(pod.Namespace).List(labels.Everything())
	if err != nil {
		return nil
	}
	var keys []worker.Key
	for _, service := range candidates {
		if len(service.Spec.Selector) > 0 && labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(pod.Labels)) {
			keys = append(keys, worker.KeyOf(service))
		}
	}
	return keys
}

// PodChanged returns the services that a pod's change concerns: those that
// selected it, and those that do now.
func PodChanged(services corelisters.ServiceLister, old, now *corev1.Pod) []worker.Key {
	if !PodMatters(old, now) {
		return nil
	}
	keys := Selecting(services, worker.Latest(old, now))
	if old != nil && now != nil && !equality.Semantic.DeepEqual(old.Labels, now.Labels) {
		keys = append(keys, Selecting(services, old)...)
	}
	return keys
}
