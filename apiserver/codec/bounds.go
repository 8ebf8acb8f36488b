package codec

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	"sigs.k8s.io/yaml"
)

// maxObjects bounds the objects within a body of JSON, YAML or protobuf, and
// maxDepth how deep they are within each other. Two bytes of a body can become a
// struct of a thousand.
const (
	maxObjects = 100_000
	maxDepth   = 10_000
)

// ErrTooManyItems is a body that would take far more memory than its size.
var ErrTooManyItems = errors.New("the body has too many items")

var (
	errTooManyObjects = fmt.Errorf("%w: more than %d objects", ErrTooManyItems, maxObjects)
	errTooDeep        = fmt.Errorf("%w: more than %d levels", ErrTooManyItems, maxDepth)
)

// CheckSize refuses a body of JSON or YAML that has too many objects, for those
// who do not decode it by Decode. Of what is malformed it says nothing.
func CheckSize(f Format, body []byte) error {
	if f == YAML && len(body) > 2*maxObjects { // an object takes two bytes
		converted, err := yaml.YAMLToJSON(body)
		if err != nil {
			return nil
		}
		body, f = converted, JSON
	}
	if f == YAML {
		return nil
	}
	return countJSON(body)
}

// countJSON refuses JSON of too many objects. A null counts as one: in a list of
// structs it is an empty one. Of what is malformed it says nothing: that is the
// parser's to do.
func countJSON(body []byte) error {
	if bytes.Count(body, []byte("{"))+bytes.Count(body, []byte("null")) <= maxObjects {
		return nil
	}
	objects, quoted := 0, false
	for i := 0; i < len(body) && objects <= maxObjects; i++ {
		switch c := body[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case !quoted && (c == '{' || c == 'n'):
			objects++
		}
	}
	if objects > maxObjects {
		return errTooManyObjects
	}
	return nil
}

// countMessages refuses protobuf of too many messages, or of messages that are
// too deep in others, for a Go type. Of what is malformed it says nothing.
func countMessages(raw []byte, into any) error {
	if len(raw) <= 2*maxDepth { // a message takes two bytes
		return nil
	}
	left := maxObjects
	if err := spend(raw, reflect.TypeOf(into).Elem(), maxDepth, &left); errors.Is(err, ErrTooManyItems) {
		return err
	}
	return nil
}

// spend takes the messages within one of type t off what is left.
func spend(raw []byte, t reflect.Type, depth int, left *int) error {
	if depth == 0 {
		return errTooDeep
	}
	within := messagesOf(t)
	return eachField(raw, func(number protowire.Number, value []byte) error {
		of, ok := within[number]
		if !ok {
			return nil
		}
		if *left--; *left < 0 {
			return errTooManyObjects
		}
		return spend(value, of, depth-1, left)
	})
}

// messageTypes are what messagesOf has found, by reflect.Type.
var messageTypes sync.Map

// messagesOf are the fields of a generated type that hold messages, with the
// types of these.
func messagesOf(t reflect.Type) map[protowire.Number]reflect.Type {
	if known, ok := messageTypes.Load(t); ok {
		return known.(map[protowire.Number]reflect.Type)
	}
	found := map[protowire.Number]reflect.Type{}
	for i := range t.NumField() {
		field := t.Field(i)
		wire, rest, _ := strings.Cut(field.Tag.Get("protobuf"), ",")
		var number protowire.Number
		if _, err := fmt.Sscan(strings.SplitN(rest, ",", 2)[0], &number); err != nil || wire != "bytes" {
			continue
		}
		of := field.Type
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
			of = of.Elem()
		}
		if of.Kind() == reflect.Struct {
			found[number] = of
		}
	}
	messageTypes.Store(t, found)
	return found
}
