package proxy

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver/request"
)

var (
	podResource  = schema.GroupResource{Resource: "pods"}
	nodeResource = schema.GroupResource{Resource: "nodes"}
)

// defaultKubeletPort is where kubelets listen that do not say otherwise.
const defaultKubeletPort = 10250

// preferred is the order in which a node's addresses are tried.
var preferred = []corev1.NodeAddressType{corev1.NodeInternalIP, corev1.NodeExternalIP, corev1.NodeHostName}

// kubeletOf returns the address of a node's kubelet.
func kubeletOf(ctx context.Context, t request.Target, node string) (*url.URL, error) {
	found, err := t.Objects.Get(ctx, nodeResource, "", node)
	if err != nil {
		return nil, err
	}
	status := &found.(*corev1.Node).Status
	host, err := addressOf(node, status.Addresses)
	if err != nil {
		return nil, err
	}
	port := int(status.DaemonEndpoints.KubeletEndpoint.Port)
	if port == 0 {
		port = defaultKubeletPort
	}
	return &url.URL{Scheme: "https", Host: net.JoinHostPort(host, strconv.Itoa(port))}, nil
}

func addressOf(node string, addresses []corev1.NodeAddress) (string, error) {
	for _, kind := range preferred {
		for _, address := range addresses {
			if address.Type == kind && address.Address != "" {
				return address.Address, nil
			}
		}
	}
	return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no preferred addresses found for node %q", node))
}

// podOf returns the pod that a request is for.
func podOf(ctx context.Context, t request.Target) (*corev1.Pod, error) {
	found, err := t.Objects.Get(ctx, podResource, t.Namespace, t.Name)
	if err != nil {
		return nil, err
	}
	return found.(*corev1.Pod), nil
}

// onKubelet returns the address of a pod's path on its kubelet.
func onKubelet(ctx context.Context, t request.Target, pod *corev1.Pod, query url.Values, path ...string) (*url.URL, error) {
	if pod.Spec.NodeName == "" {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("pod %s does not have a host assigned", pod.Name))
	}
	location, err := kubeletOf(ctx, t, pod.Spec.NodeName)
	if err != nil {
		return nil, err
	}
	location = location.JoinPath(path...)
	location.RawQuery = query.Encode()
	return location, nil
}
