package codec

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Decode reads a body into an empty object, whose kind and apiVersion stay
// empty unless it has no Go type. The body may leave its kind or apiVersion out; want is then meant, and
// when want has no version, any will do. It
// returns the kind that the body claims to be. With strict, unknown and
// duplicate fields come back in warnings, the object is still filled. Errors are about the
// body and fit to show to whoever sent it; ErrTooManyItems is one that would
// become too large. Depth is bounded (10,000 levels), size is the caller's to
// bound.
func Decode(f Format, body []byte, want schema.GroupVersionKind, into runtime.Object, strict bool) (got schema.GroupVersionKind, warnings []error, err error) {
	switch f {
	case Protobuf:
		got, err = decodeProtobuf(body, want, into)
	case CBOR:
		got, warnings, err = decodeCBOR(body, want, into, strict)
	default:
		got, warnings, err = decodeText(f, body, want, into, strict)
	}
	if err == nil {
		if _, untyped := into.(*unstructured.Unstructured); !untyped {
			into.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
		}
		return got, warnings, nil
	}
	return got, nil, explain(err, body, got, want)
}

func decodeText(f Format, body []byte, want schema.GroupVersionKind, into runtime.Object, strict bool) (schema.GroupVersionKind, []error, error) {
	var warnings []error
	if f == YAML {
		converted, duplicates, err := fromYAML(body, strict)
		if err != nil {
			return schema.GroupVersionKind{}, nil, err
		}
		body, warnings = converted, duplicates
	}
	if err := countJSON(body); err != nil {
		return schema.GroupVersionKind{}, nil, err
	}
	if u, untyped := into.(*unstructured.Unstructured); untyped {
		got, more, err := decodeUntyped(body, want, u, strict)
		return got, append(warnings, more...), err
	}
	got, err := unmarshalText(body, want, into, strict, &warnings)
	return got, warnings, err
}

// unmarshalText reads JSON into an object with a Go type. Mostly it is read at
// once, and the object itself tells its kind afterwards; else the kind is looked
// at first.
func unmarshalText(body []byte, want schema.GroupVersionKind, into runtime.Object, strict bool, warnings *[]error) (schema.GroupVersionKind, error) {
	if unmarshalFlawless(body, into) {
		if into.GetObjectKind().GroupVersionKind() == want {
			return want, nil
		}
		return claimed(body, want)
	}
	got, err := claimed(body, want)
	if err != nil {
		return got, err
	}
	if !strict {
		return got, kjson.UnmarshalCaseSensitivePreserveInts(body, into)
	}
	more, err := kjson.UnmarshalStrict(body, into)
	*warnings = append(*warnings, more...)
	return got, err
}

// claimed is the kind that a body claims to be, which must be the wanted one.
func claimed(body []byte, want schema.GroupVersionKind) (schema.GroupVersionKind, error) {
	got, err := kindOf(body, want)
	if err == nil && !matches(got, want) {
		err = &MismatchError{Got: got, Want: want}
	}
	return got, err
}

func fromYAML(body []byte, strict bool) ([]byte, []error, error) {
	if !strict {
		raw, err := yaml.YAMLToJSON(body)
		return raw, nil, err
	}
	raw, strictErr := yaml.YAMLToJSONStrict(body)
	if strictErr == nil {
		return raw, nil, nil
	}
	raw, err := yaml.YAMLToJSON(body)
	return raw, []error{strictErr}, err
}

