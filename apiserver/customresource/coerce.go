package customresource

import (
	"fmt"
	"time"

	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// coerce does to an object what decoding into a Go type does to others:
// metadata gets its form, unknown fields go, and so do nulls where none may be.
// Unknown fields are returned by path when report is set.
func (v *version) coerce(obj runtime.Object, report bool) ([]string, error) {
	content := obj.(*unstructured.Unstructured).Object
	var unknown []string
	if !plainMetadata(content["metadata"]) {
		paths, err := coerceMetadata(content, report)
		if err != nil {
			return nil, err
		}
		unknown = paths
	}
	s, err := v.structural()
	if err != nil {
		return nil, err
	}
	if !v.preserve {
		unknown = append(unknown, pruning.PruneWithOptions(content, s, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: report})...)
		defaulting.PruneNonNullableNullsWithoutDefaults(content, s)
	}
	if !v.traits().embedded {
		return unknown, nil
	}
	invalid, paths := objectmeta.CoerceWithOptions(nil, content, s, false, objectmeta.CoerceOptions{ReturnUnknownFieldPaths: report})
	if invalid != nil {
		return nil, invalid
	}
	return append(unknown, paths...), nil
}

// coerceMetadata takes metadata through its Go type.
func coerceMetadata(content map[string]any, report bool) ([]string, error) {
	metadata, found, unknown, err := objectmeta.GetObjectMetaWithOptions(content, objectmeta.ObjectMetaOptions{ReturnUnknownFieldPaths: report})
	if err != nil {
		return nil, err
	}
	if !found {
		return unknown, nil
	}
	return unknown, objectmeta.SetObjectMeta(content, metadata)
}

// plainMetadata reports whether metadata has only fields that nearly all
// objects have, in their right form: going through the Go type would change
// nothing, and take long.
func plainMetadata(metadata any) bool {
	fields, ok := metadata.(map[string]any)
	if !ok {
		return false
	}
	for name, value := range fields {
		switch name {
		case "name", "namespace", "generateName", "uid", "resourceVersion":
			text, isText := value.(string)
			ok = isText && text != ""
		case "creationTimestamp":
			ok = plainTime(value)
		case "managedFields":
			ok = plainRecord(value)
		case "labels", "annotations":
			ok = plainTexts(value)
		case "generation":
			number, isInteger := value.(int64)
			ok = isInteger && number != 0
		default:
			ok = false
		}
		if !ok {
			return false
		}
	}
	return true
}

// plainTime reports whether a value is a time in the form in which it is
// written.
func plainTime(value any) bool {
	text, ok := value.(string)
	if !ok || len(text) != len("2006-01-02T15:04:05Z") {
		return false
	}
	_, err := time.Parse("2006-01-02T15:04:05Z", text)
	return err == nil
}

// plainRecord reports whether a value is a list of managed fields with nothing
// that is unusual.
func plainRecord(value any) bool {
	entries, ok := value.([]any)
	if !ok || len(entries) == 0 {
		return false
	}
	for _, entry := range entries {
		fields, ok := entry.(map[string]any)
		if !ok {
			return false
		}
		for name, value := range fields {
			switch name {
			case "manager", "operation", "apiVersion", "fieldsType", "subresource":
				text, isText := value.(string)
				ok = isText && text != ""
			case "time":
				ok = plainTime(value)
			case "fieldsV1":
				_, ok = value.(map[string]any)
			default:
				ok = false
			}
			if !ok {
				return false
			}
		}
	}
	return true
}

func plainTexts(value any) bool {
	texts, ok := value.(map[string]any)
	if !ok || len(texts) == 0 {
		return false
	}
	for _, text := range texts {
		if _, ok := text.(string); !ok {
			return false
		}
	}
	return true
}

// setDefaults fills in what the schema has defaults for.
func (v *version) setDefaults(obj runtime.Object) {
	// A schema that cannot be read has been reported by coerce.
	if s, err := v.structural(); err == nil && s != nil {
		defaulting.Default(obj.(*unstructured.Unstructured).Object, s)
	}
}

// prune drops what the schema does not know.
func (v *version) prune(obj *unstructured.Unstructured) error {
	s, err := v.structural()
	if err != nil {
		return err
	}
	if !v.preserve {
		pruning.Prune(obj.Object, s, true)
	}
	return nil
}

// read does to a stored object what coerce and defaults do to a client's. Its
// metadata was checked when it was written.
func (v *version) read(obj *unstructured.Unstructured) error {
	s, err := v.structural()
	if err != nil {
		return err
	}
	if !v.preserve {
		pruning.Prune(obj.Object, s, true)
		defaulting.PruneNonNullableNullsWithoutDefaults(obj.Object, s)
	}
	if v.traits().embedded {
		if invalid := objectmeta.Coerce(nil, obj.Object, s, false, true); invalid != nil {
			return fmt.Errorf("stored %s: %w", v.kind.Kind, invalid)
		}
	}
	if s != nil {
		defaulting.Default(obj.Object, s)
	}
	if obj.GetGeneration() == 0 {
		obj.SetGeneration(1)
	}
	return nil
}
