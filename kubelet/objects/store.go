// Package objects keeps the ConfigMaps and Secrets that pods of this node refer to, each by a watch of its own, for as long as a
// pod refers to it. It also gets service account tokens. It owns what is cached and for how long, and refuses
// to know what the objects are used for.
package objects

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

type kind string

const (
	configMaps kind = "configmaps"
	secrets    kind = "secrets"
)

// Ref names one object that a pod refers to.
type Ref struct {
	kind            kind
	namespace, name string
}

// Store watches objects for as long as pods refer to them. It is safe for concurrent use.
type Store struct {
	client   kubernetes.Interface
	logger   *slog.Logger
	onChange func(pods []types.UID)

	mu      sync.Mutex
	entries map[Ref]*entry
	pods    map[types.UID]map[Ref]bool
	ctx     context.Context // nil until Run
	running sync.WaitGroup
}

type entry struct {
	users  map[types.UID]bool
	cancel context.CancelFunc
	synced chan struct{} // closed when the first list has come in

	mu     sync.Mutex
	object apiruntime.Object // nil: there is none
}

// NewStore returns a store; onChange is called with the pods that refer to an object that changed, and must not block.
func NewStore(client kubernetes.Interface, logger *slog.Logger, onChange func(pods []types.UID)) *Store {
	return &Store{
		client: client, logger: logger, onChange: onChange,
		entries: map[Ref]*entry{}, pods: map[types.UID]map[Ref]bool{},
	}
}

// Run keeps watches going until ctx ends, and returns when all of them have. Register may be called before.
func (s *Store) Run(ctx context.Context) {
	s.mu.Lock()
	s.ctx = ctx
	for ref, e := range s.entries {
		s.watch(ref, e)
	}
	s.mu.Unlock()
	<-ctx.Done()
	s.running.Wait()
}

// Register notes which objects the pod refers to; earlier references it no longer has are dropped.
func (s *Store) Register(pod *v1.Pod) {
	wanted := References(pod)
	s.mu.Lock()
	defer s.mu.Unlock()
	for ref := range s.pods[pod.UID] {
		if !wanted[ref] {
			s.release(ref, pod.UID)
		}
	}
	for ref := range wanted {
		e := s.entries[ref]
		if e == nil {
			e = &entry{users: map[types.UID]bool{}, synced: make(chan struct{})}
			s.entries[ref] = e
			s.watch(ref, e)
		}
		e.users[pod.UID] = true
	}
	s.pods[pod.UID] = wanted
}

// Forget drops all references of the pod.
func (s *Store) Forget(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ref := range s.pods[uid] {
		s.release(ref, uid)
	}
	delete(s.pods, uid)
}

func (s *Store) release(ref Ref, uid types.UID) {
	e := s.entries[ref]
	if e == nil {
		return
	}
	delete(e.users, uid)
	if len(e.users) == 0 {
		if e.cancel != nil {
			e.cancel()
		}
		delete(s.entries, ref)
	}
}

// watch starts the watch of one object, if the store runs. The caller holds mu.
func (s *Store) watch(ref Ref, e *entry) {
	if s.ctx == nil || s.ctx.Err() != nil || e.cancel != nil {
		return
	}
	var ctx context.Context
	ctx, e.cancel = context.WithCancel(s.ctx)
	set := func(o any) {
		if object, ok := o.(metav1.Object); ok && object.GetName() == ref.name {
			s.set(e, o.(apiruntime.Object))
		}
	}
	unset := func(o any) {
		if key, err := cache.DeletionHandlingObjectToName(o); err == nil && key.Name == ref.name {
			s.set(e, nil)
		}
	}
	_, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: s.listerWatcher(ref),
		ObjectType:    prototype(ref.kind),
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    set,
			UpdateFunc: func(_, o any) { set(o) },
			DeleteFunc: unset,
		},
	})
	s.running.Go(func() { controller.RunWithContext(ctx) })
	s.running.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), controller.HasSynced) {
			close(e.synced)
		}
	})
}

func prototype(k kind) apiruntime.Object {
	if k == secrets {
		return &v1.Secret{}
	}
	return &v1.ConfigMap{}
}

func (s *Store) listerWatcher(ref Ref) cache.ListerWatcher {
	selector := fields.OneTermEqualSelector(metav1.ObjectNameField, ref.name).String()
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (apiruntime.Object, error) {
			o.FieldSelector = selector
			if ref.kind == secrets {
				return s.client.CoreV1().Secrets(ref.namespace).List(ctx, o)
			}
			return s.client.CoreV1().ConfigMaps(ref.namespace).List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = selector
			if ref.kind == secrets {
				return s.client.CoreV1().Secrets(ref.namespace).Watch(ctx, o)
			}
			return s.client.CoreV1().ConfigMaps(ref.namespace).Watch(ctx, o)
		},
	}, s.client)
}

// set keeps the object and tells the pods that refer to it.
func (s *Store) set(e *entry, object apiruntime.Object) {
	e.mu.Lock()
	e.object = object
	e.mu.Unlock()
	s.mu.Lock()
	users := make([]types.UID, 0, len(e.users))
	for uid := range e.users {
		users = append(users, uid)
	}
	s.mu.Unlock()
	s.onChange(users)
}

// ConfigMap returns the object, which must not be changed.
func (s *Store) ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error) {
	object, err := s.get(ctx, Ref{configMaps, namespace, name})
	if err != nil {
		return nil, err
	}
	return object.(*v1.ConfigMap), nil
}

// Secret returns the object, which must not be changed.
func (s *Store) Secret(ctx context.Context, namespace, name string) (*v1.Secret, error) {
	object, err := s.get(ctx, Ref{secrets, namespace, name})
	if err != nil {
		return nil, err
	}
	return object.(*v1.Secret), nil
}

// get returns the object as the watch has it, after waiting for the first list. An object that no pod registered is
// read directly.
func (s *Store) get(ctx context.Context, ref Ref) (apiruntime.Object, error) {
	s.mu.Lock()
	e := s.entries[ref]
	s.mu.Unlock()
	if e == nil {
		return s.read(ctx, ref)
	}
	select {
	case <-e.synced:
	case <-ctx.Done():
		return nil, fmt.Errorf("failed to sync %s cache: %w", ref.kind, ctx.Err())
	}
	e.mu.Lock()
	object := e.object
	e.mu.Unlock()
	if object == nil {
		return nil, apierrors.NewNotFound(v1.Resource(string(ref.kind)[:len(ref.kind)-1]), ref.name)
	}
	return object, nil
}

func (s *Store) read(ctx context.Context, ref Ref) (apiruntime.Object, error) {
	if ref.kind == secrets {
		return s.client.CoreV1().Secrets(ref.namespace).Get(ctx, ref.name, metav1.GetOptions{})
	}
	return s.client.CoreV1().ConfigMaps(ref.namespace).Get(ctx, ref.name, metav1.GetOptions{})
}
