package apiextensions

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	apiservervalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// warnings are about what a definition says without effect, and did not say
// before.
func warnings(_ context.Context, obj, old runtime.Object) []string {
	var known []string
	if old != nil {
		known = ineffective(old)
	}
	return slices.DeleteFunc(ineffective(obj), func(text string) bool { return slices.Contains(known, text) })
}

func ineffective(obj runtime.Object) []string {
	d, errs := internal(obj)
	if errs != nil {
		return nil
	}
	var formats, sets []string
	visit := func(s *apiextensions.JSONSchemaProps) bool {
		formats = append(formats, unknownFormats(s)...)
		if s.XListType != nil && *s.XListType == "set" && s.Items != nil && s.Items.Schema != nil {
			if kind := s.Items.Schema.Type; kind == "object" || kind == "array" {
				sets = append(sets, fmt.Sprintf("x-kubernetes-list-type: set for items of type %q is not supported by server-side apply or CEL validation rules", kind))
			}
		}
		return false
	}
	if v := d.Spec.Validation; v != nil && v.OpenAPIV3Schema != nil {
		validation.SchemaHas(v.OpenAPIV3Schema, visit)
	}
	for _, version := range d.Spec.Versions {
		if version.Schema != nil && version.Schema.OpenAPIV3Schema != nil {
			validation.SchemaHas(version.Schema.OpenAPIV3Schema, visit)
		}
	}
	slices.Sort(sets)
	return append(formats, slices.Compact(sets)...)
}

func unknownFormats(s *apiextensions.JSONSchemaProps) []string {
	if s.Format == "" {
		return nil
	}
	probe := &spec.Schema{SchemaProps: spec.SchemaProps{Format: s.Format, Type: []string{s.Type}}}
	var texts []string
	for _, format := range apiservervalidation.GetUnrecognizedFormats(probe, environment.DefaultCompatibilityVersion()) {
		texts = append(texts, fmt.Sprintf("unrecognized format %q", format))
	}
	return texts
}
