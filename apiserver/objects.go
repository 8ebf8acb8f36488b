package apiserver

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/storage/cache"
)

// Objects is the server's own hand on its objects: past authorization,
// admission and strategies. Errors are those of the API.
func (s *Server) Objects() registry.Objects { return objects{s} }

// Stored is the part of the cache in which a stored resource of the server's
// own is kept; nil when there is no such resource.
func (s *Server) Stored(name schema.GroupResource) *cache.Resource {
	if res := s.set().stored[name]; res != nil {
		return res.objects()
	}
	return nil
}

type objects struct{ server *Server }

func (o objects) resource(name schema.GroupResource) (*resource, error) {
	res := o.server.set().stored[name]
	if res == nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("no resource %s is stored", name))
	}
	return res, nil
}

func (o objects) write(name schema.GroupResource, namespace, object string) (*write, error) {
	res, err := o.resource(name)
	if err != nil {
		return nil, err
	}
	return &write{res: res, strategy: &res.row.Strategy, namespace: namespace, name: object}, nil
}

// Get implements registry.Objects.
func (o objects) Get(ctx context.Context, name schema.GroupResource, namespace, object string) (runtime.Object, error) {
	res, err := o.resource(name)
	if err != nil {
		return nil, err
	}
	found, err := res.objects().Get(ctx, res.key(namespace, object), cache.Consistent)
	if err != nil {
		return nil, apiError(err, name, object)
	}
	out, err := res.presentOne(ctx, found)
	if err != nil {
		return nil, apiError(err, name, object)
	}
	obj, err := out.Decoded()
	if err != nil {
		return nil, apiError(err, name, object)
	}
	return obj, nil
}

// List implements registry.Objects.
func (o objects) List(ctx context.Context, name schema.GroupResource, namespace string) ([]runtime.Object, error) {
	res, err := o.resource(name)
	if err != nil {
		return nil, err
	}
	page, err := res.objects().List(ctx, cache.ListOptions{Prefix: res.folder(namespace), Revision: cache.Consistent})
	if err != nil {
		return nil, apiError(err, name, "")
	}
	found, err := res.present(ctx, page.Objects)
	if err != nil {
		return nil, apiError(err, name, "")
	}
	out := make([]runtime.Object, len(found))
	for i := range found {
		if out[i], err = found[i].Decoded(); err != nil {
			return nil, apiError(err, name, "")
		}
	}
	return out, nil
}

// Create implements registry.Objects.
func (o objects) Create(ctx context.Context, name schema.GroupResource, obj runtime.Object) (runtime.Object, error) {
	obj = obj.DeepCopyObject()
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	wr, err := o.write(name, m.GetNamespace(), m.GetName())
	if err != nil {
		return nil, err
	}
	out, err := o.server.create(ctx, wr, obj)
	if err != nil {
		return nil, apiError(err, name, m.GetName())
	}
	return out, nil
}

// Update implements registry.Objects.
func (o objects) Update(ctx context.Context, name schema.GroupResource, namespace, object string, change func(runtime.Object) error) (runtime.Object, error) {
	wr, err := o.write(name, namespace, object)
	if err != nil {
		return nil, err
	}
	out, err := o.server.update(ctx, wr, func(old *current) (runtime.Object, error) {
		obj := old.obj.DeepCopyObject()
		return obj, change(obj)
	})
	if err != nil {
		return nil, apiError(err, name, object)
	}
	return out, nil
}

// Delete implements registry.Objects.
func (o objects) Delete(ctx context.Context, name schema.GroupResource, namespace, object string, options *metav1.DeleteOptions) error {
	wr, err := o.write(name, namespace, object)
	if err != nil {
		return err
	}
	if options == nil {
		options = &metav1.DeleteOptions{}
	}
	wr.dryRun = len(options.DryRun) > 0
	if _, _, err := o.server.remove(ctx, wr, options); err != nil {
		return apiError(err, name, object)
	}
	return nil
}
