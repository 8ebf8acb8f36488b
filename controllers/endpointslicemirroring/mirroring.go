// Package endpointslicemirroring copies Endpoints that a user keeps by hand, for
// services without a selector, into EndpointSlices, which is what proxies read.
package endpointslicemirroring

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"

	"github.com/yare-io/yare/controllers/slicepack"
	"github.com/yare-io/yare/controllers/worker"
)

// Managed is the managed-by label of this controller's slices.
const Managed = "endpointslicemirroring-controller.k8s.io"

const (
	// maxPerSubset is how many addresses of a subset are mirrored at most.
	maxPerSubset     = 1000
	leaderAnnotation = "control-plane.alpha.kubernetes.io/leader"
)

var endpointsKind = corev1.SchemeGroupVersion.WithKind("Endpoints")

type controller struct {
	env       *worker.Env
	loop      *worker.Loop[worker.Key]
	services  corelisters.ServiceLister
	endpoints corelisters.EndpointsLister
	slices    discoverylisters.EndpointSliceLister
	writer    *slicepack.Writer
}

// New makes the mirroring controller.
func New(env *worker.Env) (worker.Runner, error) {
	core := env.Informers.Core().V1()
	endpointSlices := env.Informers.Discovery().V1().EndpointSlices()
	c := &controller{
		env: env, services: core.Services().Lister(), endpoints: core.Endpoints().Lister(),
		slices: endpointSlices.Lister(), writer: slicepack.NewWriter(env.Client),
	}
	c.loop = worker.NewLoop(env, worker.Options[worker.Key]{Queue: "endpoint_slice_mirroring", Workers: env.Workers, Reconcile: c.reconcile})
	worker.Watch(c.loop, core.Endpoints().Informer(), func(old, now *corev1.Endpoints) {
		if mirrored(old) || mirrored(now) {
			c.loop.Add(worker.KeyOf(worker.Latest(old, now)))
		}
	})
	worker.WatchKeys[*corev1.Service](c.loop, core.Services().Informer())
	worker.Watch(c.loop, endpointSlices.Informer(), c.sliceChanged)
	return c.loop, nil
}

// mirrored says whether the Endpoints are to be mirrored, as far as they say so
// themselves.
func mirrored(endpoints *corev1.Endpoints) bool {
	if endpoints == nil || endpoints.Labels[discoveryv1.LabelSkipMirror] == "true" {
		return false
	}
	_, election := endpoints.Annotations[leaderAnnotation]
	return !election
}

func (c *controller) sliceChanged(old, now *discoveryv1.EndpointSlice) {
	for _, slice := range []*discoveryv1.EndpointSlice{old, now} {
		if slice == nil || slice.Labels[discoveryv1.LabelManagedBy] != Managed {
			continue
		}
		owner := worker.Key{Namespace: slice.Namespace, Name: slice.Labels[discoveryv1.LabelServiceName]}
		if owner.Name != "" && c.writer.Foreign(owner, old, now) {
			c.loop.Add(owner)
		}
	}
}

func (c *controller) reconcile(ctx context.Context, key worker.Key) error {
	existing, err := c.existing(key)
	if err != nil {
		return err
	}
	if c.writer.Stale(key, existing) {
		return slicepack.ErrStale
	}
	endpoints, err := c.source(key)
	if err != nil {
		return err
	}
	var groups []slicepack.Group
	if endpoints != nil {
		groups = groupsOf(endpoints)
	}
	changes := slicepack.Pack(groups, existing, func(family discoveryv1.AddressType) *discoveryv1.EndpointSlice {
		return blank(endpoints, family)
	})
	if err := c.writer.Apply(ctx, key, changes); err != nil {
		return err
	}
	if endpoints == nil && len(existing) == 0 {
		c.writer.Forget(key)
	}
	return nil
}

func (c *controller) existing(key worker.Key) ([]*discoveryv1.EndpointSlice, error) {
	found, err := c.slices.EndpointSlices(key.Namespace).List(labels.SelectorFromSet(labels.Set{
		discoveryv1.LabelServiceName: key.Name, discoveryv1.LabelManagedBy: Managed,
	}))
	return slices.SortedFunc(slices.Values(found), func(a, b *discoveryv1.EndpointSlice) int { return strings.Compare(a.Name, b.Name) }), err
}

// source returns the Endpoints to mirror, nil if there is nothing to.
func (c *controller) source(key worker.Key) (*corev1.Endpoints, error) {
	endpoints, err := c.endpoints.Endpoints(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) || err == nil && !mirrored(endpoints) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	service, err := c.services.Services(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) || err == nil && service.Spec.Selector != nil {
		return nil, nil
	}
	return endpoints, err
}

// groupsOf returns the addresses of all subsets by family and ports.
func groupsOf(endpoints *corev1.Endpoints) []slicepack.Group {
	var groups []slicepack.Group
	for _, subset := range endpoints.Subsets {
		for _, family := range []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6} {
			group := slicepack.Group{AddressType: family, Ports: portsOf(subset)}
			add := func(addresses []corev1.EndpointAddress, ready bool) {
				for i := range addresses {
					if len(group.Endpoints) < maxPerSubset && familyOf(addresses[i].IP) == family {
						group.Endpoints = append(group.Endpoints, endpointOf(&addresses[i], ready))
					}
				}
			}
			add(subset.Addresses, true)
			add(subset.NotReadyAddresses, false)
			if len(group.Endpoints) > 0 {
				groups = append(groups, group)
			}
		}
	}
	return groups
}

func familyOf(address string) discoveryv1.AddressType {
	if ip, err := netip.ParseAddr(address); err == nil && ip.Is6() {
		return discoveryv1.AddressTypeIPv6
	}
	return discoveryv1.AddressTypeIPv4
}

func portsOf(subset corev1.EndpointSubset) []discoveryv1.EndpointPort {
	ports := []discoveryv1.EndpointPort{}
	for i := range subset.Ports {
		port := subset.Ports[i]
		ports = append(ports, discoveryv1.EndpointPort{
			Name: &port.Name, Protocol: &port.Protocol, Port: &port.Port, AppProtocol: port.AppProtocol,
		})
	}
	return ports
}

func endpointOf(address *corev1.EndpointAddress, ready bool) discoveryv1.Endpoint {
	endpoint := discoveryv1.Endpoint{
		Addresses:  []string{address.IP},
		Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		TargetRef:  address.TargetRef,
		NodeName:   address.NodeName,
	}
	if address.Hostname != "" {
		endpoint.Hostname = &address.Hostname
	}
	return endpoint
}

func blank(endpoints *corev1.Endpoints, family discoveryv1.AddressType) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName:    endpoints.Name + "-",
			Namespace:       endpoints.Namespace,
			Labels:          maps.Clone(endpoints.Labels),
			Annotations:     maps.Clone(endpoints.Annotations),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(endpoints, endpointsKind)},
		},
		AddressType: family,
	}
	if slice.Labels == nil {
		slice.Labels = map[string]string{}
	}
	slice.Labels[discoveryv1.LabelServiceName] = endpoints.Name
	slice.Labels[discoveryv1.LabelManagedBy] = Managed
	delete(slice.Annotations, corev1.LastAppliedConfigAnnotation)
	delete(slice.Annotations, corev1.EndpointsLastChangeTriggerTime)
	return slice
}
