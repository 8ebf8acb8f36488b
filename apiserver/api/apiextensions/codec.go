package apiextensions

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsv1beta1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"

	"github.com/yare-io/yare/apiserver/registry"
)

// codecOf stores definitions as Kubernetes does: as JSON, and in v1beta1, which
// is the shorter form. Both versions are read.
func codecOf(kind schema.GroupVersionKind) *registry.Codec {
	return &registry.Codec{
		Stored: kind,
		Decode: func(value []byte) (runtime.Object, error) { return decode(value) },
		Encode: func(_ context.Context, obj runtime.Object) ([]byte, error) { return encode(obj.(*Definition)) },
	}
}

// storedHead is how encode begins.
const storedHead = `{"kind":"CustomResourceDefinition","apiVersion":"apiextensions.k8s.io/v1beta1",`

// kindOf reads what a stored value is of: definitions are large, and are read
// to their end to find it, where others may have written them.
func kindOf(value []byte) (schema.GroupVersionKind, error) {
	if bytes.HasPrefix(value, []byte(storedHead)) {
		return apiextensionsv1beta1.SchemeGroupVersion.WithKind("CustomResourceDefinition"), nil
	}
	var head metav1.TypeMeta
	err := kjson.UnmarshalCaseSensitivePreserveInts(value, &head)
	return head.GroupVersionKind(), err
}

func decode(value []byte) (*Definition, error) {
	kind, err := kindOf(value)
	if err != nil {
		return nil, fmt.Errorf("read stored definition: %w", err)
	}
	d := &Definition{}
	switch kind {
	case apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition"):
		if err := kjson.UnmarshalCaseSensitivePreserveInts(value, d); err != nil {
			return nil, fmt.Errorf("read stored definition: %w", err)
		}
	case apiextensionsv1beta1.SchemeGroupVersion.WithKind("CustomResourceDefinition"):
		if err := decodeBeta(value, d); err != nil {
			return nil, fmt.Errorf("read stored definition: %w", err)
		}
	default:
		return nil, fmt.Errorf("read stored definition: found a %s", kind)
	}
	d.TypeMeta = metav1.TypeMeta{}
	setDefaults(d)
	return d, nil
}

func decodeBeta(value []byte, into *Definition) error {
	beta, hub := &apiextensionsv1beta1.CustomResourceDefinition{}, &apiextensions.CustomResourceDefinition{}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(value, beta); err != nil {
		return err
	}
	apiextensionsv1beta1.SetObjectDefaults_CustomResourceDefinition(beta)
	if err := apiextensionsv1beta1.Convert_v1beta1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(beta, hub, nil); err != nil {
		return err
	}
	return apiextensionsv1.Convert_apiextensions_CustomResourceDefinition_To_v1_CustomResourceDefinition(hub, into, nil)
}

func encode(d *Definition) ([]byte, error) {
	hub, errs := internal(d)
	if errs != nil {
		return nil, errs.ToAggregate()
	}
	beta := &apiextensionsv1beta1.CustomResourceDefinition{}
	if err := apiextensionsv1beta1.Convert_apiextensions_CustomResourceDefinition_To_v1beta1_CustomResourceDefinition(hub, beta, nil); err != nil {
		return nil, fmt.Errorf("convert a definition for the store: %w", err)
	}
	beta.SetGroupVersionKind(apiextensionsv1beta1.SchemeGroupVersion.WithKind("CustomResourceDefinition"))
	raw, err := json.Marshal(beta)
	if err != nil {
		return nil, fmt.Errorf("encode a definition for the store: %w", err)
	}
	return append(raw, '\n'), nil
}
