package codec

import (
	"encoding/json"
	"reflect"
	"strings"
	"sync"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// flawless are the options under which encoding/json/v2 refuses all that
// sigs.k8s.io/json would complain about, and reads the rest as that does.
var flawless = jsonv2.JoinOptions(
	jsonv1.DefaultOptionsV1(),
	jsonv2.MatchCaseInsensitiveNames(false),
	jsonv2.RejectUnknownMembers(true),
	jsontext.AllowDuplicateNames(false),
	jsontext.AllowInvalidUTF8(false),
)

// unmarshalFlawless reads JSON into an empty value of a Go type, at two fifths of
// what sigs.k8s.io/json takes, and reports whether it could. It leaves whatever
// there is to complain about to that, and the value empty.
func unmarshalFlawless(body []byte, into any) bool {
	v := reflect.ValueOf(into).Elem()
	if !settled(v.Type()) {
		return false
	}
	if err := jsonv2.Unmarshal(body, into, flawless); err != nil {
		v.SetZero()
		return false
	}
	return true
}

// settledTypes keeps what settled has found out.
var settledTypes sync.Map // reflect.Type → bool

// settled reports whether a type has no interfaces, for which sigs.k8s.io/json
// chooses the type of numbers.
func settled(t reflect.Type) bool {
	if known, ok := settledTypes.Load(t); ok {
		return known.(bool)
	}
	is := !leadsToInterface(t, map[reflect.Type]bool{})
	settledTypes.Store(t, is)
	return is
}

func leadsToInterface(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Interface:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return leadsToInterface(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "-" && leadsToInterface(f.Type, seen) {
				return true
			}
		}
	}
	return false
}
