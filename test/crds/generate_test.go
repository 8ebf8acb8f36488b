package crds

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
)

// generate makes the smallest value that a schema allows, as far as the schema
// alone says it: CEL rules are not looked at. What the server would fill in by
// itself is left out. Where no value can be found, the error says at which path.
func generate(s *apiextensionsv1.JSONSchemaProps, path string) (any, error) {
	switch {
	case len(s.Enum) > 0:
		return decoded(s.Enum[0]), nil
	case s.XEmbeddedResource:
		return map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "embedded"}}, nil
	case s.XIntOrString:
		return intOrString(s), nil
	}
	switch s.Type {
	case "object", "":
		return generateObject(s, path)
	case "array":
		list := []any{}
		for range least(s.MinItems) {
			item, err := generate(s.Items.Schema, path+"[0]")
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		return list, nil
	case "string":
		return generateText(s, path)
	case "integer":
		return int64(lowest(s)), nil
	case "number":
		return lowest(s), nil
	case "boolean":
		return false, nil
	}
	return nil, fmt.Errorf("%s has the unknown type %q", path, s.Type)
}

func decoded(raw apiextensionsv1.JSON) any {
	var value any
	_ = json.Unmarshal(raw.Raw, &value) // the server has accepted it
	return value
}

func least(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

func lowest(s *apiextensionsv1.JSONSchemaProps) float64 {
	value := 1.0
	if s.Minimum != nil {
		value = *s.Minimum
		if s.ExclusiveMinimum {
			value++
		}
	}
	if s.Maximum != nil {
		value = min(value, *s.Maximum)
	}
	return value
}

func intOrString(s *apiextensionsv1.JSONSchemaProps) any {
	if s.Pattern == "" || regexp.MustCompile(s.Pattern).MatchString("1") {
		return int64(1)
	}
	return "1"
}

func generateObject(s *apiextensionsv1.JSONSchemaProps, path string) (any, error) {
	object := map[string]any{}
	for _, name := range needed(s) {
		property, ok := s.Properties[name]
		if !ok || property.Default != nil {
			continue
		}
		value, err := generate(&property, path+"."+name)
		if err != nil {
			return nil, err
		}
		object[name] = value
	}
	return object, fill(s, object, path)
}

// fill adds fields until there are as many as a schema wants.
func fill(s *apiextensionsv1.JSONSchemaProps, object map[string]any, path string) error {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if int64(len(object)) >= least(s.MinProperties) {
			return nil
		}
		property := s.Properties[name]
		if value, err := generate(&property, path+"."+name); err == nil {
			object[name] = value
		}
	}
	for i := int64(len(object)); i < least(s.MinProperties); i++ {
		if s.AdditionalProperties == nil || s.AdditionalProperties.Schema == nil {
			return fmt.Errorf("%s must have %d fields, which are not known", path, *s.MinProperties)
		}
		value, err := generate(s.AdditionalProperties.Schema, path+".*")
		if err != nil {
			return err
		}
		object[fmt.Sprintf("key%d", i)] = value
	}
	return nil
}

// needed are the fields that an object must have, with those of the first
// alternative where there are several.
func needed(s *apiextensionsv1.JSONSchemaProps) []string {
	names := slices.Clone(s.Required)
	for _, alternatives := range [][]apiextensionsv1.JSONSchemaProps{s.OneOf, s.AnyOf} {
		if len(alternatives) > 0 && alternatives[0].Not == nil {
			names = append(names, needed(&alternatives[0])...)
		}
	}
	for i := range s.AllOf {
		names = append(names, needed(&s.AllOf[i])...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// texts are what a string may be; the first one that a schema allows is taken.
var texts = []string{
	"a", "a.example.com", "https://a.example.com", "http://a.example.com", "ssh://a.example.com", "oci://a.example.com/b", "a/b", "/a", "a.example.com/b",
	"1", "10m", "1h", "1Gi", "1.2.3", "v1.2.3", "v1", "A", "AAAA", "CronTab", "2026-01-01T00:00:00Z", "10.0.0.1", "10.0.0.0/8", "0 0 * * *",
	"3f333df6-90a4-4fda-8dd3-9485d27cee36", "*", "a@example.com", "sha256:" + strings.Repeat("a", 64), strings.Repeat("a", 64), "arn:aws:iam::123456789012:role/a",
}

func generateText(s *apiextensionsv1.JSONSchemaProps, path string) (any, error) {
	for _, text := range texts {
		if allows(s, text) {
			return text, nil
		}
	}
	if padded := strings.Repeat("a", int(least(s.MinLength))); allows(s, padded) {
		return padded, nil
	}
	return nil, fmt.Errorf("%s: no text is known for the pattern %q and the format %q", path, s.Pattern, s.Format)
}

func allows(s *apiextensionsv1.JSONSchemaProps, text string) bool {
	length := int64(len(text))
	if length < least(s.MinLength) || s.MaxLength != nil && length > *s.MaxLength {
		return false
	}
	if s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(text) {
		return false
	}
	if s.Format != "" && strfmt.Default.ContainsName(s.Format) && !strfmt.Default.Validates(s.Format, text) {
		return false
	}
	for i := range s.AllOf {
		if !allows(&s.AllOf[i], text) {
			return false
		}
	}
	alternative := func(one apiextensionsv1.JSONSchemaProps) bool { return allows(&one, text) }
	return len(s.AnyOf) == 0 || slices.ContainsFunc(s.AnyOf, alternative)
}
