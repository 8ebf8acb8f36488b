package policy

import (
	"context"
	"errors"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/admission/match"
	"github.com/yare-io/yare/apiserver/registry"
)

// parameters are the objects with which a binding's policy is evaluated, once
// for each. A nil one means once, without. None: not at all.
func (p *plugin) parameters(ctx context.Context, kind *admissionregistrationv1.ParamKind, b *binding, namespace string) ([]runtime.Object, error) {
	if kind == nil || b.ref == nil {
		return []runtime.Object{nil}, nil
	}
	gvk := schema.FromAPIVersionAndKind(kind.APIVersion, kind.Kind)
	row := p.config.Versions.RowOf(gvk)
	if row == nil {
		return nil, fmt.Errorf("paramKind kind `%v` not known", gvk)
	}
	place, err := parameterNamespace(row, b.ref, namespace)
	if err != nil {
		return nil, err
	}
	found, err := p.find(ctx, row, b.ref, place)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 && *b.ref.ParameterNotFoundAction == admissionregistrationv1.DenyAction {
		return nil, errors.New("no params found for policy binding with `Deny` parameterNotFoundAction")
	}
	for i, obj := range found {
		if found[i], err = p.config.Versions.FromStored(obj, row); err != nil {
			return nil, err
		}
		found[i] = match.Named(found[i], gvk)
	}
	return found, nil
}

func parameterNamespace(row *registry.Resource, ref *admissionregistrationv1.ParamRef, namespace string) (string, error) {
	switch {
	case !row.Namespaced && ref.Namespace != "":
		return "", errors.New("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
	case !row.Namespaced:
		return "", nil
	case ref.Namespace != "":
		return ref.Namespace, nil
	case namespace == "":
		return "", errors.New("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
	}
	return namespace, nil
}

func (p *plugin) find(ctx context.Context, row *registry.Resource, ref *admissionregistrationv1.ParamRef, namespace string) ([]runtime.Object, error) {
	objects, err := p.objectsOf()
	if err != nil {
		return nil, err
	}
	if ref.Name != "" {
		obj, err := objects.Get(ctx, row.GroupResource(), namespace, ref.Name)
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return []runtime.Object{obj}, err
	}
	selector, err := metav1.LabelSelectorAsSelector(ref.Selector)
	if err != nil {
		return nil, err
	}
	list, err := objects.List(ctx, row.GroupResource(), namespace)
	if err != nil {
		return nil, err
	}
	var selected []runtime.Object
	for _, obj := range list {
		if m, err := meta.Accessor(obj); err == nil && selector.Matches(labels.Set(m.GetLabels())) {
			selected = append(selected, obj)
		}
	}
	return selected, nil
}
