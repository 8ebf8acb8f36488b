package inventory

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
)

// view is one resource decoded as a whole: a tree of maps by namespace and
// name, whose leaves are policy values. Trees are never changed once returned.
type view struct {
	resource Resource

	mu      sync.Mutex
	objects []runtime.Object
	decoded map[runtime.Object]ast.Value
	current map[string]any
	// changes counts the trees there have been.
	changes int
}

// tree returns the resource as it is now. While nothing changes, this costs a
// comparison of pointers.
func (v *view) tree(ctx context.Context, objects Objects) (map[string]any, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now, err := objects.List(ctx, v.resource.GroupResource, "")
	if err != nil {
		return nil, fmt.Errorf("reading %s for a policy: %w", v.resource.GroupResource, err)
	}
	if v.current != nil && slices.Equal(now, v.objects) {
		return v.current, nil
	}
	decoded, tree := make(map[runtime.Object]ast.Value, len(now)), map[string]any{}
	for _, object := range now {
		value, there := v.decoded[object]
		if !there {
			if value, err = decode(object, v.resource); err != nil {
				return nil, err
			}
		}
		decoded[object] = value
		if err := put(tree, v.resource.Namespaced, object, value); err != nil {
			return nil, err
		}
	}
	v.objects, v.decoded, v.current = now, decoded, tree
	v.changes++
	return tree, nil
}

func decode(object runtime.Object, resource Resource) (ast.Value, error) {
	whole, err := plain(object, resource.Kind)
	if err != nil {
		return nil, err
	}
	return ast.InterfaceToValue(whole)
}

func put(tree map[string]any, namespaced bool, object runtime.Object, value ast.Value) error {
	m, err := meta.Accessor(object)
	if err != nil {
		return err
	}
	if namespaced {
		tree = child(tree, m.GetNamespace())
	}
	tree[m.GetName()] = value
	return nil
}

// child is the map under a key, made when it is not there.
func child(tree map[string]any, key string) map[string]any {
	found, ok := tree[key].(map[string]any)
	if !ok {
		found = map[string]any{}
		tree[key] = found
	}
	return found
}

// descend follows a path into a tree or a decoded object.
func descend(value any, path []string) (any, error) {
	for at, key := range path {
		switch inner := value.(type) {
		case map[string]any:
			next, ok := inner[key]
			if !ok {
				return nil, notFound(key)
			}
			value = next
		case []any:
			index, err := strconv.Atoi(key)
			if err != nil || index < 0 || index >= len(inner) {
				return nil, notFound(key)
			}
			value = inner[index]
		case ast.Value:
			return descendValue(inner, path[at:])
		default:
			return nil, notFound(key)
		}
	}
	return value, nil
}

func descendValue(value ast.Value, path []string) (any, error) {
	ref := make(ast.Ref, len(path))
	for i, key := range path {
		ref[i] = ast.StringTerm(key)
	}
	found, err := value.Find(ref)
	if err != nil {
		return nil, notFound(path[len(path)-1])
	}
	return found, nil
}

// composite is all resources by version and kind.
type composite struct {
	changes []int
	tree    map[string]any
}

// composite returns data.inventory as a whole.
func (i *Inventory) composite(ctx context.Context) (map[string]any, error) {
	resources := i.resources()
	trees, changes := make([]map[string]any, len(resources)), make([]int, len(resources))
	for n, resource := range resources {
		view := i.view(resource)
		tree, err := view.tree(ctx, i.objects)
		if err != nil {
			return nil, err
		}
		trees[n], changes[n] = tree, view.count()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.whole.tree == nil || !slices.Equal(i.whole.changes, changes) {
		i.whole = composite{changes, compose(resources, trees)}
	}
	return i.whole.tree, nil
}

func (v *view) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.changes
}

// compose shares the maps of names with the trees.
func compose(resources []Resource, trees []map[string]any) map[string]any {
	whole := map[string]any{"cluster": map[string]any{}, "namespace": map[string]any{}}
	for n, resource := range resources {
		version, kind := resource.Kind.GroupVersion().String(), resource.Kind.Kind
		if !resource.Namespaced {
			child(child(whole, "cluster"), version)[kind] = trees[n]
			continue
		}
		for namespace, names := range trees[n] {
			child(child(child(whole, "namespace"), namespace), version)[kind] = names
		}
	}
	return whole
}
