package codec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// envelopes are the buffers of Enveloped.
var envelopes = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// largestBuffer is what is kept for later: answers are mostly far smaller.
const largestBuffer = 64 << 10

// Enveloped returns what Wrap makes of the bare form of an object that nobody
// else asks for. The bytes are the caller's until it calls done, once.
func Enveloped(f Format, gvk schema.GroupVersionKind, obj runtime.Object) (body []byte, done func(), err error) {
	buffer := envelopes.Get().(*bytes.Buffer)
	buffer.Reset()
	done = func() {
		if buffer.Cap() <= largestBuffer {
			envelopes.Put(buffer)
		}
	}
	if body, err = envelope(buffer, f, gvk, obj); err != nil {
		done()
		return nil, nil, err
	}
	return body, done, nil
}

func envelope(buffer *bytes.Buffer, f Format, gvk schema.GroupVersionKind, obj runtime.Object) ([]byte, error) {
	_, untyped := obj.(*unstructured.Unstructured)
	m, binary := obj.(marshaler)
	switch {
	case f == JSON && !untyped:
		return envelopeJSON(buffer, gvk, obj)
	case f == Protobuf && binary:
		buffer.Grow(m.Size() + len(gvk.Kind) + len(gvk.Group) + len(gvk.Version) + 32)
		body, err := appendProtobuf(buffer.AvailableBuffer(), gvk, m)
		if err != nil {
			return nil, fmt.Errorf("encode %T as protobuf: %w", obj, err)
		}
		return body, nil
	}
	bare, err := Encode(f, obj)
	if err != nil {
		return nil, err
	}
	return Wrap(f, gvk, bare)
}

// envelopeJSON writes the object after its kind. The brace that opens the
// object becomes the comma between the two.
func envelopeJSON(buffer *bytes.Buffer, gvk schema.GroupVersionKind, obj runtime.Object) ([]byte, error) {
	buffer.Write(appendTypeMeta(buffer.AvailableBuffer(), gvk))
	head := buffer.Len()
	if err := json.NewEncoder(buffer).Encode(obj); err != nil {
		return nil, fmt.Errorf("encode %T as JSON: %w", obj, err)
	}
	body := buffer.Bytes()
	if string(body[head:]) == "{}\n" {
		return append(body[:head], "}\n"...), nil
	}
	body[head] = ','
	return body, nil
}
