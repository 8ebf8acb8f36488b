package apiserver

import "reflect"

// sameContent reports whether two objects without a Go type are the same to clients,
// but for their records of fields.
func sameContent(a, b map[string]any) bool {
	if len(a) != len(b) {
		return false
	}
	for name, value := range a {
		other, ok := b[name]
		if !ok {
			return false
		}
		metadata, isMap := value.(map[string]any)
		if name == "metadata" && isMap {
			value, other = withoutRecord(metadata), withoutRecord(other)
		}
		if !sameValue(value, other) {
			return false
		}
	}
	return true
}

func withoutRecord(metadata any) any {
	fields, ok := metadata.(map[string]any)
	if !ok {
		return metadata
	}
	rest := make(map[string]any, len(fields))
	for name, value := range fields {
		if name != "managedFields" {
			rest[name] = value
		}
	}
	return rest
}

// sameValue compares as JSON does: one is one, whether it was written with a
// point or without.
func sameValue(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for name, value := range a {
			if other, ok := b[name]; !ok || !sameValue(value, other) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !sameValue(a[i], b[i]) {
				return false
			}
		}
		return true
	case int64:
		if b, ok := b.(float64); ok {
			return float64(a) == b
		}
	case float64:
		if b, ok := b.(int64); ok {
			return a == float64(b)
		}
	}
	return reflect.DeepEqual(a, b)
}
