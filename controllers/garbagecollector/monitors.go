package garbagecollector

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
)

// syncPatience is how long a new kind may take to be listed before the others
// are served without it.
const syncPatience = 30 * time.Second

// shared are the kinds that other controllers watch in full anyway: their
// informers are used instead of one more watch for metadata.
var shared = map[schema.GroupVersionResource]bool{
	{Version: "v1", Resource: "pods"}:                                      true,
	{Version: "v1", Resource: "services"}:                                  true,
	{Version: "v1", Resource: "endpoints"}:                                 true,
	{Version: "v1", Resource: "nodes"}:                                     true,
	{Version: "v1", Resource: "namespaces"}:                                true,
	{Version: "v1", Resource: "serviceaccounts"}:                           true,
	{Group: "apps", Version: "v1", Resource: "deployments"}:                true,
	{Group: "apps", Version: "v1", Resource: "replicasets"}:                true,
	{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}: true,
}

// monitors watch every collectable kind and report what they see.
type monitors struct {
	metadata  metadata.Interface
	informers informers.SharedInformerFactory
	changed   func(old, now *object)

	running map[schema.GroupVersionResource]*monitor
	group   sync.WaitGroup
}

type monitor struct {
	stop   func()
	synced cache.DoneChecker
}

// follow starts monitors for new kinds, ends those of kinds that are gone, and
// waits a while for the new ones to have seen everything. If complete is false,
// a kind that is missing may only have been unreachable, and keeps its monitor.
func (m *monitors) follow(ctx context.Context, wanted []kind, complete bool) error {
	present := map[schema.GroupVersionResource]bool{}
	var fresh []cache.DoneChecker
	for _, k := range wanted {
		present[k.resource] = true
		if m.running[k.resource] != nil {
			continue
		}
		started, err := m.start(ctx, k)
		if err != nil {
			return err
		}
		m.running[k.resource] = started
		fresh = append(fresh, started.synced)
	}
	for resource, each := range m.running {
		if complete && !present[resource] {
			each.stop()
			delete(m.running, resource)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, syncPatience)
	defer cancel()
	cache.WaitFor(ctx, "", fresh...)
	return nil
}

func (m *monitors) start(ctx context.Context, k kind) (*monitor, error) {
	informer, own, err := m.informerOf(k)
	if err != nil {
		return nil, err
	}
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(now any) { m.changed(nil, reduce(now, k)) },
		UpdateFunc: func(old, now any) { m.changed(reduce(old, k), reduce(now, k)) },
		DeleteFunc: func(last any) {
			if gone, ok := last.(cache.DeletedFinalStateUnknown); ok {
				last = gone.Obj
			}
			m.changed(reduce(last, k), nil)
		},
	})
	if err != nil {
		return nil, err
	}
	if !own {
		stop := func() { _ = informer.RemoveEventHandler(registration) }
		return &monitor{stop: stop, synced: registration.HasSyncedChecker()}, nil
	}
	ctx, stop := context.WithCancel(ctx)
	m.group.Go(func() { informer.RunWithContext(ctx) })
	return &monitor{stop: stop, synced: registration.HasSyncedChecker()}, nil
}

// informerOf returns the shared informer of the kind, or makes one for metadata.
func (m *monitors) informerOf(k kind) (informer cache.SharedIndexInformer, own bool, err error) {
	if shared[k.resource] {
		generic, err := m.informers.ForResource(k.resource)
		if err != nil {
			return nil, false, err
		}
		return generic.Informer(), false, nil
	}
	informer = metadatainformer.NewFilteredMetadataInformer(m.metadata, k.resource, metav1.NamespaceAll, 0, cache.Indexers{}, nil).Informer()
	return informer, true, informer.SetTransform(bare)
}

// bare drops all metadata that the graph does not read.
func bare(from any) (any, error) {
	if full, ok := from.(*metav1.PartialObjectMetadata); ok {
		full.Labels, full.Annotations, full.ManagedFields = nil, nil, nil
	}
	return from, nil
}

// reduce returns what the graph keeps of an object, nil for something else.
func reduce(from any, k kind) *object {
	accessor, err := meta.Accessor(from)
	if err != nil {
		return nil
	}
	o := &object{
		uid:       accessor.GetUID(),
		namespace: accessor.GetNamespace(),
		name:      accessor.GetName(),
		gvk:       k.gvk,
		resource:  k.resource,
		owners:    accessor.GetOwnerReferences(),
		deleting:  accessor.GetDeletionTimestamp() != nil,
	}
	for _, finalizer := range accessor.GetFinalizers() {
		switch finalizer {
		case metav1.FinalizerDeleteDependents:
			o.foreground = true
		case metav1.FinalizerOrphanDependents:
			o.orphan = true
		}
	}
	return o
}

// wait returns when all monitors have ended.
func (m *monitors) wait() { m.group.Wait() }
