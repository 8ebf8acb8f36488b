// Package usage says what objects use of a ResourceQuota: how much of which
// resources, and which quotas they fall under. Admission charges by it, and a
// controller counts by it. It is pure.
package usage

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// countPrefix begins the names of resources that count objects of any kind.
const countPrefix = "count/"

// counted are the kinds that have a name of their own beside count/….
var counted = map[schema.GroupResource]corev1.ResourceName{
	corev1.Resource("configmaps"):             corev1.ResourceConfigMaps,
	corev1.Resource("secrets"):                corev1.ResourceSecrets,
	corev1.Resource("replicationcontrollers"): corev1.ResourceReplicationControllers,
	corev1.Resource("resourcequotas"):         corev1.ResourceQuotas,
}

var (
	pods     = corev1.Resource("pods")
	services = corev1.Resource("services")
	claims   = corev1.Resource("persistentvolumeclaims")
)

// CountName is the resource that counts the objects of a kind.
func CountName(of schema.GroupResource) corev1.ResourceName {
	return corev1.ResourceName(countPrefix + of.String())
}

// Counts returns the kind that a resource counts by any of its names.
func Counts(name corev1.ResourceName) (schema.GroupResource, bool) {
	if text, ok := strings.CutPrefix(string(name), countPrefix); ok {
		return schema.ParseGroupResource(text), true
	}
	for of, short := range counted {
		if short == name {
			return of, true
		}
	}
	return schema.GroupResource{}, false
}

// Of is what an object uses. A nil object of a kind that is only counted uses
// one.
func Of(of schema.GroupResource, obj runtime.Object) corev1.ResourceList {
	list := corev1.ResourceList{CountName(of): *resource.NewQuantity(1, resource.DecimalSI)}
	switch o := obj.(type) {
	case *corev1.Pod:
		addPod(list, o)
	case *corev1.Service:
		addService(list, o)
	case *corev1.PersistentVolumeClaim:
		addClaim(list, o)
	default:
		if short, ok := counted[of]; ok {
			list[short] = list[CountName(of)]
		}
	}
	return list
}

// Measured returns those of a quota's resources that objects of a kind use.
func Measured(of schema.GroupResource, names []corev1.ResourceName) []corev1.ResourceName {
	var out []corev1.ResourceName
	for _, name := range names {
		if measures(of, name) {
			out = append(out, name)
		}
	}
	return out
}

func measures(of schema.GroupResource, name corev1.ResourceName) bool {
	if name == CountName(of) {
		return true
	}
	switch of {
	case pods:
		return isPodResource(name)
	case services:
		return slices.Contains(serviceResources, name)
	case claims:
		return isClaimResource(name)
	}
	short, ok := counted[of]
	return ok && short == name
}

// Names lists the resources of a list, sorted.
func Names(list corev1.ResourceList) []corev1.ResourceName {
	names := make([]corev1.ResourceName, 0, len(list))
	for name := range list {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Only keeps the named resources of a list.
func Only(list corev1.ResourceList, names []corev1.ResourceName) corev1.ResourceList {
	out := corev1.ResourceList{}
	for _, name := range names {
		if amount, ok := list[name]; ok {
			out[name] = amount.DeepCopy()
		}
	}
	return out
}

// Add returns the sum of two lists.
func Add(a, b corev1.ResourceList) corev1.ResourceList {
	out := a.DeepCopy()
	if out == nil {
		out = corev1.ResourceList{}
	}
	for name, amount := range b {
		sum := out[name]
		sum.Add(amount)
		out[name] = sum
	}
	return out
}

// Increase returns how much more b is than a, zero where it is not.
func Increase(a, b corev1.ResourceList) corev1.ResourceList {
	out := corev1.ResourceList{}
	for name, amount := range b {
		more := amount.DeepCopy()
		more.Sub(a[name])
		if more.Sign() > 0 {
			out[name] = more
		}
	}
	return out
}
