package openapi

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// ObjectMetaRef refers to the model of an object's metadata, in the documents
// of OpenAPI 2 or else 3.
func ObjectMetaRef(v2 bool) *spec.Schema {
	if v2 {
		return spec.RefSchema(v2RefPrefix + objectMeta)
	}
	return spec.RefSchema(v3RefPrefix + objectMeta)
}

// ObjectMetaModels returns the OpenAPI 3 models of an object's metadata and of
// all that it refers to, by name. The map is the caller's.
func ObjectMetaModels() (map[string]*spec.Schema, error) {
	m, err := loadModels()
	if err != nil {
		return nil, err
	}
	return m.parsed(objectMeta)
}

// KindModels returns the OpenAPI 3 models of a built-in kind and of all that it
// refers to, by name. The map is the caller's.
func KindModels(kind schema.GroupVersionKind) (map[string]*spec.Schema, error) {
	m, err := loadModels()
	if err != nil {
		return nil, err
	}
	one := m.of(kind)
	if one == nil {
		return nil, fmt.Errorf("no model is of the kind %s", kind)
	}
	return m.parsed(one.Name)
}

// parsed reads the OpenAPI 3 models that one needs, itself included.
func (m *models) parsed(name string) (map[string]*spec.Schema, error) {
	used, err := m.closure(map[string]bool{name: true})
	if err != nil {
		return nil, err
	}
	out := make(map[string]*spec.Schema, len(used))
	for name, one := range used {
		s := &spec.Schema{}
		if err := json.Unmarshal(one.v3, s); err != nil {
			return nil, fmt.Errorf("model %s: %w", name, err)
		}
		out[name] = s
	}
	return out, nil
}
