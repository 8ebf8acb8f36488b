package worker

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// Key names an object: the usual key of a Loop.
type Key = cache.ObjectName

// KeyOf returns an object's Key.
func KeyOf(object metav1.Object) Key {
	return Key{Namespace: object.GetNamespace(), Name: object.GetName()}
}

// Watcher is what Watch attaches to: a Loop of any key.
type Watcher interface {
	watch(informer cache.SharedIndexInformer, handler cache.ResourceEventHandler)
}

func (l *Loop[K]) watch(informer cache.SharedIndexInformer, handler cache.ResourceEventHandler) {
	registration, err := informer.AddEventHandler(handler)
	if err != nil {
		l.err = fmt.Errorf("watching for queue %s: %w", l.options.Queue, err)
		return
	}
	l.Needs(informer)
	l.synced = append(l.synced, registration.HasSyncedChecker())
}

// Watch calls on for every change the informer sees, one call at a time: old is
// nil for an addition, now is nil for a removal (old is then the last state
// known). The objects are shared and must not be changed. The loop starts its
// workers only after on has seen the informer's first full list.
func Watch[T interface {
	comparable
	metav1.Object
}](loop Watcher, informer cache.SharedIndexInformer, on func(old, now T)) {
	var none T
	loop.watch(informer, cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { on(none, object.(T)) },
		UpdateFunc: func(old, object any) { on(old.(T), object.(T)) },
		DeleteFunc: func(object any) {
			if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = gone.Obj
			}
			if last, ok := object.(T); ok {
				on(last, none)
			}
		},
	})
}

// Latest returns now, or for a removal the last state known.
func Latest[T comparable](old, now T) T {
	var none T
	if now == none {
		return old
	}
	return now
}

// WatchKeys adds each changed object's own key to the loop.
func WatchKeys[T interface {
	comparable
	metav1.Object
}](loop *Loop[Key], informer cache.SharedIndexInformer) {
	Watch(loop, informer, func(old, now T) { loop.Add(KeyOf(Latest(old, now))) })
}
