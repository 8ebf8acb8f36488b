package kubeproxy

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/kubeproxy/model"
)

// watch feeds the tracker, and returns when it has everything. stop MUST be called.
func (p *Proxy) watch(ctx context.Context) (stop func(), err error) {
	slim := informers.WithTransform(dropManagedFields)
	if p.informers == nil {
		p.informers, p.ownInformers = informers.NewSharedInformerFactoryWithOptions(p.cfg.Client, 0, slim), true
	}
	p.nodes = informers.NewSharedInformerFactoryWithOptions(p.cfg.Client, 0, slim, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, p.cfg.NodeName).String()
	}))
	var undo []func()
	stop = func() {
		for _, f := range undo {
			f()
		}
		p.nodes.Shutdown()
		if p.ownInformers {
			p.informers.Shutdown()
		}
	}
	var synced []cache.InformerSynced
	for _, h := range []struct {
		informer cache.SharedIndexInformer
		changed  func(oldObj, newObj any)
	}{
		{p.informers.Core().V1().Services().Informer(), p.serviceChanged},
		{p.informers.Discovery().V1().EndpointSlices().Informer(), p.sliceChanged},
		{p.informers.Networking().V1().ServiceCIDRs().Informer(), p.serviceCIDRChanged},
		{p.nodes.Core().V1().Nodes().Informer(), p.nodeChanged},
	} {
		registration, err := h.informer.AddEventHandler(onChange(h.changed))
		if err != nil {
			stop()
			return nil, fmt.Errorf("watch: %w", err)
		}
		undo = append(undo, func() { _ = h.informer.RemoveEventHandler(registration) })
		synced = append(synced, registration.HasSynced)
	}
	p.nodes.Start(ctx.Done())
	p.informers.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		stop()
		return nil, ctx.Err()
	}
	return stop, nil
}

// onChange turns the three kinds of notification into one; oldObj is nil for
// an addition, newObj for a deletion.
func onChange(changed func(oldObj, newObj any)) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { changed(nil, obj) },
		UpdateFunc: changed,
		DeleteFunc: func(obj any) {
			if unknown, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = unknown.Obj
			}
			changed(obj, nil)
		},
	}
}

func (p *Proxy) serviceChanged(oldObj, newObj any) {
	if service, ok := newObj.(*v1.Service); ok {
		p.tracker.SetService(service)
	} else if service, ok := oldObj.(*v1.Service); ok {
		p.tracker.RemoveService(types.NamespacedName{Namespace: service.Namespace, Name: service.Name})
	}
	p.changed()
}

func (p *Proxy) sliceChanged(oldObj, newObj any) {
	old, _ := oldObj.(*discoveryv1.EndpointSlice)
	slice, _ := newObj.(*discoveryv1.EndpointSlice)
	if old != nil && (slice == nil || old.Labels[discoveryv1.LabelServiceName] != slice.Labels[discoveryv1.LabelServiceName]) {
		p.tracker.RemoveSlice(old)
	}
	if slice != nil {
		p.tracker.SetSlice(slice)
	}
	p.changed()
}

func (p *Proxy) nodeChanged(_, newObj any) {
	node, ok := newObj.(*v1.Node)
	p.health.setEligible(ok && node.DeletionTimestamp == nil && !toBeDeleted(node))
	if !ok {
		return
	}
	p.tracker.SetNode(model.Node{Name: node.Name, Zone: node.Labels[v1.LabelTopologyZone]})
	if len(p.cfg.NodeIPs) == 0 {
		p.mu.Lock()
		moved := !slices.Equal(p.around.NodeAddrs, nodeAddrs(node))
		p.around.NodeAddrs = nodeAddrs(node)
		p.mu.Unlock()
		if moved {
			p.log.Info("node addresses", "addresses", nodeAddrs(node))
		}
	}
	p.changed()
}

// serviceCIDRChanged takes the ranges of services anew. One that is being
// deleted counts until it is gone, as it may still have services.
func (p *Proxy) serviceCIDRChanged(_, _ any) {
	var networks []netip.Prefix
	for _, obj := range p.informers.Networking().V1().ServiceCIDRs().Informer().GetStore().List() {
		for _, text := range obj.(*networkingv1.ServiceCIDR).Spec.CIDRs {
			if network, err := netip.ParsePrefix(text); err == nil && !slices.Contains(networks, network) {
				networks = append(networks, network)
			}
		}
	}
	slices.SortFunc(networks, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	p.mu.Lock()
	p.around.ServiceNetworks = networks
	p.mu.Unlock()
	p.changed()
}

// toBeDeleted reports the taint by which the cluster autoscaler announces the
// end of a node to load balancers.
func toBeDeleted(node *v1.Node) bool {
	return slices.ContainsFunc(node.Spec.Taints, func(t v1.Taint) bool { return t.Key == "ToBeDeletedByClusterAutoscaler" })
}

func nodeAddrs(node *v1.Node) []netip.Addr {
	var out []netip.Addr
	for _, address := range node.Status.Addresses {
		if address.Type != v1.NodeInternalIP && address.Type != v1.NodeExternalIP {
			continue
		}
		if addr, err := netip.ParseAddr(address.Address); err == nil && !slices.Contains(out, addr.Unmap()) {
			out = append(out, addr.Unmap())
		}
	}
	return out
}

// dropManagedFields keeps out of memory what the proxy never looks at.
func dropManagedFields(obj any) (any, error) {
	if accessor, err := meta.Accessor(obj); err == nil {
		accessor.SetManagedFields(nil)
	}
	return obj, nil
}
