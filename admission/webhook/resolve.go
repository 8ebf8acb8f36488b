package webhook

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/utils/ptr"
)

// Resolver finds the address, as host:port, at which a service is reached.
type Resolver interface {
	Resolve(namespace, name string, port int32) (string, error)
}

// ClusterIPs resolves services to their cluster addresses; kube-proxy on the
// API server's machine does the rest. It is Kubernetes' default.
func ClusterIPs(factory informers.SharedInformerFactory) Resolver {
	return clusterIPs{factory.Core().V1().Services().Lister()}
}

type clusterIPs struct{ services corelisters.ServiceLister }

// Resolve implements Resolver.
func (c clusterIPs) Resolve(namespace, name string, port int32) (string, error) {
	service, err := c.services.Services(namespace).Get(name)
	if err != nil {
		return "", err
	}
	found, err := portOf(service, port)
	if err != nil {
		return "", err
	}
	switch {
	case service.Spec.Type == corev1.ServiceTypeExternalName:
		return net.JoinHostPort(service.Spec.ExternalName, strconv.Itoa(int(port))), nil
	case service.Spec.ClusterIP == "" || service.Spec.ClusterIP == corev1.ClusterIPNone:
		return "", fmt.Errorf("service %s/%s has no cluster address", namespace, name)
	}
	return net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(int(found.Port))), nil
}

func portOf(service *corev1.Service, port int32) (corev1.ServicePort, error) {
	for _, p := range service.Spec.Ports {
		if p.Port == port && (p.Protocol == "" || p.Protocol == corev1.ProtocolTCP) {
			return p, nil
		}
	}
	if service.Spec.Type == corev1.ServiceTypeExternalName {
		return corev1.ServicePort{Port: port}, nil
	}
	return corev1.ServicePort{}, fmt.Errorf("service %s/%s has no port %d", service.Namespace, service.Name, port)
}

// Endpoints resolves services to one of their ready endpoints, at random, as
// --enable-aggregator-routing asks for.
func Endpoints(factory informers.SharedInformerFactory) Resolver {
	return endpoints{clusterIPs{factory.Core().V1().Services().Lister()}, factory.Discovery().V1().EndpointSlices().Lister()}
}

type endpoints struct {
	clusterIPs
	slices discoverylisters.EndpointSliceLister
}

// Resolve implements Resolver.
func (e endpoints) Resolve(namespace, name string, port int32) (string, error) {
	service, err := e.services.Services(namespace).Get(name)
	if err != nil {
		return "", err
	}
	if service.Spec.Type == corev1.ServiceTypeExternalName {
		return e.clusterIPs.Resolve(namespace, name, port)
	}
	wanted, err := portOf(service, port)
	if err != nil {
		return "", err
	}
	found, err := e.slices.EndpointSlices(namespace).List(labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: name}))
	if err != nil {
		return "", err
	}
	var ready []string
	for _, slice := range found {
		ready = append(ready, readyAt(slice, wanted.Name)...)
	}
	if len(ready) == 0 {
		return "", fmt.Errorf("no endpoints available for service %s/%s", namespace, name)
	}
	return ready[rand.IntN(len(ready))], nil
}

// readyAt are the addresses of a slice's ready endpoints at a named port.
func readyAt(slice *discoveryv1.EndpointSlice, port string) []string {
	var out []string
	for _, p := range slice.Ports {
		if ptr.Deref(p.Name, "") != port || p.Port == nil {
			continue
		}
		for _, endpoint := range slice.Endpoints {
			if !ptr.Deref(endpoint.Conditions.Ready, true) {
				continue
			}
			for _, address := range endpoint.Addresses {
				out = append(out, net.JoinHostPort(address, strconv.Itoa(int(*p.Port))))
			}
		}
	}
	return out
}
