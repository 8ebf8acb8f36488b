// Package emit turns OpenAPI definitions of Go types into the models file of
// package openapi. It is part of the generator only.
package emit

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-openapi/pkg/builder"
	"k8s.io/kube-openapi/pkg/builder3"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// header is the first of the three lines of a model in the file; the schemas
// for OpenAPI 2 and 3 follow, each on a line.
type header struct {
	Name string `json:"name"`
	// Kinds are those that the model describes, if it is a whole object.
	Kinds []schema.GroupVersionKind `json:"kinds,omitempty"`
	// Refs are the names of the models that this one refers to.
	Refs []string `json:"refs,omitempty"`
}

// served has the kinds of all groups that the server has rows for.
var served = runtime.NewScheme()

func init() {
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, apiextensionsv1.AddToScheme, apiregistrationv1.AddToScheme} {
		utilruntime.Must(add(served))
	}
}

// Models writes the models file for all definitions, in order of their names.
func Models(w io.Writer, definitions common.GetOpenAPIDefinitions) error {
	namer := openapinamer.NewDefinitionNamer(served)
	all := definitions(func(string) spec.Ref { return spec.Ref{} })
	names := slices.Sorted(maps.Keys(all))
	v2, err := v2Schemas(definitions, namer, names)
	if err != nil {
		return fmt.Errorf("openapi 2: %w", err)
	}
	v3, err := v3Schemas(definitions, namer, names)
	if err != nil {
		return fmt.Errorf("openapi 3: %w", err)
	}
	kinds, err := kindsByModel()
	if err != nil {
		return err
	}

	compressed, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	lines := json.NewEncoder(compressed)
	lines.SetEscapeHTML(false)
	for _, name := range names {
		refs := slices.Compact(slices.Sorted(slices.Values(all[name].Dependencies)))
		for _, line := range []any{header{Name: name, Kinds: kinds[name], Refs: refs}, v2[name], v3[name]} {
			if err := lines.Encode(line); err != nil {
				return fmt.Errorf("model %s: %w", name, err)
			}
		}
	}
	return compressed.Close()
}

// v2Schemas leaves defaults out, as Kubernetes does: old clients of OpenAPI 2
// fail on some of them.
func v2Schemas(definitions common.GetOpenAPIDefinitions, namer *openapinamer.DefinitionNamer, names []string) (spec.Definitions, error) {
	swagger, err := builder.BuildOpenAPIDefinitionsForResources(&common.Config{
		GetDefinitions:    definitions,
		GetDefinitionName: namer.GetDefinitionName,
	}, names...)
	if err != nil {
		return nil, err
	}
	for name, schema := range swagger.Definitions {
		swagger.Definitions[name] = withoutDefaults(schema)
	}
	return swagger.Definitions, nil
}

func withoutDefaults(schema spec.Schema) spec.Schema {
	schema.Default = nil
	schema.Properties = maps.Clone(schema.Properties)
	for name, property := range schema.Properties {
		schema.Properties[name] = withoutDefaults(property)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		item := withoutDefaults(*schema.Items.Schema)
		schema.Items = &spec.SchemaOrArray{Schema: &item}
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		value := withoutDefaults(*schema.AdditionalProperties.Schema)
		schema.AdditionalProperties = &spec.SchemaOrBool{Allows: schema.AdditionalProperties.Allows, Schema: &value}
	}
	return schema
}

func v3Schemas(definitions common.GetOpenAPIDefinitions, namer *openapinamer.DefinitionNamer, names []string) (map[string]*spec.Schema, error) {
	return builder3.BuildOpenAPIDefinitionsForResources(&common.OpenAPIV3Config{
		GetDefinitions:    definitions,
		GetDefinitionName: namer.GetDefinitionName,
	}, names...)
}

func kindsByModel() (map[string][]schema.GroupVersionKind, error) {
	kinds := map[string][]schema.GroupVersionKind{}
	for kind := range served.AllKnownTypes() {
		name, err := served.ToOpenAPIDefinitionName(kind)
		if err != nil {
			return nil, fmt.Errorf("model name of %s: %w", kind, err)
		}
		kinds[name] = append(kinds[name], kind)
	}
	for _, list := range kinds {
		slices.SortFunc(list, func(a, b schema.GroupVersionKind) int {
			return strings.Compare(a.String(), b.String())
		})
	}
	return kinds, nil
}
