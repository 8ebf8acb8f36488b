// Package codec turns objects into bytes and back: the wire formats of the
// API, the envelopes they share with lists and watch streams, and the bytes in
// the store. It knows nothing of HTTP but media types, and of a kind nothing
// but its name.
//
// Every format has a bare form of an object, which lacks kind and apiVersion.
// It is what a list contains; a get or a watch event is the bare form in an
// envelope. So one encoding, kept by the cache, serves all three.
package codec

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// Format is a wire format.
type Format uint8

// The wire formats. The zero value is JSON.
const (
	JSON Format = iota
	YAML
	Protobuf
	CBOR
)

// MediaType is the format's name in Accept and Content-Type.
func (f Format) MediaType() string {
	return [...]string{runtime.ContentTypeJSON, runtime.ContentTypeYAML, runtime.ContentTypeProtobuf, runtime.ContentTypeCBOR}[f]
}

// Bare encodes objects without kind and apiVersion. YAML has the bare form of
// JSON. The encoders are comparable and stateless.
func (f Format) Bare() runtime.Encoder {
	switch f {
	case Protobuf:
		return bareProtobuf{}
	case CBOR:
		return bareCBOR{}
	default:
		return bareJSON{}
	}
}

type bareJSON struct{}

func (bareJSON) Identifier() runtime.Identifier { return "yare/json" }

func (e bareJSON) Encode(obj runtime.Object, w io.Writer) error {
	raw, err := e.Bytes(obj)
	if err == nil {
		_, err = w.Write(raw)
	}
	return err
}

// Bytes returns what Encode writes.
func (bareJSON) Bytes(obj runtime.Object) ([]byte, error) {
	raw, err := bareJSONOf(obj)
	if err != nil {
		return nil, fmt.Errorf("encode %T as JSON: %w", obj, err)
	}
	return raw, nil
}

type bareProtobuf struct{}

func (bareProtobuf) Identifier() runtime.Identifier { return "yare/protobuf" }

func (e bareProtobuf) Encode(obj runtime.Object, w io.Writer) error {
	raw, err := e.Bytes(obj)
	if err == nil {
		_, err = w.Write(raw)
	}
	return err
}

// Bytes returns what Encode writes.
func (bareProtobuf) Bytes(obj runtime.Object) ([]byte, error) {
	m, ok := obj.(marshaler)
	if !ok {
		return nil, fmt.Errorf("%T has no protobuf form", obj)
	}
	raw, err := m.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode %T as protobuf: %w", obj, err)
	}
	return raw, nil
}

// marshaler is what types with a protobuf form have.
type marshaler interface {
	Marshal() ([]byte, error)
	Size() int
	MarshalToSizedBuffer([]byte) (int, error)
}

type unmarshaler interface {
	Reset()
	Unmarshal([]byte) error
}

// HasProtobuf reports whether a type has a protobuf form.
func HasProtobuf(obj runtime.Object) bool {
	_, out := obj.(marshaler)
	_, in := obj.(unmarshaler)
	return out && in
}

// Encode returns the bare form of an object.
func Encode(f Format, obj runtime.Object) ([]byte, error) { return Bytes(f.Bare(), obj) }

// Bytes is runtime.Encode, without a copy where the encoder has its bytes in one
// piece.
func Bytes(e runtime.Encoder, obj runtime.Object) ([]byte, error) {
	if direct, ok := e.(interface {
		Bytes(runtime.Object) ([]byte, error)
	}); ok {
		return direct.Bytes(obj)
	}
	return runtime.Encode(e, obj)
}

// magic begins everything that is encoded as protobuf, in the store and on
// the wire.
const magic = "k8s\x00"

// Wrap puts a bare object into its envelope: what a get returns.
func Wrap(f Format, gvk schema.GroupVersionKind, bare []byte) ([]byte, error) {
	switch f {
	case Protobuf:
		return wrapProtobuf(gvk, bare), nil
	case CBOR:
		return wrapCBOR(gvk, bare)
	case YAML:
		return yaml.JSONToYAML(wrapJSON(gvk, bare))
	default:
		return append(wrapJSON(gvk, bare), '\n'), nil
	}
}

func wrapJSON(gvk schema.GroupVersionKind, bare []byte) []byte {
	out := make([]byte, 0, len(bare)+len(gvk.Kind)+len(gvk.Group)+len(gvk.Version)+32)
	out = appendTypeMeta(out, gvk)
	if len(bare) > 2 {
		out = append(out, ',')
	}
	return append(out, bare[1:]...)
}

// appendTypeMeta writes the beginning of a JSON object. Kinds, groups and
// versions are names, and need no escaping.
func appendTypeMeta(out []byte, gvk schema.GroupVersionKind) []byte {
	out = append(out, `{"kind":"`...)
	out = append(out, gvk.Kind...)
	out = append(out, `","apiVersion":"`...)
	out = append(out, gvk.GroupVersion().String()...)
	return append(out, '"')
}

// wrapProtobuf writes what a runtime.Unknown would, empty encoding and type
// included, for these are the bytes that Kubernetes keeps in etcd.
func wrapProtobuf(gvk schema.GroupVersionKind, bare []byte) []byte {
	out := make([]byte, 0, len(bare)+len(gvk.Kind)+len(gvk.Group)+len(gvk.Version)+32)
	out = appendUnknownHead(out, gvk)
	out = appendBytes(out, 2, bare)
	return appendUnknownTail(out)
}

// appendProtobuf writes an object in its envelope.
func appendProtobuf(out []byte, gvk schema.GroupVersionKind, m marshaler) ([]byte, error) {
	size := m.Size()
	out = slices.Grow(out, size+len(gvk.Kind)+len(gvk.Group)+len(gvk.Version)+32)
	out = appendField(appendUnknownHead(out, gvk), 2, size)
	out = out[:len(out)+size]
	n, err := m.MarshalToSizedBuffer(out[len(out)-size:])
	if err != nil {
		return nil, err
	}
	if n != size {
		return nil, fmt.Errorf("%T has %d bytes and said %d", m, n, size)
	}
	return appendUnknownTail(out), nil
}

func appendUnknownHead(out []byte, gvk schema.GroupVersionKind) []byte {
	out = append(out, magic...)
	apiVersion := gvk.GroupVersion().String()
	meta := appendBytes(nil, 1, []byte(apiVersion))
	meta = appendBytes(meta, 2, []byte(gvk.Kind))
	return appendBytes(out, 1, meta)
}

func appendUnknownTail(out []byte) []byte {
	out = appendBytes(out, 3, nil)
	return appendBytes(out, 4, nil)
}

// appendBytes writes a length-delimited protobuf field.
func appendBytes(out []byte, field byte, value []byte) []byte {
	out = appendField(out, field, len(value))
	return append(out, value...)
}

func appendField(out []byte, field byte, length int) []byte {
	out = append(out, field<<3|2)
	return binary.AppendUvarint(out, uint64(length))
}
