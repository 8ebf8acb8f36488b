package controllers

import "k8s.io/apimachinery/pkg/api/meta"

// slim drops what no controller reads before an object enters a cache. The
// managed fields of an object are often larger than the rest of it.
func slim(object any) (any, error) {
	if accessor, err := meta.Accessor(object); err == nil && accessor.GetManagedFields() != nil {
		accessor.SetManagedFields(nil)
	}
	return object, nil
}
