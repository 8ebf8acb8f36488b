package crds

import (
	"fmt"
	"maps"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// probe makes an object invalid in one place.
type probe struct {
	// field is the path that the error must name, reason its cause.
	field  string
	reason metav1.CauseType
	// spoil changes a copy of the object.
	spoil func(object map[string]any)
}

// probes are one wrong type, one value out of an enumeration and one missing
// field, as deep in the object as each is found.
func probes(s *apiextensionsv1.JSONSchemaProps, object map[string]any) []probe {
	deepest := map[metav1.CauseType]probe{}
	visit(s, object, "", func(root map[string]any) map[string]any { return root }, func(p probe) { deepest[p.reason] = p })
	var found []probe
	for _, reason := range slices.Sorted(maps.Keys(deepest)) {
		found = append(found, deepest[reason])
	}
	return found
}

// visit calls found for the ways in which the fields of an object, and of those
// within it, can be wrong. at finds the object in a copy of the whole.
func visit(s *apiextensionsv1.JSONSchemaProps, object map[string]any, path string, at func(root map[string]any) map[string]any, found func(probe)) {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if path == "" && slices.Contains([]string{"apiVersion", "kind", "metadata", "status"}, name) {
			continue
		}
		property, field := s.Properties[name], path+name
		if wrong := otherType(&property); wrong != nil {
			found(probe{field, metav1.CauseTypeTypeInvalid, func(root map[string]any) { at(root)[name] = wrong }})
		}
		if len(property.Enum) > 0 && property.Type == "string" {
			found(probe{field, metav1.CauseTypeFieldValueNotSupported, func(root map[string]any) { at(root)[name] = "no-such-value" }})
		}
		if _, there := object[name]; there && slices.Contains(s.Required, name) && property.Default == nil {
			found(probe{field, metav1.CauseTypeFieldValueRequired, func(root map[string]any) { delete(at(root), name) }})
		}
		switch value := object[name].(type) {
		case map[string]any:
			visit(&property, value, field+".", func(root map[string]any) map[string]any { return at(root)[name].(map[string]any) }, found)
		case []any:
			if len(value) == 0 || property.Items == nil {
				continue
			}
			if item, ok := value[0].(map[string]any); ok {
				visit(property.Items.Schema, item, field+"[0].", func(root map[string]any) map[string]any {
					return at(root)[name].([]any)[0].(map[string]any)
				}, found)
			}
		}
	}
}

// otherType is a value of a type that the schema does not allow; nil when there
// is none.
func otherType(s *apiextensionsv1.JSONSchemaProps) any {
	if s.XIntOrString || len(s.Enum) > 0 {
		return nil
	}
	switch s.Type {
	case "string":
		return int64(7)
	case "integer", "number", "boolean", "array", "object":
		return "text"
	}
	return nil
}

// missingDefault returns the path of a default of the schema that an object lacks.
func missingDefault(s *apiextensionsv1.JSONSchemaProps, value any, path string) string {
	switch typed := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			property := s.Properties[name]
			inner, there := typed[name]
			if !there && property.Default != nil {
				return path + "." + name
			}
			if lacking := missingDefault(&property, inner, path+"."+name); lacking != "" {
				return lacking
			}
		}
	case []any:
		for i, item := range typed {
			if s.Items == nil || s.Items.Schema == nil {
				break
			}
			if lacking := missingDefault(s.Items.Schema, item, fmt.Sprintf("%s[%d]", path, i)); lacking != "" {
				return lacking
			}
		}
	}
	return ""
}

// lost returns the path of something that was sent and has not come back.
func lost(sent, got any, path string) string {
	switch typed := sent.(type) {
	case map[string]any:
		back, ok := got.(map[string]any)
		if !ok {
			return path
		}
		for name, value := range typed {
			if p := lost(value, back[name], path+"."+name); p != "" {
				return p
			}
		}
	case []any:
		back, ok := got.([]any)
		if !ok || len(back) < len(typed) {
			return path
		}
		for i, value := range typed {
			if p := lost(value, back[i], fmt.Sprintf("%s[%d]", path, i)); p != "" {
				return p
			}
		}
	default:
		if fmt.Sprint(sent) != fmt.Sprint(got) {
			return path
		}
	}
	return ""
}

// merge puts what a sample says into an object.
func merge(into, from map[string]any) {
	for name, value := range from {
		inner, isMap := value.(map[string]any)
		old, wasMap := into[name].(map[string]any)
		if isMap && wasMap {
			merge(old, inner)
			continue
		}
		into[name] = runtime.DeepCopyJSONValue(value)
	}
}