// kindOf reads kind and apiVersion, and fills in what is missing.
func kindOf(body []byte, want schema.GroupVersionKind) (schema.GroupVersionKind, error) {
	var head struct {
		APIVersion string `json:"apiVersion,omitempty"`
		Kind       string `json:"kind,omitempty"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(body, &head); err != nil {
		return schema.GroupVersionKind{}, fmt.Errorf("couldn't get version/kind; json parse error: %w", err)
	}
	return complete(head.APIVersion, head.Kind, want)
}

func complete(apiVersion, kind string, want schema.GroupVersionKind) (schema.GroupVersionKind, error) {
	gv := want.GroupVersion()
	if apiVersion != "" {
		parsed, err := schema.ParseGroupVersion(apiVersion)
		if err != nil {
			return schema.GroupVersionKind{}, err
		}
		gv = parsed
	}
	if kind == "" {
		kind = want.Kind
	}
	return gv.WithKind(kind), nil
}

// MismatchError: the body is an object of another kind or version.
type MismatchError struct{ Got, Want schema.GroupVersionKind }

func (e *MismatchError) Error() string {
	if e.Got.GroupVersion() != e.Want.GroupVersion() {
		return fmt.Sprintf("the API version in the data (%s) does not match the expected API version (%s)", e.Got.GroupVersion(), e.Want.GroupVersion())
	}
	return fmt.Sprintf("the kind in the data (%s) does not match the expected kind (%s)", e.Got.Kind, e.Want.Kind)
}

// matches compares kinds; a wanted kind without a version is wanted in any, as
// options are.
func matches(got, want schema.GroupVersionKind) bool {
	return got == want || (want.Version == "" && got.Kind == want.Kind)
}

func decodeProtobuf(body []byte, want schema.GroupVersionKind, into runtime.Object) (schema.GroupVersionKind, error) {
	got, raw, err := unwrap(body, want)
	if err != nil {
		return got, err
	}
	if !matches(got, want) {
		return got, &MismatchError{Got: got, Want: want}
	}
	if err := countMessages(raw, into); err != nil {
		return got, err
	}
	return got, unmarshal(raw, into)
}

// unwrap opens the envelope of protobuf data.
func unwrap(body []byte, want schema.GroupVersionKind) (schema.GroupVersionKind, []byte, error) {
	if len(body) < len(magic) || string(body[:len(magic)]) != magic {
		return schema.GroupVersionKind{}, nil, errors.New("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
	}
	var kind runtime.TypeMeta
	var raw []byte
	err := eachField(body[len(magic):], func(number protowire.Number, value []byte) error {
		switch number {
		case 1:
			return kind.Unmarshal(value)
		case 2:
			raw = value
		}
		return nil
	})
	if err != nil {
		return schema.GroupVersionKind{}, nil, err
	}
	got, err := complete(kind.APIVersion, kind.Kind, want)
	return got, raw, err
}

// eachField visits the length-delimited fields of a protobuf message, whose
// bytes it does not copy.
func eachField(message []byte, visit func(protowire.Number, []byte) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, message); n < 0 {
				return protowire.ParseError(n)
			}
			message = message[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := visit(number, value); err != nil {
			return err
		}
		message = message[n:]
	}
	return nil
}

func unmarshal(raw []byte, into runtime.Object) error {
	m, ok := into.(unmarshaler)
	if !ok {
		return fmt.Errorf("%T has no protobuf form", into)
	}
	m.Reset()
	return m.Unmarshal(raw)
}

// explain words a decoding error as Kubernetes does.
func explain(err error, body []byte, got, want schema.GroupVersionKind) error {
	var wrong *MismatchError
	if errors.Is(err, ErrTooManyItems) || errors.As(err, &wrong) && got.Kind == want.Kind {
		return err
	}
	if got.Kind != "" {
		return fmt.Errorf("%s in version %q cannot be handled as a %s: %w", got.Kind, got.Version, want.Kind, err)
	}
	return fmt.Errorf("the object provided is unrecognized (must be of type %s): %w (%s)", want.Kind, err, summary(body))
}

// summary shows the beginning of a body that could not be read.
func summary(body []byte) string {
	const shown = 30
	if json.Valid(body) && len(body) < shown {
		return string(body)
	}
	if len(body) > shown {
		return hex.EncodeToString(body[:shown]) + " ..."
	}
	return hex.EncodeToString(body)
}
