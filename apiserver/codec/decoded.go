package codec

import (
	"reflect"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// AsDecoded reports whether an object is, in all its parts, what is decoded of
// its protobuf form: without empty lists and maps, fractions of seconds and the
// like, which that form does not have. Objects for which it says no may be so
// all the same.
func AsDecoded(obj runtime.Object) bool {
	if !HasProtobuf(obj) {
		return false
	}
	v := reflect.ValueOf(obj).Elem()
	look := lookerOf(v.Type())
	return look == nil || look(v)
}

// looker looks at a value of one type.
type looker func(reflect.Value) bool

// lookers are made once for each type. One that is nil has nothing to look at.
var lookers struct {
	sync.RWMutex
	made map[reflect.Type]looker
}

func lookerOf(t reflect.Type) looker {
	lookers.RLock()
	look, made := lookers.made[t]
	lookers.RUnlock()
	if made {
		return look
	}
	lookers.Lock()
	defer lookers.Unlock()
	if lookers.made == nil {
		lookers.made = map[reflect.Type]looker{}
	}
	return makeLooker(t)
}

var special = map[reflect.Type]looker{
	reflect.TypeFor[metav1.Time](): func(v reflect.Value) bool {
		return localTo(v.Addr().Interface().(*metav1.Time).Time, time.Second)
	},
	reflect.TypeFor[metav1.MicroTime](): func(v reflect.Value) bool {
		return localTo(v.Addr().Interface().(*metav1.MicroTime).Time, time.Microsecond)
	},
	reflect.TypeFor[resource.Quantity](): func(v reflect.Value) bool {
		return asRead(v.Addr().Interface().(*resource.Quantity))
	},
	reflect.TypeFor[metav1.FieldsV1](): func(v reflect.Value) bool {
		return len(v.Addr().Interface().(*metav1.FieldsV1).GetRawBytes()) > 0
	},
}

// asRead reports whether an amount is what is read of its text. Amounts remember
// their texts when they are asked for them, which makes no other of them.
func asRead(quantity *resource.Quantity) bool {
	text := quantity.String()
	read, err := resource.ParseQuantity(text)
	return err == nil && read.String() == text && read == *quantity
}

// localTo reports whether a time is local, without what is less than a unit.
func localTo(t time.Time, unit time.Duration) bool {
	return t == time.Time{} || t.Location() == time.Local && t == t.Truncate(unit)
}

// makeLooker makes what looks at a type. The caller holds the lock.
func makeLooker(t reflect.Type) looker {
	if look, made := lookers.made[t]; made {
		return look
	}
	if look := special[t]; look != nil {
		lookers.made[t] = look
		return look
	}
	// Types may lead to themselves.
	lookers.made[t] = func(v reflect.Value) bool { return lookerOf(t)(v) }
	var look looker
	switch t.Kind() {
	case reflect.Interface, reflect.Func, reflect.Chan:
		look = reflect.Value.IsNil
	case reflect.Pointer:
		look = pointerLooker(makeLooker(t.Elem()))
	case reflect.Slice:
		look = sliceLooker(makeLooker(t.Elem()))
	case reflect.Map:
		look = mapLooker(t.Elem(), makeLooker(t.Elem()))
	case reflect.Struct:
		look = structLooker(t)
	}
	lookers.made[t] = look
	return look
}

func pointerLooker(below looker) looker {
	if below == nil {
		return nil
	}
	return func(v reflect.Value) bool { return v.IsNil() || below(v.Elem()) }
}

func sliceLooker(below looker) looker {
	return func(v reflect.Value) bool {
		n := v.Len()
		if n == 0 {
			return v.IsNil()
		}
		if below != nil {
			for i := range n {
				if !below(v.Index(i)) {
					return false
				}
			}
		}
		return true
	}
}

// filled also refuses nil: bytes and lists in maps are never nil once decoded.
func filled(look looker) looker {
	return func(v reflect.Value) bool { return v.Len() > 0 && look(v) }
}

func mapLooker(entry reflect.Type, below looker) looker {
	if entry.Kind() == reflect.Slice {
		below = filled(below)
	}
	return func(v reflect.Value) bool {
		if v.Len() == 0 {
			return v.IsNil()
		}
		if below == nil {
			return true
		}
		copied := reflect.New(entry).Elem() // entries of maps have no address
		for entries := v.MapRange(); entries.Next(); {
			copied.SetIterValue(entries)
			if !below(copied) {
				return false
			}
		}
		return true
	}
}

// structLooker looks at the fields; those without a place in the protobuf form
// must be empty.
func structLooker(t reflect.Type) looker {
	type part struct {
		index int
		look  looker
	}
	var parts []part
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		look := makeLooker(f.Type)
		if tag := f.Tag.Get("protobuf"); tag == "" || strings.HasPrefix(tag, "-") {
			look = reflect.Value.IsZero
		}
		if look != nil {
			parts = append(parts, part{i, look})
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return func(v reflect.Value) bool {
		for i := range parts {
			if !parts[i].look(v.Field(parts[i].index)) {
				return false
			}
		}
		return true
	}
}
