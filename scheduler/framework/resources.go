package framework

import (
	"maps"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
)

// What a container that asks for nothing is taken to use when nodes are
// scored, so that such pods spread too. Filtering never uses these.
const (
	DefaultMilliCPU int64 = 100
	DefaultMemory   int64 = 200 * 1024 * 1024
)

// Resources is an amount of each resource: CPU in thousandths of a core, the
// rest in the resource's own unit. The zero value is nothing of everything.
type Resources struct {
	MilliCPU         int64
	Memory           int64
	EphemeralStorage int64
	// Scalar holds every other resource; nil when there is none.
	Scalar map[v1.ResourceName]int64
}

// NewResources reads a resource list; the pods resource is left out.
func NewResources(list v1.ResourceList) Resources {
	var r Resources
	for name, quantity := range list {
		switch name {
		case v1.ResourceCPU:
			r.MilliCPU = quantity.MilliValue()
		case v1.ResourceMemory:
			r.Memory = quantity.Value()
		case v1.ResourceEphemeralStorage:
			r.EphemeralStorage = quantity.Value()
		case v1.ResourcePods:
		default:
			if r.Scalar == nil {
				r.Scalar = map[v1.ResourceName]int64{}
			}
			r.Scalar[name] = quantity.Value()
		}
	}
	return r
}

// Get returns the amount of one resource.
func (r *Resources) Get(name v1.ResourceName) int64 {
	switch name {
	case v1.ResourceCPU:
		return r.MilliCPU
	case v1.ResourceMemory:
		return r.Memory
	case v1.ResourceEphemeralStorage:
		return r.EphemeralStorage
	}
	return r.Scalar[name]
}

// Zero reports whether r asks for nothing.
func (r *Resources) Zero() bool {
	for _, amount := range r.Scalar {
		if amount != 0 {
			return false
		}
	}
	return r.MilliCPU == 0 && r.Memory == 0 && r.EphemeralStorage == 0
}

// add adds sign times other to r.
func (r *Resources) add(other *Resources, sign int64) {
	r.MilliCPU += sign * other.MilliCPU
	r.Memory += sign * other.Memory
	r.EphemeralStorage += sign * other.EphemeralStorage
	for name, amount := range other.Scalar {
		if r.Scalar == nil {
			r.Scalar = map[v1.ResourceName]int64{}
		}
		r.Scalar[name] += sign * amount
	}
}

func (r Resources) clone() Resources {
	r.Scalar = maps.Clone(r.Scalar)
	return r
}

// podRequests returns what the pod asks for, and the same with the defaults
// for containers that ask for no CPU or memory.
func podRequests(pod *v1.Pod) (exact, scored Resources) {
	opts := resourcehelper.PodResourcesOptions{UseStatusResources: pod.Spec.NodeName != ""}
	exact = NewResources(resourcehelper.PodRequests(pod, opts))
	opts.NonMissingContainerRequests = v1.ResourceList{
		v1.ResourceCPU:    *resource.NewMilliQuantity(DefaultMilliCPU, resource.DecimalSI),
		v1.ResourceMemory: *resource.NewQuantity(DefaultMemory, resource.BinarySI),
	}
	scored = NewResources(resourcehelper.PodRequests(pod, opts))
	return exact, scored
}
