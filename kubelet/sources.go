package kubelet

import (
	"context"
	"sync"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/kubelet/staticpod"
)

// sources is where pods come from: the API server, and files. It knows which are wanted and hands changes to the workers.
type sources struct {
	k        *Kubelet
	pods     cache.Controller
	services cache.Controller
	// serviceStore indexes services by namespace.
	serviceStore cache.Indexer
	synced       chan struct{}

	mirrorWake chan struct{}
	filesOnce  sync.Once
	files      chan struct{} // closed when static pods have been read once

	mu      sync.Mutex
	api     map[types.UID]*v1.Pod
	static  map[types.UID]*v1.Pod
	mirrors map[types.UID]*v1.Pod // by their own UID
	done    bool                  // everything has been read once
}

func newSources(k *Kubelet) *sources {
	s := &sources{
		k: k, synced: make(chan struct{}), files: make(chan struct{}), mirrorWake: make(chan struct{}, 1),
		api: map[types.UID]*v1.Pod{}, static: map[types.UID]*v1.Pod{}, mirrors: map[types.UID]*v1.Pod{},
	}
	pods := k.config.Client.CoreV1().Pods(metav1.NamespaceAll)
	here := fields.OneTermEqualSelector("spec.nodeName", k.config.NodeName).String()
	_, s.pods = cache.NewInformerWithOptions(cache.InformerOptions{
		ObjectType: &v1.Pod{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc: s.changed, UpdateFunc: func(old, pod any) { s.replaced(old, pod) }, DeleteFunc: s.deleted,
		},
		ListerWatcher: cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (apiruntime.Object, error) {
				o.FieldSelector = here
				return pods.List(ctx, o)
			},
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				o.FieldSelector = here
				return pods.Watch(ctx, o)
			},
		}, k.config.Client),
	})
	s.watchServices()
	return s
}

func (s *sources) watchServices() {
	services := s.k.config.Client.CoreV1().Services(metav1.NamespaceAll)
	var store cache.Store
	store, s.services = cache.NewInformerWithOptions(cache.InformerOptions{
		ObjectType: &v1.Service{},
		Handler:    cache.ResourceEventHandlerFuncs{},
		Indexers:   cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc},
		ListerWatcher: cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (apiruntime.Object, error) {
				return services.List(ctx, o)
			},
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				return services.Watch(ctx, o)
			},
		}, s.k.config.Client),
	})
	s.serviceStore = store.(cache.Indexer)
}

// run reads the sources until ctx ends.
func (s *sources) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { s.pods.RunWithContext(ctx) })
	wg.Go(func() { s.services.RunWithContext(ctx) })
	wg.Go(func() { s.runStatic(ctx) })
	if cache.WaitForCacheSync(ctx.Done(), s.pods.HasSynced, s.services.HasSynced, s.filesRead) {
		s.mu.Lock()
		s.done = true
		s.mu.Unlock()
		close(s.synced)
	}
	wg.Wait()
}

// wait waits until every source has been read once.
func (s *sources) wait(ctx context.Context) bool {
	select {
	case <-s.synced:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *sources) changed(object any) {
	pod, ok := object.(*v1.Pod)
	if !ok || pod.Spec.NodeName != s.k.config.NodeName {
		return
	}
	if staticpod.IsMirror(pod) {
		s.mirrorChanged(pod)
		return
	}
	s.mu.Lock()
	s.api[pod.UID] = pod
	s.mu.Unlock()
	s.k.workers.Update(pod)
	s.k.statuses.Changed(pod.UID)
}

// replaced handles an update, which may hide that one pod went and another came by the same name.
func (s *sources) replaced(old, object any) {
	before, ok := old.(*v1.Pod)
	after, fine := object.(*v1.Pod)
	if ok && fine && before.UID != after.UID {
		s.deleted(before)
	}
	s.changed(object)
}

func (s *sources) deleted(object any) {
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	pod, ok := object.(*v1.Pod)
	if !ok {
		return
	}
	if staticpod.IsMirror(pod) {
		s.mirrorGone(pod)
		return
	}
	s.mu.Lock()
	delete(s.api, pod.UID)
	s.mu.Unlock()
	s.k.workers.Remove(pod.UID)
}

// apiPod returns the API object that shows the pod, or nil: the pod itself or, for a static pod, its mirror.
func (s *sources) apiPod(uid types.UID) *v1.Pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	if static := s.static[uid]; static != nil {
		for _, mirror := range s.mirrors {
			if mirror.Name == static.Name && mirror.Namespace == static.Namespace && staticpod.Shows(mirror, static) {
				return mirror
			}
		}
		return nil
	}
	return s.api[uid]
}

// all returns the pods of every source.
func (s *sources) all() []*v1.Pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	pods := make([]*v1.Pod, 0, len(s.api)+len(s.static))
	for _, set := range []map[types.UID]*v1.Pod{s.api, s.static} {
		for _, pod := range set {
			pods = append(pods, pod)
		}
	}
	return pods
}

// knows says whether a source has the pod. Until all have been read, every pod may be theirs.
func (s *sources) knows(uid types.UID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.done || s.api[uid] != nil || s.static[uid] != nil
}

// servicesFor returns the services of the namespace, and that of the API server.
func (s *sources) servicesFor(namespace string) []*v1.Service {
	namespaces := []string{namespace}
	if namespace != metav1.NamespaceDefault {
		namespaces = append(namespaces, metav1.NamespaceDefault)
	}
	var services []*v1.Service
	for _, ns := range namespaces {
		found, err := s.serviceStore.ByIndex(cache.NamespaceIndex, ns)
		if err != nil {
			continue
		}
		for _, object := range found {
			if service, ok := object.(*v1.Service); ok {
				services = append(services, service)
			}
		}
	}
	return services
}
