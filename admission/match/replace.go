package match

import (
	"fmt"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"

	"github.com/yare-io/yare/admission"
)

// Decode makes an object of the view's type from JSON.
func (v *View) Decode(data []byte) (runtime.Object, error) {
	if _, ok := v.Object.(*unstructured.Unstructured); ok {
		out := &unstructured.Unstructured{}
		return out, out.UnmarshalJSON(data)
	}
	out := reflect.New(reflect.TypeOf(v.Object).Elem()).Interface().(runtime.Object)
	return out, kjson.UnmarshalCaseSensitivePreserveInts(data, out)
}

// Replace makes obj, of the view's version, the object of the request, with
// defaults filled in. A change of what the object is (kind, namespace, and on
// updates name) is an error and changes nothing.
func (r *Request) Replace(v *View, obj runtime.Object) error {
	if kind := obj.GetObjectKind().GroupVersionKind(); kind != v.Kind {
		return fmt.Errorf("the kind was changed from %s to %s", v.Kind, kind)
	}
	if err := r.samePlace(obj); err != nil {
		return err
	}
	if v.row != nil && v.row.Strategy.Default != nil {
		v.row.Strategy.Default(obj)
	}
	own := r.versions.row(r.Resource)
	if v.Kind != r.Kind && v.row != nil {
		converted, err := convert(obj, v.row, own)
		if err != nil {
			return err
		}
		obj = converted
	}
	if r.Subresource == "" && own != nil && own.Strategy.Default != nil {
		own.Strategy.Default(obj)
	}
	if _, dynamic := obj.(*unstructured.Unstructured); !dynamic {
		obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	}
	r.Put(obj)
	return nil
}

// Put makes obj the object of the request, as it is. It must be one that the
// request had before, or be like one.
func (r *Request) Put(obj runtime.Object) {
	r.Object, r.views = obj, nil
	if r.Resource.Resource == "namespaces" {
		r.namespaceKnown = false
	}
}

// samePlace refuses an object that would be stored elsewhere than the request
// says.
func (r *Request) samePlace(obj runtime.Object) error {
	now, err := meta.Accessor(obj)
	if err != nil {
		return nil // options and reviews have no place
	}
	before, err := meta.Accessor(r.Object)
	if err != nil {
		return nil
	}
	if now.GetNamespace() != before.GetNamespace() {
		return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	if r.Operation == admission.Update && now.GetName() != before.GetName() {
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", now.GetName(), before.GetName()))
	}
	return nil
}
