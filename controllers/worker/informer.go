package worker

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/cache"
)

// Slim is the transform of all informers: it drops what no controller reads. The
// managed fields of an object are often larger than the rest of it.
func Slim(object any) (any, error) {
	if accessor, err := meta.Accessor(object); err == nil && accessor.GetManagedFields() != nil {
		accessor.SetManagedFields(nil)
	}
	return object, nil
}

// Informing runs an informer that belongs to one controller alone, because it
// sees only a part of its resource.
func Informing(informer cache.SharedIndexInformer) Runner {
	return RunnerFunc(func(ctx context.Context) error {
		informer.RunWithContext(ctx)
		return nil
	})
}
