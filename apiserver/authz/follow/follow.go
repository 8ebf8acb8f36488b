// Package follow keeps what authorizers know equal to what informers see.
package follow

import (
	"slices"

	"k8s.io/client-go/tools/cache"
)

// Resource is one kind of objects to follow.
type Resource struct {
	informer cache.SharedIndexInformer
	handler  cache.ResourceEventHandler
}

// Of calls set for each new state of an object, and remove with the last one
// that is known when it is gone; one call at a time.
func Of[T any](informer cache.SharedIndexInformer, set, remove func(T)) Resource {
	return Resource{informer, cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { set(object.(T)) },
		UpdateFunc: func(_, object any) { set(object.(T)) },
		DeleteFunc: func(object any) {
			if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = gone.Obj
			}
			remove(object.(T))
		},
	}}
}

// All follows the resources. The informers' owner starts and stops them. The
// returned function reports whether all that was there at the start has arrived.
func All(resources ...Resource) (cache.InformerSynced, error) {
	var arrived []cache.InformerSynced
	for _, r := range resources {
		registration, err := r.informer.AddEventHandler(r.handler)
		if err != nil {
			return nil, err
		}
		arrived = append(arrived, registration.HasSynced)
	}
	return func() bool {
		return !slices.ContainsFunc(arrived, func(has cache.InformerSynced) bool { return !has() })
	}, nil
}
