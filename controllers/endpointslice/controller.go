// Package endpointslice keeps the EndpointSlices of every service that selects
// pods. What they should hold is in desired.go and pure; how it is spread over
// slices is slicepack's business.
package endpointslice

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/controllers/podstatus"
	"github.com/yare-io/yare/controllers/serviceendpoints"
	"github.com/yare-io/yare/controllers/slicepack"
	"github.com/yare-io/yare/controllers/worker"
)

type controller struct {
	env      *worker.Env
	loop     *worker.Loop[worker.Key]
	services corelisters.ServiceLister
	pods     corelisters.PodLister
	podIndex cache.Indexer
	nodes    corelisters.NodeLister
	slices   discoverylisters.EndpointSliceLister
	writer   *slicepack.Writer
	triggers *serviceendpoints.Triggers
}

// New makes the EndpointSlice controller.
func New(env *worker.Env) (worker.Runner, error) {
	core := env.Informers.Core().V1()
	endpointSlices := env.Informers.Discovery().V1().EndpointSlices()
	if err := podstatus.AddIndexes(core.Pods().Informer()); err != nil {
		return nil, err
	}
	c := &controller{
		env:      env,
		services: core.Services().Lister(),
		pods:     core.Pods().Lister(),
		podIndex: core.Pods().Informer().GetIndexer(),
		nodes:    core.Nodes().Lister(),
		slices:   endpointSlices.Lister(),
		writer:   slicepack.NewWriter(env.Client),
		triggers: serviceendpoints.NewTriggers(),
	}
	c.loop = worker.NewLoop(env, worker.Options[worker.Key]{Queue: "endpoint_slice", Workers: env.Workers, Reconcile: c.reconcile})
	worker.WatchKeys[*corev1.Service](c.loop, core.Services().Informer())
	worker.Watch(c.loop, core.Pods().Informer(), c.podChanged)
	worker.Watch(c.loop, core.Nodes().Informer(), c.nodeChanged)
	worker.Watch(c.loop, endpointSlices.Informer(), c.sliceChanged)
	return c.loop, nil
}

func (c *controller) podChanged(old, now *corev1.Pod) {
	for _, key := range serviceendpoints.PodChanged(c.services, old, now) {
		c.loop.Add(key)
	}
}

// nodeChanged wakes the services of the node's pods when its zone shows in them.
func (c *controller) nodeChanged(old, now *corev1.Node) {
	if zoneOf(old) == zoneOf(now) {
		return
	}
	pods, err := podstatus.OnNode(c.podIndex, worker.Latest(old, now).Name)
	if err != nil {
		return
	}
	for _, pod := range pods {
		for _, key := range serviceendpoints.Selecting(c.services, pod) {
			c.loop.Add(key)
		}
	}
}

func zoneOf(node *corev1.Node) string {
	if node == nil {
		return ""
	}
	return node.Labels[corev1.LabelTopologyZone]
}

// sliceChanged wakes the service when someone else touched its slices.
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
	service, err := c.services.Services(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		c.writer.Forget(key)
		c.triggers.Forget(key)
		return nil
	}
	if err != nil {
		return err
	}
	if service.Spec.Type == corev1.ServiceTypeExternalName || service.Spec.Selector == nil || service.DeletionTimestamp != nil {
		return nil
	}
	existing, err := c.existing(service)
	if err != nil {
		return err
	}
	if c.writer.Stale(key, existing) {
		return slicepack.ErrStale
	}
	pods, err := c.selected(service)
	if err != nil {
		return err
	}
	trigger := c.triggers.LastChange(service, pods)
	changes := slicepack.Pack(groups(service, pods, c.node), existing, func(family discoveryv1.AddressType) *discoveryv1.EndpointSlice {
		return blank(service, family, trigger)
	})
	if err := c.writer.Apply(ctx, key, changes); err != nil {
		c.env.Events.Eventf(service, corev1.EventTypeWarning, "FailedToUpdateEndpointSlices",
			"Error updating Endpoint Slices for Service %s/%s: %v", service.Namespace, service.Name, err)
		return err
	}
	return nil
}

func (c *controller) existing(service *corev1.Service) ([]*discoveryv1.EndpointSlice, error) {
	selector := labels.SelectorFromSet(labels.Set{
		discoveryv1.LabelServiceName: service.Name,
		discoveryv1.LabelManagedBy:   Managed,
	})
	found, err := c.slices.EndpointSlices(service.Namespace).List(selector)
	if err != nil {
		return nil, err
	}
	return slices.SortedFunc(slices.Values(found), func(a, b *discoveryv1.EndpointSlice) int {
		return strings.Compare(a.Name, b.Name)
	}), nil
}

// selected returns the service's pods in a fixed order.
func (c *controller) selected(service *corev1.Service) ([]*corev1.Pod, error) {
	found, err := c.pods.Pods(service.Namespace).List(labels.SelectorFromSet(service.Spec.Selector))
	if err != nil {
		return nil, err
	}
	return slices.SortedFunc(slices.Values(found), func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) }), nil
}

func (c *controller) node(name string) *corev1.Node {
	node, err := c.nodes.Get(name)
	if err != nil {
		return nil
	}
	return node
}
