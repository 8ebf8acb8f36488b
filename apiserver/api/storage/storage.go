// Package storage holds the rows of the storage.k8s.io group: classes of
// volumes, the drivers behind them, and what is attached where. It has
// nothing to do with where the API server keeps its data.
package storage

import (
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver/registry"
)

// Resources returns the rows of the group.
func Resources() []*registry.Resource {
	return []*registry.Resource{
		csiDrivers(), csiNodes(), csiStorageCapacities(), storageClasses(), volumeAttachments(), volumeAttributesClasses(),
	}
}

func kind(name string) schema.GroupVersionKind { return storagev1.SchemeGroupVersion.WithKind(name) }
