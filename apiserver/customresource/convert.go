package customresource

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver/codec"
	"github.com/yare-io/yare/apiserver/registry"
)

// converter brings objects from any version of a definition into another one.
// The results are in the form of its schema, and new objects where anything
// changes; they are shared.
type converter interface {
	convert(ctx context.Context, objs []*unstructured.Unstructured, to schema.GroupVersion) ([]*unstructured.Unstructured, error)
}

// relabel is the conversion strategy None: versions differ by name alone.
type relabel struct {
	prune func(*unstructured.Unstructured) error
}

func (r relabel) convert(_ context.Context, objs []*unstructured.Unstructured, to schema.GroupVersion) ([]*unstructured.Unstructured, error) {
	out := make([]*unstructured.Unstructured, len(objs))
	for i, obj := range objs {
		if out[i] = obj; obj.GetAPIVersion() != to.String() {
			out[i] = obj.DeepCopy()
			out[i].SetAPIVersion(to.String())
			if err := r.prune(out[i]); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// prune brings an object into the form of its version's schema.
func (d *definition) prune(obj *unstructured.Unstructured) error {
	return d.versions[obj.GroupVersionKind().Version].prune(obj)
}

// codec stores objects of a version as Kubernetes does: as JSON, in the storage
// version.
func (d *definition) codec(v *version) *registry.Codec {
	c := &registry.Codec{
		Stored: d.storage.kind,
		Decode: func(value []byte) (runtime.Object, error) {
			obj, err := d.decode(value)
			if err != nil || d.remote {
				return obj, err
			}
			return d.relabelled(obj, v)
		},
		Encode: func(ctx context.Context, obj runtime.Object) ([]byte, error) {
			return d.encode(ctx, obj.(*unstructured.Unstructured))
		},
	}
	if d.remote {
		c.Present = func(ctx context.Context, objs []runtime.Object) ([]runtime.Object, error) {
			return d.present(ctx, objs, v)
		}
	}
	return c
}

// decode reads a stored object in the version in which it is stored.
func (d *definition) decode(value []byte) (*unstructured.Unstructured, error) {
	content, err := codec.UnmarshalContent(value)
	if err != nil {
		return nil, fmt.Errorf("read stored %s: %w", d.storage.kind.Kind, err)
	}
	obj := &unstructured.Unstructured{Object: content}
	stored := obj.GroupVersionKind()
	v := d.versions[stored.Version]
	if v == nil || stored != v.kind {
		return nil, fmt.Errorf("read stored %s: found a %s: %w", d.storage.kind.Kind, stored, errNoVersion)
	}
	return obj, v.read(obj)
}

// relabelled brings an object that nobody else has into another version.
func (d *definition) relabelled(obj *unstructured.Unstructured, to *version) (*unstructured.Unstructured, error) {
	if obj.GetAPIVersion() == to.kind.GroupVersion().String() {
		return obj, nil
	}
	obj.SetAPIVersion(to.kind.GroupVersion().String())
	return obj, to.prune(obj)
}

func (d *definition) encode(ctx context.Context, obj *unstructured.Unstructured) ([]byte, error) {
	stored, err := d.converter.convert(ctx, []*unstructured.Unstructured{obj}, d.storage.kind.GroupVersion())
	if err != nil {
		return nil, err
	}
	raw, err := codec.MarshalContent(stored[0].Object)
	if err != nil {
		return nil, fmt.Errorf("encode %s for the store: %w", d.storage.kind.Kind, err)
	}
	return append(raw, '\n'), nil
}

func (d *definition) present(ctx context.Context, objs []runtime.Object, to *version) ([]runtime.Object, error) {
	before := make([]*unstructured.Unstructured, len(objs))
	for i, obj := range objs {
		before[i] = obj.(*unstructured.Unstructured)
	}
	after, err := d.converter.convert(ctx, before, to.kind.GroupVersion())
	if err != nil {
		return nil, err
	}
	out := make([]runtime.Object, len(after))
	for i := range after {
		out[i] = after[i]
	}
	return out, nil
}

// versionConverter converts between versions for the records of server-side
// apply.
type versionConverter struct{ *definition }

// ConvertToVersion implements runtime.ObjectConvertor.
func (c versionConverter) ConvertToVersion(in runtime.Object, gv runtime.GroupVersioner) (runtime.Object, error) {
	kind, ok := gv.KindForGroupVersionKinds([]schema.GroupVersionKind{in.GetObjectKind().GroupVersionKind()})
	if !ok {
		return nil, fmt.Errorf("%s: %w", gv.Identifier(), errNoVersion)
	}
	to := c.versions[kind.Version]
	if to == nil {
		return nil, runtime.NewNotRegisteredErrForKind(c.resource.String(), kind)
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	out, err := c.converter.convert(ctx, []*unstructured.Unstructured{in.(*unstructured.Unstructured)}, to.kind.GroupVersion())
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// Convert implements runtime.ObjectConvertor.
func (c versionConverter) Convert(in, out, _ any) error {
	target := out.(*unstructured.Unstructured)
	converted, err := c.ConvertToVersion(in.(runtime.Object), target.GroupVersionKind().GroupVersion())
	if err != nil {
		return err
	}
	target.Object = converted.DeepCopyObject().(*unstructured.Unstructured).Object
	return nil
}

// ConvertFieldLabel implements runtime.ObjectConvertor.
func (versionConverter) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}
