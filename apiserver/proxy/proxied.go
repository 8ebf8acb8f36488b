package proxy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/yare-io/yare/apiserver/request"
)

type nodeProxy struct{ *Proxy }

// Options implements request.Connector.
func (nodeProxy) Options(t request.Target) runtime.Object {
	return &corev1.NodeProxyOptions{Path: t.Path}
}

// Connect implements request.Connector. NAME or NAME:PORT of the kubelet goes
// to the kubelet with the server's identity, any other port to that port
// without.
func (n nodeProxy) Connect(w http.ResponseWriter, r *http.Request, t request.Target) error {
	scheme, name, port, valid := utilnet.SplitSchemeNamePort(t.Name)
	if !valid {
		return apierrors.NewBadRequest(fmt.Sprintf("invalid node request %q", t.Name))
	}
	location, err := kubeletOf(r.Context(), t, name)
	if err != nil {
		return err
	}
	if port == "" || port == location.Port() {
		return forward(w, r, below(location, t.Path), n.kubelet)
	}
	location, err = n.direct(scheme, location.Hostname(), port)
	if err != nil {
		return err
	}
	return forward(w, r, below(location, t.Path), n.plain)
}

type podProxy struct{ *Proxy }

// Options implements request.Connector.
func (podProxy) Options(t request.Target) runtime.Object {
	return &corev1.PodProxyOptions{Path: t.Path}
}

// Connect implements request.Connector.
func (p podProxy) Connect(w http.ResponseWriter, r *http.Request, t request.Target) error {
	scheme, name, port, valid := utilnet.SplitSchemeNamePort(t.Name)
	if !valid {
		return apierrors.NewBadRequest(fmt.Sprintf("invalid pod request %q", t.Name))
	}
	t.Name = name
	pod, err := podOf(r.Context(), t)
	if err != nil {
		return err
	}
	if port == "" {
		port = firstPort(pod)
	}
	if pod.Status.PodIP == "" {
		return apierrors.NewServiceUnavailable(fmt.Sprintf("pod %s has no address yet", name))
	}
	location, err := p.direct(scheme, pod.Status.PodIP, port)
	if err != nil {
		return err
	}
	return forward(w, r, below(location, t.Path), p.plain)
}

// firstPort is the port that a pod is proxied to when none is named.
func firstPort(pod *corev1.Pod) string {
	for i := range pod.Spec.Containers {
		if ports := pod.Spec.Containers[i].Ports; len(ports) > 0 {
			return strconv.Itoa(int(ports[0].ContainerPort))
		}
	}
	return ""
}

type serviceProxy struct{ *Proxy }

// Options implements request.Connector.
func (serviceProxy) Options(t request.Target) runtime.Object {
	return &corev1.ServiceProxyOptions{Path: t.Path}
}

// Connect implements request.Connector.
func (p serviceProxy) Connect(w http.ResponseWriter, r *http.Request, t request.Target) error {
	scheme, name, port, valid := utilnet.SplitSchemeNamePort(t.Name)
	if !valid {
		return apierrors.NewBadRequest(fmt.Sprintf("invalid service request %q", t.Name))
	}
	host, number, err := endpointOf(r.Context(), t, name, port)
	if err != nil {
		return err
	}
	location, err := p.direct(scheme, host, strconv.Itoa(int(number)))
	if err != nil {
		return err
	}
	return forward(w, r, below(location, t.Path), p.plain)
}

var (
	serviceResource = schema.GroupResource{Resource: "services"}
	sliceResource   = schema.GroupResource{Group: discoveryv1.GroupName, Resource: "endpointslices"}
)

// endpointOf picks one of a service's ready endpoints, at random.
func endpointOf(ctx context.Context, t request.Target, name, port string) (string, int32, error) {
	found, err := t.Objects.Get(ctx, serviceResource, t.Namespace, name)
	if err != nil {
		return "", 0, err
	}
	portName, err := portNameOf(found.(*corev1.Service), port)
	if err != nil {
		return "", 0, err
	}
	slices, err := t.Objects.List(ctx, sliceResource, t.Namespace)
	if err != nil {
		return "", 0, err
	}
	type endpoint struct {
		host string
		port int32
	}
	var ready []endpoint
	for _, object := range slices {
		slice := object.(*discoveryv1.EndpointSlice)
		number, ok := slicePort(slice, name, portName)
		if !ok {
			continue
		}
		for i := range slice.Endpoints {
			if e := &slice.Endpoints[i]; len(e.Addresses) > 0 && (e.Conditions.Ready == nil || *e.Conditions.Ready) {
				ready = append(ready, endpoint{e.Addresses[0], number})
			}
		}
	}
	if len(ready) == 0 {
		return "", 0, apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", t.Name))
	}
	chosen := ready[rand.IntN(len(ready))]
	return chosen.host, chosen.port, nil
}

// portNameOf finds the service port that a request means by name or number;
// without either, the only one.
func portNameOf(service *corev1.Service, asked string) (string, error) {
	if asked == "" && len(service.Spec.Ports) == 1 {
		return service.Spec.Ports[0].Name, nil
	}
	for _, port := range service.Spec.Ports {
		if (asked != "" || port.Name == "") && (port.Name == asked || strconv.Itoa(int(port.Port)) == asked) {
			return port.Name, nil
		}
	}
	return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %q found for service %q", asked, service.Name))
}

// slicePort returns the port of a name in a slice of a service.
func slicePort(slice *discoveryv1.EndpointSlice, service, name string) (int32, bool) {
	if slice.Labels[discoveryv1.LabelServiceName] != service {
		return 0, false
	}
	for _, port := range slice.Ports {
		if port.Port != nil && (port.Name == nil && name == "" || port.Name != nil && *port.Name == name) {
			return *port.Port, true
		}
	}
	return 0, false
}

// direct makes the address of a pod's or node's port. One that the guard
// refuses is the request's mistake; a name is checked when it is connected to.
func (p *Proxy) direct(scheme, host, port string) (*url.URL, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		if err := p.guard.Check(netip.AddrPortFrom(ip, 0)); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	}
	if scheme == "" {
		scheme = "http"
	}
	if port == "" {
		return &url.URL{Scheme: scheme, Host: hostOnly(host)}, nil
	}
	return &url.URL{Scheme: scheme, Host: net.JoinHostPort(host, port)}, nil
}

func hostOnly(host string) string {
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return "[" + host + "]"
	}
	return host
}

// below adds the undecoded path of the request to a location.
func below(location *url.URL, path string) *url.URL {
	out := *location
	decoded, err := url.PathUnescape(path)
	if err != nil {
		decoded = path
	}
	out.Path, out.RawPath = decoded, path
	return &out
}
