// Package inventory shows objects of the cluster to policies, as
// data.kubernetes.<resource>[namespace][name] as users of kube-mgmt know it, and
// as data.inventory as users of Gatekeeper do. An object that is looked up by
// name is read from the watch cache and kept nowhere; a resource that policies
// go through as a whole is kept decoded for them from the first time on, and
// only what has changed is decoded again. It refuses to know policies.
package inventory

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/storage"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/admission/opa/review"
)

// Objects reads the cluster. What it returns is shared and never changed; an
// object that has not changed is the same pointer. Every read shows all that
// was written before it.
type Objects interface {
	// Get fails with an error for which apierrors.IsNotFound holds when there is
	// no such object.
	Get(ctx context.Context, resource schema.GroupResource, namespace, name string) (runtime.Object, error)
	// List returns the objects of all namespaces in a fixed order.
	List(ctx context.Context, resource schema.GroupResource, namespace string) ([]runtime.Object, error)
}

// Resource is one that policies see.
type Resource struct {
	schema.GroupResource
	Kind       schema.GroupVersionKind
	Namespaced bool
}

// Inventory is an engine's overlay. Its methods may be called concurrently.
type Inventory struct {
	objects   Objects
	resources func() []Resource

	mu    sync.Mutex
	views map[schema.GroupResource]*view
	whole composite
}

// New returns an inventory of the resources that the function names; it is
// asked for every read and must be cheap.
func New(objects Objects, resources func() []Resource) *Inventory {
	return &Inventory{objects: objects, resources: resources, views: map[schema.GroupResource]*view{}}
}

// The roots of what policies see.
const (
	byResource = "kubernetes"
	byKind     = "inventory"
)

// Read implements engine.Overlay.
func (i *Inventory) Read(ctx context.Context, path storage.Path) (any, bool, error) {
	switch {
	case len(path) >= 2 && path[0] == byResource:
		for _, resource := range i.resources() {
			if resource.Resource == path[1] {
				value, err := i.readResource(ctx, resource, path[2:])
				return value, true, err
			}
		}
	case len(path) >= 1 && path[0] == byKind && len(i.resources()) > 0:
		value, err := i.readKinds(ctx, path[1:])
		return value, true, err
	}
	return nil, false, nil
}

// readResource reads below data.kubernetes.<resource>.
func (i *Inventory) readResource(ctx context.Context, resource Resource, path []string) (any, error) {
	namespace, rest := "", path
	if resource.Namespaced && len(path) > 0 {
		namespace, rest = path[0], path[1:]
	}
	if len(rest) > 0 {
		return i.readObject(ctx, resource, namespace, rest[0], rest[1:])
	}
	tree, err := i.view(resource).tree(ctx, i.objects)
	if err != nil {
		return nil, err
	}
	return descend(tree, path)
}

// readObject reads one object, or a field of it.
func (i *Inventory) readObject(ctx context.Context, resource Resource, namespace, name string, fields []string) (any, error) {
	if resource.Namespaced == (namespace == "") || name == "" {
		return nil, notFound(name)
	}
	object, err := i.objects.Get(ctx, resource.GroupResource, namespace, name)
	if apierrors.IsNotFound(err) {
		return nil, notFound(name)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s for a policy: %w", resource.GroupResource, err)
	}
	plain, err := plain(object, resource.Kind)
	if err != nil {
		return nil, err
	}
	return descend(plain, fields)
}

// readKinds reads below data.inventory.
func (i *Inventory) readKinds(ctx context.Context, path []string) (any, error) {
	if resource, namespace, rest, ok := i.named(path); ok {
		return i.readObject(ctx, resource, namespace, rest[0], rest[1:])
	}
	tree, err := i.composite(ctx)
	if err != nil {
		return nil, err
	}
	return descend(tree, path)
}

// named finds the object that a path below data.inventory leads to:
// cluster/<version>/<kind>/<name> or namespace/<ns>/<version>/<kind>/<name>.
func (i *Inventory) named(path []string) (resource Resource, namespace string, rest []string, ok bool) {
	switch {
	case len(path) >= 4 && path[0] == "cluster":
		rest = path[1:]
	case len(path) >= 5 && path[0] == "namespace":
		namespace, rest = path[1], path[2:]
	default:
		return Resource{}, "", nil, false
	}
	for _, resource := range i.resources() {
		if resource.Kind.GroupVersion().String() == rest[0] && resource.Kind.Kind == rest[1] {
			return resource, namespace, rest[2:], true
		}
	}
	return Resource{}, "", nil, false
}

func (i *Inventory) view(resource Resource) *view {
	i.mu.Lock()
	defer i.mu.Unlock()
	found := i.views[resource.GroupResource]
	if found == nil {
		found = &view{resource: resource}
		i.views[resource.GroupResource] = found
	}
	return found
}

// plain is an object as policies see it: without the record of who set which
// field, which is often larger than the rest.
func plain(object runtime.Object, kind schema.GroupVersionKind) (map[string]any, error) {
	value, err := review.Plain(object, kind)
	if err != nil {
		return nil, err
	}
	whole := value.(map[string]any)
	metadata, ok := whole["metadata"].(map[string]any)
	if !ok || metadata["managedFields"] == nil {
		return whole, nil
	}
	slim, slimmer := make(map[string]any, len(whole)), make(map[string]any, len(metadata))
	for key, value := range whole {
		slim[key] = value
	}
	for key, value := range metadata {
		if key != "managedFields" {
			slimmer[key] = value
		}
	}
	slim["metadata"] = slimmer
	return slim, nil
}

func notFound(what string) error {
	return &storage.Error{Code: storage.NotFoundErr, Message: strings.TrimSpace("not in the cluster: " + what)}
}
