package apiserver

import (
	"context"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/storage/cache"
)

// present brings objects of the cache into the resource's version.
func (res *resource) present(ctx context.Context, objects []*cache.Object) ([]encodable, error) {
	out := make([]encodable, len(objects))
	for i, o := range objects {
		out[i] = o
	}
	if !res.presents() || len(objects) == 0 {
		return out, nil
	}
	before := make([]runtime.Object, len(objects))
	for i, o := range objects {
		var err error
		if before[i], err = o.Decoded(); err != nil {
			return nil, err
		}
	}
	after, err := res.row.Codec.Present(ctx, before)
	if err != nil {
		return nil, err
	}
	for i, obj := range after {
		if obj != before[i] {
			out[i] = fresh{obj}
		}
	}
	return out, nil
}

func (res *resource) presents() bool { return res.row.Codec != nil && res.row.Codec.Present != nil }

// presentOne does the same for a single object.
func (res *resource) presentOne(ctx context.Context, object *cache.Object) (encodable, error) {
	if !res.presents() {
		return object, nil
	}
	out, err := res.present(ctx, []*cache.Object{object})
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// presentedFields are the fields of objects in the resource's version, where
// what the cache has does not tell them.
func (res *resource) presentedFields() func(runtime.Object) fields.Set {
	if res.row.Codec == nil {
		return nil
	}
	return res.row.Codec.Fields
}

// form is that of the resource's version, for a predicate that selects by its
// fields.
func (res *resource) form(selector fields.Selector) *cache.Form {
	return &cache.Form{Fields: selector, Of: func(ctx context.Context, objects []*cache.Object) ([]*cache.Object, error) {
		presented, err := res.present(ctx, objects)
		if err != nil {
			return nil, err
		}
		out := make([]*cache.Object, len(objects))
		for i, object := range objects {
			obj, err := presented[i].Decoded()
			if err != nil {
				return nil, err
			}
			out[i] = object.In(obj, res.presentedFields()(obj))
		}
		return out, nil
	}}
}
