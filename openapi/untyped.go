package openapi

import (
	"encoding/json"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver/registry"
)

const (
	objectMeta = metaPackage + "ObjectMeta"
	listMeta   = metaPackage + "ListMeta"
)

// withUntyped returns the models with one added for each row whose kind has no
// Go type: by its schema or, without one, an object that may have any field.
// The schemas are those for OpenAPI 2 or else 3.
func (m *models) withUntyped(rows []*registry.Resource, v2 bool) (*models, error) {
	extended := &models{base: m, byName: map[string]*model{}, byKind: map[schema.GroupVersionKind]*model{}}
	for _, row := range rows {
		if extended.of(row.Kind) != nil {
			continue
		}
		object, err := untypedObject(row, v2)
		if err != nil {
			return nil, err
		}
		extended.add(object)
		if slices.Contains(row.Verbs, "list") {
			extended.add(untypedList(listKind(row), object.Name))
		}
	}
	return extended, nil
}

func listKind(row *registry.Resource) schema.GroupVersionKind {
	return row.Kind.GroupVersion().WithKind(row.ListKindName())
}

func untypedObject(row *registry.Resource, v2 bool) (object *model, err error) {
	if row.Schema == nil {
		return anyObject(row.Kind), nil
	}
	object = &model{Name: untypedName(row.Kind), Kinds: []schema.GroupVersionKind{row.Kind}, Refs: []string{objectMeta}, untyped: true}
	if v2 {
		object.v2, err = row.Schema.OpenAPI2()
	} else {
		object.v3, err = row.Schema.OpenAPI3()
	}
	return object, err
}

func anyObject(kind schema.GroupVersionKind) *model {
	return newModel(kind, []string{objectMeta}, func(ref func(string) any) any {
		return map[string]any{
			"type":                                 "object",
			"properties":                           withTypeMeta(map[string]any{"metadata": ref(objectMeta)}),
			"x-kubernetes-preserve-unknown-fields": true,
		}
	})
}

func untypedList(kind schema.GroupVersionKind, item string) *model {
	return newModel(kind, []string{item, listMeta}, func(ref func(string) any) any {
		return map[string]any{
			"type":     "object",
			"required": []string{"items"},
			"properties": withTypeMeta(map[string]any{
				"items":    map[string]any{"type": "array", "items": ref(item)},
				"metadata": ref(listMeta),
			}),
		}
	})
}

func withTypeMeta(properties map[string]any) map[string]any {
	properties["apiVersion"] = map[string]any{"type": "string", "description": "The group and version of this representation of the object."}
	properties["kind"] = map[string]any{"type": "string", "description": "The kind of the object, in CamelCase."}
	return properties
}

// newModel makes a model whose schema is build's answer in both versions of
// OpenAPI; ref makes a reference.
func newModel(kind schema.GroupVersionKind, refs []string, build func(ref func(string) any) any) *model {
	in := func(prefix string) json.RawMessage {
		built := build(func(name string) any { return map[string]any{"$ref": prefix + name} }).(map[string]any)
		built["x-kubernetes-group-version-kind"] = []groupVersionKind{groupVersionKind(kind)}
		raw, err := json.Marshal(built)
		if err != nil {
			panic(err) // strings and booleans only
		}
		return raw
	}
	return &model{
		Name: untypedName(kind), Kinds: []schema.GroupVersionKind{kind}, Refs: refs,
		v2: in(v2RefPrefix), v3: in(v3RefPrefix), untyped: true,
	}
}

// untypedName turns example.com/v1 Widget into com.example.v1.Widget.
func untypedName(kind schema.GroupVersionKind) string {
	parts := strings.Split(kind.Group, ".")
	slices.Reverse(parts)
	return strings.Join(append(parts, kind.Version, kind.Kind), ".")
}
