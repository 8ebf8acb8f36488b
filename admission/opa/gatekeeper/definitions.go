package gatekeeper

import (
	"maps"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// open is a schema that takes any object.
func open() map[string]any {
	return map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
}

// defined is one of Gatekeeper's own kinds.
type defined struct {
	group, version, kind, plural string
	namespaced                   bool
	// older are further versions that are served.
	older []string
}

func (d defined) resource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: d.group, Version: d.version, Resource: d.plural}
}

var older = []string{"v1beta1", "v1alpha1"}

// definitions are the kinds that are looked at. Where Gatekeeper has not brought
// its own definitions of them, simple ones are made; what is in an object is
// checked by the guard.
var definitions = []defined{
	{TemplateGroup, "v1", "ConstraintTemplate", "constrainttemplates", false, older},
	{MutationGroup, "v1", "Assign", "assign", false, older},
	{MutationGroup, "v1", "AssignMetadata", "assignmetadata", false, older},
	{MutationGroup, "v1", "ModifySet", "modifyset", false, older},
	{MutationGroup, "v1alpha1", "AssignImage", "assignimage", false, nil},
	{ConfigGroup, "v1alpha1", "Config", "configs", true, nil},
	{SyncSetGroup, "v1alpha1", "SyncSet", "syncsets", false, nil},
}

// definition is the custom resource definition of a kind.
func (d defined) definition() *unstructured.Unstructured {
	return definition(d, func(version string) map[string]any {
		spec := open()
		if d.group == TemplateGroup && version != d.version {
			spec = legacyByDefault()
		}
		return map[string]any{"type": "object", "properties": map[string]any{"spec": spec, "status": open()}}
	})
}

// legacyByDefault is the spec of a template of an older version, whose schema of
// parameters need not be structural.
func legacyByDefault() map[string]any {
	inner := open()
	inner["properties"] = map[string]any{"legacySchema": map[string]any{"type": "boolean", "default": true}}
	for _, field := range []string{"validation", "spec", "crd"} {
		outer := open()
		outer["properties"] = map[string]any{field: inner}
		inner = outer
	}
	return inner
}

// constraintDefinition is the resource of a template's constraints, which goes
// with the template. Parameters are checked as the template says.
func constraintDefinition(kind string, template *unstructured.Unstructured) *unstructured.Unstructured {
	d := defined{group: ConstraintGroup, version: constraintsVersion, kind: kind, plural: strings.ToLower(kind), older: []string{"v1alpha1"}}
	made := definition(d, func(string) map[string]any {
		return map[string]any{
			"type": "object",
			"properties": map[string]any{
				"spec": map[string]any{
					"type": "object",
					"properties": map[string]any{
						"enforcementAction":        map[string]any{"type": "string"},
						"scopedEnforcementActions": map[string]any{"type": "array", "items": open()},
						"match":                    open(),
						"parameters":               parametersOf(template),
					},
				},
				"status": open(),
			},
		}
	})
	controls := true
	made.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: template.GetAPIVersion(), Kind: template.GetKind(), Name: template.GetName(), UID: template.GetUID(),
		Controller: &controls, BlockOwnerDeletion: &controls,
	}})
	spec := made.Object["spec"].(map[string]any)
	names := spec["names"].(map[string]any)
	names["categories"] = []any{"constraint", "constraints"}
	if short, found, err := unstructured.NestedSlice(template.Object, "spec", "crd", "spec", "names", "shortNames"); err == nil && found {
		names["shortNames"] = short
	}
	for _, version := range spec["versions"].([]any) {
		version.(map[string]any)["additionalPrinterColumns"] = []any{
			map[string]any{"name": "ENFORCEMENT-ACTION", "type": "string", "jsonPath": ".spec.enforcementAction"},
			map[string]any{"name": "TOTAL-VIOLATIONS", "type": "integer", "jsonPath": ".status.totalViolations"},
		}
	}
	return made
}

// parametersOf is the schema of a template's parameters.
func parametersOf(template *unstructured.Unstructured) map[string]any {
	validation, _, err := unstructured.NestedMap(template.Object, "spec", "crd", "spec", "validation")
	parameters, found := validation["openAPIV3Schema"].(map[string]any)
	if err != nil || !found {
		return open()
	}
	if legacy, _ := validation["legacySchema"].(bool); legacy || parameters["type"] == nil {
		return structural(parameters)
	}
	return parameters
}

// structural gives a schema what definitions of version v1 ask for: types, and
// that fields it does not name are kept.
func structural(node map[string]any) map[string]any {
	made := maps.Clone(node)
	if fields, ok := node["properties"].(map[string]any); ok {
		all := make(map[string]any, len(fields))
		for name, field := range fields {
			all[name] = structuralIn(field)
		}
		made["properties"] = all
	}
	for _, within := range []string{"items", "additionalProperties"} {
		if node[within] != nil {
			made[within] = structuralIn(node[within])
		}
	}
	switch {
	case node["type"] != nil || node["x-kubernetes-int-or-string"] == true:
	case node["items"] != nil:
		made["type"] = "array"
	case node["properties"] != nil || node["additionalProperties"] != nil:
		made["type"] = "object"
	default:
		made["x-kubernetes-preserve-unknown-fields"] = true
	}
	if made["type"] == "object" && made["additionalProperties"] == nil {
		made["x-kubernetes-preserve-unknown-fields"] = true
	}
	return made
}

func structuralIn(value any) any {
	if node, ok := value.(map[string]any); ok {
		return structural(node)
	}
	return value
}

func definition(d defined, openAPI func(version string) map[string]any) *unstructured.Unstructured {
	scope := "Cluster"
	if d.namespaced {
		scope = "Namespaced"
	}
	var versions []any
	for _, version := range append([]string{d.version}, d.older...) {
		versions = append(versions, map[string]any{
			"name": version, "served": true, "storage": version == d.version,
			"schema":       map[string]any{"openAPIV3Schema": openAPI(version)},
			"subresources": map[string]any{"status": map[string]any{}},
		})
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": d.plural + "." + d.group, "labels": map[string]any{"gatekeeper.sh/constraint": "yes"}},
		"spec": map[string]any{
			"group": d.group, "scope": scope,
			"names":    map[string]any{"kind": d.kind, "listKind": d.kind + "List", "plural": d.plural, "singular": strings.ToLower(d.kind)},
			"versions": versions,
		},
	}}
}
