package patch

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	kjson "sigs.k8s.io/json"
)

// MergeTyped applies a merge patch to an object of a Go type, which it changes,
// and reports whether it could. Most patches set a few fields, for which there
// is no need to write all of the object as JSON and to read it again. What is
// not as simple as that (unknown or duplicate fields, wrong types, nulls and
// fractions in lists, kinds) it leaves to Apply; the object is spoilt then.
func MergeTyped(obj runtime.Object, patch []byte) bool {
	var fields map[string]any
	if strict, err := kjson.UnmarshalStrict(patch, &fields); err != nil || len(strict) > 0 || fields == nil {
		return false
	}
	for _, name := range []string{"kind", "apiVersion"} {
		if _, claims := fields[name]; claims {
			return false
		}
	}
	return merge(reflect.ValueOf(obj).Elem(), fields)
}

// merge gives v what a patch says: a value as sigs.k8s.io/json reads it.
func merge(v reflect.Value, patch any) bool {
	if patch == nil {
		v.SetZero()
		return true
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		return merge(v.Elem(), patch)
	}
	if reflect.PointerTo(v.Type()).Implements(readsItself) {
		return mergeOpaque(v, patch)
	}
	if reflect.PointerTo(v.Type()).Implements(readsText) {
		return false
	}
	switch v.Kind() {
	case reflect.Struct:
		return mergeStruct(v, patch)
	case reflect.Map:
		return mergeMap(v, patch)
	case reflect.Slice:
		return replaceList(v, patch)
	default:
		return setScalar(v, patch)
	}
}

var (
	readsItself = reflect.TypeFor[json.Unmarshaler]()
	readsText   = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// mergeOpaque replaces a value that reads its JSON itself: a quantity, a time.
// Those that are objects or lists, or numbers with fractions, have more to
// them.
func mergeOpaque(v reflect.Value, patch any) bool {
	switch patch.(type) {
	case string, bool, int64:
	default:
		return false
	}
	raw, err := json.Marshal(patch)
	if err != nil {
		return false
	}
	v.SetZero()
	return v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(raw) == nil
}

func mergeStruct(v reflect.Value, patch any) bool {
	values, ok := patch.(map[string]any)
	if !ok {
		return false
	}
	fields := fieldsOf(v.Type())
	for name, value := range values {
		index, known := fields[name]
		if !known || !merge(v.FieldByIndex(index), value) {
			return false
		}
	}
	return true
}

func mergeMap(v reflect.Value, patch any) bool {
	values, ok := patch.(map[string]any)
	key := v.Type().Key()
	if !ok || key.Kind() != reflect.String || reflect.PointerTo(key).Implements(readsText) {
		return false
	}
	if v.IsNil() {
		v.Set(reflect.MakeMapWithSize(v.Type(), len(values)))
	}
	for name, value := range values {
		at := reflect.ValueOf(name).Convert(key)
		if value == nil {
			v.SetMapIndex(at, reflect.Value{})
			continue
		}
		entry := reflect.New(v.Type().Elem()).Elem()
		if before := v.MapIndex(at); before.IsValid() {
			entry.Set(before)
		}
		if !merge(entry, value) {
			return false
		}
		v.SetMapIndex(at, entry)
	}
	return true
}

// replaceList sets a list as a whole.
func replaceList(v reflect.Value, patch any) bool {
	items, ok := patch.([]any)
	if !ok || !whole(items) {
		return false
	}
	raw, err := json.Marshal(items)
	if err != nil {
		return false
	}
	list := reflect.New(v.Type())
	strict, err := kjson.UnmarshalStrict(raw, list.Interface())
	if err != nil || len(strict) > 0 {
		return false
	}
	v.Set(list.Elem())
	return true
}

// whole reports whether a value means the same once it was read and written:
// nulls are taken out of the objects in lists, and fractions have many forms.
func whole(value any) bool {
	switch typed := value.(type) {
	case nil, float64:
		return false
	case []any:
		for _, item := range typed {
			if !whole(item) {
				return false
			}
		}
	case map[string]any:
		for _, entry := range typed {
			if !whole(entry) {
				return false
			}
		}
	}
	return true
}

func setScalar(v reflect.Value, patch any) bool {
	switch typed := patch.(type) {
	case string:
		if v.Kind() == reflect.String {
			v.SetString(typed)
			return true
		}
	case bool:
		if v.Kind() == reflect.Bool {
			v.SetBool(typed)
			return true
		}
	case int64:
		if v.CanInt() && !v.OverflowInt(typed) {
			v.SetInt(typed)
			return true
		}
	}
	return false
}

// known are the fields of Go structs by their names in JSON, those of inlined
// structs among them.
var known sync.Map // reflect.Type → map[string][]int

func fieldsOf(t reflect.Type) map[string][]int {
	if fields, ok := known.Load(t); ok {
		return fields.(map[string][]int)
	}
	fields := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && name != "" && name != "-" && plain(t, f.Index) {
			fields[name] = f.Index
		}
	}
	known.Store(t, fields)
	return fields
}

// plain reports whether a field is one of the struct, or of structs that are
// inlined in it by value and without a name.
func plain(t reflect.Type, index []int) bool {
	for _, i := range index[:len(index)-1] {
		f := t.Field(i)
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" || f.Type.Kind() != reflect.Struct {
			return false
		}
		t = f.Type
	}
	return true
}
