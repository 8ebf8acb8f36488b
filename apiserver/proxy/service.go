package proxy

import (
	"context"
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/apiserver/request"
)

// ServiceAddress returns where the server reaches a service's port: one of its
// ready endpoints, at random, or the name that an ExternalName service stands
// for. The server need not be on the service network. Errors are the API's.
func ServiceAddress(ctx context.Context, objects registry.Objects, namespace, name string, port int32) (string, error) {
	found, err := objects.Get(ctx, serviceResource, namespace, name)
	if err != nil {
		return "", err
	}
	asked := strconv.Itoa(int(port))
	if service := found.(*corev1.Service); service.Spec.Type == corev1.ServiceTypeExternalName {
		return net.JoinHostPort(service.Spec.ExternalName, asked), nil
	}
	host, number, err := endpointOf(ctx, request.Target{Objects: objects, Namespace: namespace, Name: name}, name, asked)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(host, strconv.Itoa(int(number))), nil
}
