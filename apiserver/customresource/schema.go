package customresource

import (
	"encoding/json"
	"fmt"
	"slices"

	openapiv2 "k8s.io/apiextensions-apiserver/pkg/controller/openapi/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/openapi"
)

// schemaOf is what stands in for the Go type of a version.
func (d *definition) schemaOf(v *version) *registry.Schema {
	return &registry.Schema{
		Identity: fmt.Sprintf("%s/%d/%s/%+v", d.source.UID, d.source.Generation, v.kind, d.source.Status.AcceptedNames),
		Coerce:   v.coerce,
		Types:    d.types,
		Versions: versionConverter{d},
		OpenAPI2: func() (json.RawMessage, error) { return v.document(true) },
		OpenAPI3: func() (json.RawMessage, error) { return v.document(false) },
	}
}

func (v *version) document(v2 bool) (json.RawMessage, error) {
	s, err := v.openapi(v2)
	if err != nil {
		return nil, err
	}
	return json.Marshal(s)
}

// openapi returns the schema as documents show it, with what every object has
// beside it.
func (v *version) openapi(v2 bool) (*spec.Schema, error) {
	s, err := v.structural()
	if err != nil {
		return nil, err
	}
	out := &spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{"object"}}}
	// kubectl takes a schema that names any field for one that names all.
	if s != nil && (!v2 || !s.XPreserveUnknownFields && !v.preserve) {
		if v2 {
			s = openapiv2.ToStructuralOpenAPIV2(s)
		}
		out = s.ToKubeOpenAPI()
		addCommon(out, v2)
		addEmbedded(out, v2)
	}
	out.AddExtension("x-kubernetes-group-version-kind", []any{map[string]any{
		"group": v.kind.Group, "version": v.kind.Version, "kind": v.kind.Kind,
	}})
	if len(v.spec.SelectableFields) > 0 && !v2 {
		paths := make([]any, len(v.spec.SelectableFields))
		for i, f := range v.spec.SelectableFields {
			paths[i] = map[string]any{"fieldPath": f.JSONPath[1:]}
		}
		out.AddExtension("x-kubernetes-selectable-fields", paths)
	}
	return out, nil
}

// addCommon adds the fields that every object has.
func addCommon(s *spec.Schema, v2 bool) {
	docs := metav1.TypeMeta{}.SwaggerDoc()
	s.SetProperty("apiVersion", *spec.StringProperty().WithDescription(docs["apiVersion"]))
	s.SetProperty("kind", *spec.StringProperty().WithDescription(docs["kind"]))
	s.SetProperty("metadata", *openapi.ObjectMetaRef(v2).WithDescription("Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"))
}

// addEmbedded adds them to objects within objects.
func addEmbedded(s *spec.Schema, v2 bool) {
	if s == nil {
		return
	}
	for name := range s.Properties {
		property := s.Properties[name]
		addEmbedded(&property, v2)
		s.Properties[name] = property
	}
	if s.Items != nil {
		addEmbedded(s.Items.Schema, v2)
	}
	if s.AdditionalProperties != nil {
		addEmbedded(s.AdditionalProperties.Schema, v2)
	}
	if preserve, ok := s.Extensions.GetBool("x-kubernetes-preserve-unknown-fields"); ok && preserve && v2 {
		return
	}
	if embedded, ok := s.Extensions.GetBool("x-kubernetes-embedded-resource"); !ok || !embedded {
		return
	}
	addCommon(s, v2)
	for _, name := range []string{"kind", "apiVersion"} {
		if !slices.Contains(s.Required, name) {
			s.Required = append(s.Required, name)
		}
	}
}

// types tells server-side apply how the fields of all versions merge.
func (d *definition) types() (managedfields.TypeConverter, error) {
	models, err := openapi.ObjectMetaModels()
	if err != nil {
		return nil, err
	}
	for name, v := range d.versions {
		if models[name], err = v.openapi(false); err != nil {
			return nil, err
		}
	}
	return managedfields.NewTypeConverter(models, d.source.Spec.PreserveUnknownFields)
}
