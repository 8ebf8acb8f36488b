package webhook

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// source follows the configurations of one kind, and compiles each once.
type source struct {
	informer cache.SharedIndexInformer
	compile  func(configuration any) []*hook

	// changes counts the events seen.
	changes atomic.Uint64
	mutex   sync.Mutex
	// configurations are the compiled ones by name.
	configurations map[string]compiled
	list           atomic.Pointer[snapshot]
}

// snapshot is all webhooks in order, as they were after some changes.
type snapshot struct {
	changes uint64
	hooks   []*hook
}

type compiled struct {
	version string
	hooks   []*hook
}

func follow(informer cache.SharedIndexInformer, compile func(any) []*hook) (*source, error) {
	s := &source{informer: informer, compile: compile}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { s.changes.Add(1) },
		UpdateFunc: func(any, any) { s.changes.Add(1) },
		DeleteFunc: func(any) { s.changes.Add(1) },
	})
	return s, err
}

// hooks returns the webhooks of all configurations, these by name, as
// Kubernetes has it.
func (s *source) hooks() []*hook {
	if list := s.list.Load(); list != nil && list.changes == s.changes.Load() {
		return list.hooks
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	// A change from here on makes the snapshot an old one.
	changes := s.changes.Load()
	if list := s.list.Load(); list != nil && list.changes == changes {
		return list.hooks
	}
	list := &snapshot{changes, s.rebuild()}
	s.list.Store(list)
	return list.hooks
}

func (s *source) rebuild() []*hook {
	objects := s.informer.GetStore().List()
	slices.SortFunc(objects, func(a, b any) int {
		return strings.Compare(a.(metav1.Object).GetName(), b.(metav1.Object).GetName())
	})
	now := make(map[string]compiled, len(objects))
	var all []*hook
	for _, object := range objects {
		m := object.(metav1.Object)
		known, ok := s.configurations[m.GetName()]
		if version := string(m.GetUID()) + "/" + m.GetResourceVersion(); !ok || known.version != version {
			known = compiled{version, s.compile(object)}
		}
		now[m.GetName()] = known
		all = append(all, known.hooks...)
	}
	s.retire(now)
	s.configurations = now
	return all
}

// retire closes the idle connections of webhooks that are no more. Calls under
// way end as they would.
func (s *source) retire(now map[string]compiled) {
	for name, old := range s.configurations {
		if now[name].version == old.version {
			continue
		}
		for _, h := range old.hooks {
			h.close()
		}
	}
}
