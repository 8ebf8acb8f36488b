// Package batch holds the rows of the batch group: jobs, and their schedules.
package batch

import (
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver/registry"
)

// Resources returns the rows of the group.
func Resources() []*registry.Resource { return []*registry.Resource{cronJobs(), jobs()} }

func kind(name string) schema.GroupVersionKind { return batchv1.SchemeGroupVersion.WithKind(name) }
