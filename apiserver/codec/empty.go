package codec

import (
	"reflect"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
)

// DropEmpty makes an object what whoever reads it from the store gets: protobuf
// does not tell an empty list or map from none, and fields that JSON shows even
// then become null. Objects that are stored as JSON stay as they are. The object
// must be the caller's own.
func DropEmpty(obj runtime.Object) {
	if _, ok := obj.(marshaler); !ok {
		return
	}
	value := reflect.ValueOf(obj).Elem()
	emptiesOf(value.Type()).drop(value)
}

// empties are the fields of a struct that JSON shows though they are empty, and
// those that have such fields within; nil: there are none.
type empties struct {
	shown  []int
	within []holder
}

// holder is a field with structs that have empties.
type holder struct {
	field int
	of    *empties
}

func (e *empties) drop(value reflect.Value) {
	if e == nil {
		return
	}
	for _, i := range e.shown {
		if field := value.Field(i); field.Len() == 0 && !field.IsNil() {
			field.SetZero()
		}
	}
	for _, h := range e.within {
		h.drop(value.Field(h.field))
	}
}

// drop looks at a struct, a pointer to one or a list of them.
func (h holder) drop(value reflect.Value) {
	switch value.Kind() {
	case reflect.Pointer:
		if !value.IsNil() {
			h.drop(value.Elem())
		}
	case reflect.Slice:
		for i := range value.Len() {
			h.drop(value.Index(i))
		}
	default:
		h.of.drop(value)
	}
}

// emptyFields are what emptiesOf has found, by reflect.Type.
var emptyFields sync.Map

func emptiesOf(t reflect.Type) *empties {
	if known, ok := emptyFields.Load(t); ok {
		return known.(*empties)
	}
	found, _ := emptyFields.LoadOrStore(t, findEmpties(t, map[reflect.Type]bool{}))
	return found.(*empties)
}

// findEmpties looks for the fields of a struct. Types that hold themselves are
// looked at once.
func findEmpties(t reflect.Type, above map[reflect.Type]bool) *empties {
	if above[t] {
		return nil
	}
	above[t] = true
	defer delete(above, t)
	found := &empties{}
	for i := range t.NumField() {
		field := t.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" || !field.IsExported() {
			continue
		}
		kind := field.Type.Kind()
		list := kind == reflect.Slice && field.Type.Elem().Kind() != reflect.Uint8 || kind == reflect.Map
		if list && !strings.Contains(options, "omit") {
			found.shown = append(found.shown, i)
		}
		of := field.Type
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
			of = of.Elem()
		}
		if of.Kind() != reflect.Struct {
			continue
		}
		if within := findEmpties(of, above); within != nil {
			found.within = append(found.within, holder{i, within})
		}
	}
	if len(found.shown)+len(found.within) == 0 {
		return nil
	}
	return found
}
