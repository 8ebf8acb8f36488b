package resourcequota

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/controllers/worker"
)

// syncPatience is how long a count waits for a new informer's first list.
const syncPatience = 10 * time.Second

// counters count objects of the kinds that quotas name. A kind is watched, by
// its metadata alone, from the first quota that names it on.
type counters struct {
	env    *worker.Env
	freed  func(namespace string)
	mapper *restmapper.DeferredDiscoveryRESTMapper

	mutex   sync.Mutex
	running map[schema.GroupResource]cache.SharedIndexInformer
	// life is that of Run; nil before.
	life  context.Context
	group sync.WaitGroup
}

func newCounters(env *worker.Env, freed func(string)) *counters {
	return &counters{
		env: env, freed: freed, running: map[schema.GroupResource]cache.SharedIndexInformer{},
		mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(env.Client.Discovery())),
	}
}

// Run keeps informers until ctx ends, and waits for them.
func (c *counters) Run(ctx context.Context) error {
	c.mutex.Lock()
	c.life = ctx
	c.mutex.Unlock()
	<-ctx.Done()
	// Whoever starts an informer holds the mutex and looks at life first.
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.group.Wait()
	return nil
}

// count returns how many objects there are; none of a kind that is not served.
func (c *counters) count(ctx context.Context, of schema.GroupResource, namespace string) (int, error) {
	informer, err := c.informer(of)
	if meta.IsNoMatchError(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, syncPatience)
	defer cancel()
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return 0, errors.New("not all objects are known yet")
	}
	keys, err := informer.GetIndexer().IndexKeys(cache.NamespaceIndex, namespace)
	return len(keys), err
}

var errNotRunning = errors.New("the controller is not running")

func (c *counters) informer(of schema.GroupResource) (cache.SharedIndexInformer, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if known := c.running[of]; known != nil {
		return known, nil
	}
	if c.life == nil || c.life.Err() != nil {
		return nil, errNotRunning
	}
	resource, err := c.mapper.ResourceFor(of.WithVersion(""))
	if err != nil {
		c.mapper.Reset()
		return nil, err
	}
	informer := metadatainformer.NewFilteredMetadataInformer(c.env.Metadata, resource, metav1.NamespaceAll, 0,
		cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}, nil).Informer()
	if err := informer.SetTransform(bare); err != nil {
		return nil, err
	}
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{DeleteFunc: c.deleted}); err != nil {
		return nil, err
	}
	c.running[of] = informer
	life := c.life
	c.group.Go(func() { informer.RunWithContext(life) })
	return informer, nil
}

func (c *counters) deleted(last any) {
	if gone, ok := last.(cache.DeletedFinalStateUnknown); ok {
		last = gone.Obj
	}
	if m, err := meta.Accessor(last); err == nil {
		c.freed(m.GetNamespace())
	}
}

// bare drops what is not counted by.
func bare(from any) (any, error) {
	if full, ok := from.(*metav1.PartialObjectMetadata); ok {
		full.Labels, full.Annotations, full.ManagedFields, full.OwnerReferences = nil, nil, nil, nil
	}
	return from, nil
}
