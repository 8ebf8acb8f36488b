package match

import (
	"context"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/lookup"
	"github.com/yare-io/yare/apiserver/registry"
)

// Request is one request while webhooks or policies look at it: what they all
// ask for is found once. It is for one goroutine.
type Request struct {
	*admission.Attributes

	namespaces lookup.Namespaces
	versions   *Versions

	namespace      *corev1.Namespace
	namespaceError error
	namespaceKnown bool

	equivalents      []*registry.Resource
	equivalentsKnown bool

	views map[schema.GroupVersionKind]*View
}

// NewRequest begins a look at a request.
func NewRequest(a *admission.Attributes, namespaces lookup.Namespaces, versions *Versions) *Request {
	return &Request{Attributes: a, namespaces: namespaces, versions: versions}
}

// NamespaceObject returns the namespace that the request is in; nil for what
// is in none.
func (r *Request) NamespaceObject(ctx context.Context) (*corev1.Namespace, error) {
	if !r.namespaceKnown {
		r.namespaceKnown = true
		r.namespace, r.namespaceError = r.findNamespace(ctx)
	}
	return r.namespace, r.namespaceError
}

func (r *Request) findNamespace(ctx context.Context) (*corev1.Namespace, error) {
	if r.Is(corev1.Resource("namespaces"), "") && (r.Operation == admission.Create || r.Operation == admission.Update) {
		if namespace, ok := r.Object.(*corev1.Namespace); ok {
			return namespace, nil
		}
	}
	if r.ObjectNamespace() == "" {
		return nil, nil
	}
	return r.namespaces.Get(ctx, r.ObjectNamespace())
}

// Subject is what a rule was found to be about: the request's resource, or one
// equivalent to it.
type Subject struct {
	Resource schema.GroupVersionResource
	Kind     schema.GroupVersionKind
	row      *registry.Resource
}

func (r *Request) own() Subject { return Subject{Resource: r.Resource, Kind: r.Kind} }

func (r *Request) others() []*registry.Resource {
	if !r.equivalentsKnown {
		r.equivalentsKnown = true
		r.equivalents = r.versions.equivalents(r.Resource)
	}
	return r.equivalents
}

// View is a request in the version of a subject. The objects name their kind,
// are shared, and stay as they are: Replace changes the request.
type View struct {
	Subject
	Object, OldObject runtime.Object
}

// View shows the request in the version of a subject.
func (r *Request) View(s Subject) (*View, error) {
	if view := r.views[s.Kind]; view != nil {
		return view, nil
	}
	view := &View{Subject: s}
	var err error
	if view.Object, err = r.show(r.Object, s); err == nil {
		view.OldObject, err = r.show(r.OldObject, s)
	}
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	if r.views == nil {
		r.views = map[schema.GroupVersionKind]*View{}
	}
	r.views[s.Kind] = view
	return view, nil
}

func (r *Request) show(obj runtime.Object, s Subject) (runtime.Object, error) {
	if isNil(obj) {
		return nil, nil
	}
	if s.Kind != r.Kind && s.row != nil {
		converted, err := convert(obj, r.versions.row(r.Resource), s.row)
		if err != nil {
			return nil, err
		}
		obj = converted
	}
	return Named(obj, s.Kind), nil
}

// Named returns the object with its kind and version, which objects inside the
// server do without. What it shares with the object is not to be changed.
func Named(obj runtime.Object, kind schema.GroupVersionKind) runtime.Object {
	if !obj.GetObjectKind().GroupVersionKind().Empty() {
		return obj
	}
	shallow := reflect.New(reflect.TypeOf(obj).Elem())
	shallow.Elem().Set(reflect.ValueOf(obj).Elem())
	out := shallow.Interface().(runtime.Object)
	out.GetObjectKind().SetGroupVersionKind(kind)
	return out
}

func isNil(obj runtime.Object) bool {
	return obj == nil || reflect.ValueOf(obj).Kind() == reflect.Pointer && reflect.ValueOf(obj).IsNil()
}

// NamedOptions returns the request's options with their kind, nil when there
// are none.
func (r *Request) NamedOptions() runtime.Object {
	if isNil(r.Options) {
		return nil
	}
	name := reflect.TypeOf(r.Options).Elem().Name()
	return Named(r.Options, metav1.SchemeGroupVersion.WithKind(name))
}
