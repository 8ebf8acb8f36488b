package gatekeeper

import (
	"strings"

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
}

func (d defined) resource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: d.group, Version: d.version, Resource: d.plural}
}

// definitions are the kinds that are looked at. Where Gatekeeper has not brought
// its own definitions of them, simple ones are made; what is in an object is
// checked by the guard.
var definitions = []defined{
	{TemplateGroup, "v1", "ConstraintTemplate", "constrainttemplates", false},
	{MutationGroup, "v1", "Assign", "assign", false},
	{MutationGroup, "v1", "AssignMetadata", "assignmetadata", false},
	{MutationGroup, "v1", "ModifySet", "modifyset", false},
	{MutationGroup, "v1alpha1", "AssignImage", "assignimage", false},
	{ConfigGroup, "v1alpha1", "Config", "configs", true},
	{SyncSetGroup, "v1alpha1", "SyncSet", "syncsets", false},
}

// definition is the custom resource definition of a kind.
func (d defined) definition() *unstructured.Unstructured {
	return definition(d, map[string]any{
		"type": "object", "properties": map[string]any{"spec": open(), "status": open()},
	})
}

// constraintDefinition is the resource of a template's constraints. Parameters
// are checked as the template says.
func constraintDefinition(kind string, template *unstructured.Unstructured) *unstructured.Unstructured {
	parameters, found, err := unstructured.NestedMap(template.Object, "spec", "crd", "spec", "validation", "openAPIV3Schema")
	if err != nil || !found {
		parameters = open()
	}
	if legacy, _, err := unstructured.NestedBool(template.Object, "spec", "crd", "spec", "validation", "legacySchema"); err == nil && legacy || parameters["type"] == nil {
		parameters = open()
	}
	made := definition(defined{group: ConstraintGroup, version: constraintsVersion, kind: kind, plural: strings.ToLower(kind)}, map[string]any{
		"type": "object",
		"properties": map[string]any{
			"spec": map[string]any{
				"type": "object",
				"properties": map[string]any{
					"enforcementAction":        map[string]any{"type": "string"},
					"scopedEnforcementActions": map[string]any{"type": "array", "items": open()},
					"match":                    open(),
					"parameters":               parameters,
				},
			},
			"status": open(),
		},
	})
	names := made.Object["spec"].(map[string]any)["names"].(map[string]any)
	names["categories"] = []any{"constraint", "constraints"}
	version := made.Object["spec"].(map[string]any)["versions"].([]any)[0].(map[string]any)
	version["additionalPrinterColumns"] = []any{
		map[string]any{"name": "ENFORCEMENT-ACTION", "type": "string", "jsonPath": ".spec.enforcementAction"},
		map[string]any{"name": "TOTAL-VIOLATIONS", "type": "integer", "jsonPath": ".status.totalViolations"},
	}
	return made
}

func definition(d defined, openAPI map[string]any) *unstructured.Unstructured {
	scope := "Cluster"
	if d.namespaced {
		scope = "Namespaced"
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": d.plural + "." + d.group, "labels": map[string]any{"gatekeeper.sh/constraint": "yes"}},
		"spec": map[string]any{
			"group": d.group, "scope": scope,
			"names": map[string]any{"kind": d.kind, "listKind": d.kind + "List", "plural": d.plural, "singular": strings.ToLower(d.kind)},
			"versions": []any{map[string]any{
				"name": d.version, "served": true, "storage": true,
				"schema":       map[string]any{"openAPIV3Schema": openAPI},
				"subresources": map[string]any{"status": map[string]any{}},
			}},
		},
	}}
}
