package openapi

import (
	"encoding/json"
	"fmt"

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
	used, err := m.closure(map[string]bool{objectMeta: true})
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
