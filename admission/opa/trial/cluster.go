package trial

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/admission/opa/inventory"
)

// cluster is what policies see of a cluster that there is only in files.
type cluster struct {
	resources []inventory.Resource
	objects   map[schema.GroupResource][]runtime.Object
}

func newCluster(documents []Document) *cluster {
	c := &cluster{objects: map[schema.GroupResource][]runtime.Object{}}
	for _, d := range documents {
		resource := resourceOf(d.GroupVersionKind()).GroupResource()
		if c.objects[resource] == nil {
			c.resources = append(c.resources, inventory.Resource{GroupResource: resource, Kind: d.GroupVersionKind(), Namespaced: d.GetNamespace() != ""})
		}
		c.objects[resource] = append(c.objects[resource], d.Unstructured)
	}
	for _, objects := range c.objects {
		slices.SortFunc(objects, func(a, b runtime.Object) int { return strings.Compare(key(a), key(b)) })
	}
	return c
}

func key(object runtime.Object) string {
	u := object.(*unstructured.Unstructured)
	return u.GetNamespace() + "/" + u.GetName()
}

// resourceOf is the name that a kind's resource has if it follows English.
func resourceOf(kind schema.GroupVersionKind) schema.GroupVersionResource {
	plural, _ := meta.UnsafeGuessKindToResource(kind)
	return plural
}

// Get implements inventory.Objects.
func (c *cluster) Get(_ context.Context, resource schema.GroupResource, namespace, name string) (runtime.Object, error) {
	for _, object := range c.objects[resource] {
		if key(object) == namespace+"/"+name {
			return object, nil
		}
	}
	return nil, apierrors.NewNotFound(resource, name)
}

// List implements inventory.Objects.
func (c *cluster) List(_ context.Context, resource schema.GroupResource, namespace string) ([]runtime.Object, error) {
	all := c.objects[resource]
	if namespace == "" {
		return all, nil
	}
	return slices.DeleteFunc(slices.Clone(all), func(object runtime.Object) bool {
		return object.(*unstructured.Unstructured).GetNamespace() != namespace
	}), nil
}

// namespaces are those that files bring; others are there, without labels.
type namespaces struct{ cluster *cluster }

// Get implements opa.Namespaces.
func (n namespaces) Get(ctx context.Context, name string) (*corev1.Namespace, error) {
	namespace := &corev1.Namespace{}
	namespace.Name = name
	object, err := n.cluster.Get(ctx, corev1.Resource("namespaces"), "", name)
	if apierrors.IsNotFound(err) {
		return namespace, nil
	}
	return namespace, runtime.DefaultUnstructuredConverter.FromUnstructured(object.(*unstructured.Unstructured).Object, namespace)
}
