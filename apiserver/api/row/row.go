// Package row holds the pieces that rows of every API group are composed of:
// verb sets, empty objects, status and scale subresources, generations and
// table columns. It knows no kind beyond autoscaling/v1 Scale and no rule of
// any resource.
package row

import (
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/apiserver/codec"
	"github.com/yare-io/yare/apiserver/registry"
)

// AllVerbs returns the verbs of an ordinary resource.
func AllVerbs() []string {
	return []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
}

// CreateOnly returns the verbs of a resource that is an action.
func CreateOnly() []string { return []string{"create"} }

// ReadWrite returns the verbs of a subresource that is a part of its parent.
func ReadWrite() []string { return []string{"get", "patch", "update"} }

// Proxy returns the verbs of a subresource that passes any method on.
func Proxy() []string { return []string{"create", "delete", "get", "patch", "update"} }

// New returns an empty object; instantiated, it is a Resource's New or
// NewList.
func New[T any, P interface {
	*T
	runtime.Object
}]() runtime.Object {
	return P(new(T))
}

// Status returns a status subresource with the given rules.
func Status(part registry.Strategy) registry.Subresource {
	return Part("status", part)
}

// Part returns a subresource that is a part of the object.
func Part(name string, part registry.Strategy) registry.Subresource {
	return registry.Subresource{Name: name, Verbs: ReadWrite(), Part: &part}
}

// NextGeneration sets obj's generation: one more than old's when changed, else
// the same, whatever the client sent.
func NextGeneration(obj, old metav1.Object, changed bool) {
	generation := old.GetGeneration()
	if changed {
		generation++
	}
	obj.SetGeneration(generation)
}

// Same reports whether two values mean the same: quantities and times are
// compared by value, nil and empty are equal.
func Same[T any](a, b T) bool {
	if same, known := codec.Same(&a, &b); known && same {
		return true
	}
	return apiequality.Semantic.DeepEqual(a, b)
}
