package codec

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"
)

// Store returns the bytes to keep for an object: protobuf where the type has
// it, JSON elsewhere. The caller has emptied the resourceVersion, which is the
// store's revision and never kept.
func Store(gvk schema.GroupVersionKind, obj runtime.Object) ([]byte, error) {
	if m, ok := obj.(marshaler); ok {
		raw, err := appendProtobuf(nil, gvk, m)
		if err != nil {
			return nil, fmt.Errorf("encode %s for the store: %w", gvk.Kind, err)
		}
		return raw, nil
	}
	raw, err := json.Marshal(obj)
	if err != nil {
		return nil, fmt.Errorf("encode %s for the store: %w", gvk.Kind, err)
	}
	return append(wrapJSON(gvk, raw), '\n'), nil
}

// Stored reads bytes from the store. newObject returns an empty object for
// the kind found there, or nil when there is no such kind.
func Stored(value []byte, newObject func(schema.GroupVersionKind) runtime.Object) (runtime.Object, schema.GroupVersionKind, error) {
	isProtobuf := len(value) >= len(magic) && string(value[:len(magic)]) == magic
	var (
		kind schema.GroupVersionKind
		raw  = value
		err  error
	)
	if isProtobuf {
		kind, raw, err = unwrap(value, schema.GroupVersionKind{})
	} else {
		kind, err = kindOf(value, schema.GroupVersionKind{})
	}
	if err != nil {
		return nil, kind, fmt.Errorf("read stored object: %w", err)
	}
	obj := newObject(kind)
	if obj == nil {
		return nil, kind, fmt.Errorf("read stored object: unknown kind %s", kind)
	}
	if isProtobuf {
		err = unmarshal(raw, obj)
	} else {
		err = kjson.UnmarshalCaseSensitivePreserveInts(raw, obj)
	}
	if err != nil {
		return nil, kind, fmt.Errorf("read stored %s: %w", kind.Kind, err)
	}
	obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	return obj, kind, nil
}
