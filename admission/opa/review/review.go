// Package review writes a request down as the AdmissionReview document that
// webhooks get, so that policies written for OPA beside a cluster run here
// unchanged. It refuses to know policies.
package review

import (
	"fmt"

	"github.com/google/uuid"
	"github.com/open-policy-agent/opa/v1/ast"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/yare-io/yare/admission"
)

// Review is a request's AdmissionReview, of admission.k8s.io/v1. It is made when
// it is first asked for, and belongs to one goroutine. Nothing of it may be
// changed: parts of it may be shared.
type Review struct {
	about     *admission.Attributes
	namespace *corev1.Namespace
	document  map[string]any
	value     ast.Value
}

// New returns the review of a request as it is now. namespace is the object's,
// or nil; policies see it as request.namespaceObject.
func New(a *admission.Attributes, namespace *corev1.Namespace) *Review {
	return &Review{about: a, namespace: namespace}
}

// Document is the review as encoding/json would decode it, but with int64 for
// whole numbers.
func (r *Review) Document() (map[string]any, error) {
	if r.document == nil {
		request, err := request(r.about, r.namespace)
		if err != nil {
			return nil, err
		}
		r.document = map[string]any{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
	}
	return r.document, nil
}

// Value is the review as policies see it. What one evaluation has looked at is
// there for the next.
func (r *Review) Value() (ast.Value, error) {
	if r.value == nil {
		document, err := r.Document()
		if err != nil {
			return nil, err
		}
		r.value = ast.LazyObject(document)
	}
	return r.value, nil
}

// Request is the review's request alone.
func (r *Review) Request() (map[string]any, error) {
	document, err := r.Document()
	if err != nil {
		return nil, err
	}
	return document["request"].(map[string]any), nil
}

// request is the request of the document.
func request(a *admission.Attributes, namespace *corev1.Namespace) (map[string]any, error) {
	request := map[string]any{
		"uid":             uuid.NewString(),
		"kind":            kind(a.Kind),
		"requestKind":     kind(a.Kind),
		"resource":        resource(a.Resource),
		"requestResource": resource(a.Resource),
		"operation":       string(a.Operation),
		"userInfo":        userInfo(a.User),
		"dryRun":          a.DryRun,
	}
	for key, text := range map[string]string{"name": a.Name, "namespace": a.Namespace, "subResource": a.Subresource, "requestSubResource": a.Subresource} {
		if text != "" {
			request[key] = text
		}
	}
	for key, object := range map[string]runtime.Object{"object": a.Object, "oldObject": a.OldObject, "options": a.Options} {
		plain, err := Plain(object, gvkFor(key, a))
		if err != nil {
			return nil, fmt.Errorf("%s of the admission request: %w", key, err)
		}
		request[key] = plain
	}
	if namespace != nil {
		plain, err := Plain(namespace, corev1.SchemeGroupVersion.WithKind("Namespace"))
		if err != nil {
			return nil, fmt.Errorf("namespace of the admission request: %w", err)
		}
		request["namespaceObject"] = plain
	}
	return request, nil
}

// gvkFor is the kind to write into an object that does not name its own.
func gvkFor(key string, a *admission.Attributes) schema.GroupVersionKind {
	if key != "options" {
		return a.Kind
	}
	kinds := map[admission.Operation]string{admission.Create: "CreateOptions", admission.Update: "UpdateOptions", admission.Delete: "DeleteOptions"}
	return schema.GroupVersionKind{Group: "meta.k8s.io", Version: "v1", Kind: kinds[a.Operation]}
}

// Plain is an object as encoding/json would decode it; nil stays nil.
func Plain(object runtime.Object, gvk schema.GroupVersionKind) (any, error) {
	if object == nil {
		return nil, nil
	}
	if u, ok := object.(*unstructured.Unstructured); ok {
		return u.Object, nil
	}
	plain, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, err
	}
	if plain["kind"] == nil && gvk.Kind != "" {
		plain["apiVersion"], plain["kind"] = gvk.GroupVersion().String(), gvk.Kind
	}
	return plain, nil
}

func kind(k schema.GroupVersionKind) map[string]any {
	return map[string]any{"group": k.Group, "version": k.Version, "kind": k.Kind}
}

func resource(r schema.GroupVersionResource) map[string]any {
	return map[string]any{"group": r.Group, "version": r.Version, "resource": r.Resource}
}

func userInfo(u user.Info) map[string]any {
	info := map[string]any{}
	if u == nil {
		return info
	}
	info["username"] = u.GetName()
	if u.GetUID() != "" {
		info["uid"] = u.GetUID()
	}
	if groups := u.GetGroups(); len(groups) > 0 {
		info["groups"] = list(groups)
	}
	if extra := u.GetExtra(); len(extra) > 0 {
		all := make(map[string]any, len(extra))
		for key, values := range extra {
			all[key] = list(values)
		}
		info["extra"] = all
	}
	return info
}

func list(texts []string) []any {
	all := make([]any, len(texts))
	for i, text := range texts {
		all[i] = text
	}
	return all
}
