package codec

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/bits"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// WrapList joins the bare forms of objects to a list: a header, then bytes
// that were encoded before.
func WrapList(f Format, gvk schema.GroupVersionKind, meta metav1.ListMeta, items [][]byte) ([]byte, error) {
	switch f {
	case Protobuf:
		return listProtobuf(gvk, meta, items)
	case CBOR:
		return listCBOR(gvk, meta, items)
	case YAML:
		raw, err := listJSON(gvk, meta, items)
		if err != nil {
			return nil, err
		}
		return yaml.JSONToYAML(raw)
	default:
		return listJSON(gvk, meta, items)
	}
}

func listJSON(gvk schema.GroupVersionKind, meta metav1.ListMeta, items [][]byte) ([]byte, error) {
	head, err := json.Marshal(meta)
	if err != nil {
		return nil, fmt.Errorf("encode list metadata: %w", err)
	}
	size := 128 + len(head)
	for _, item := range items {
		size += len(item) + 1
	}
	out := appendTypeMeta(make([]byte, 0, size), gvk)
	out = append(out, `,"metadata":`...)
	out = append(out, head...)
	out = append(out, `,"items":[`...)
	for i, item := range items {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, item...)
	}
	return append(out, "]}\n"...), nil
}

// listProtobuf relies on what all generated list types have in common:
// metadata is field 1, items is field 2.
func listProtobuf(gvk schema.GroupVersionKind, meta metav1.ListMeta, items [][]byte) ([]byte, error) {
	head, err := meta.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode list metadata: %w", err)
	}
	size := fieldSize(len(head))
	for _, item := range items {
		size += fieldSize(len(item))
	}
	out := appendUnknownHead(make([]byte, 0, size+128), gvk)
	out = appendField(out, 2, size)
	out = appendBytes(out, 1, head)
	for _, item := range items {
		out = appendBytes(out, 2, item)
	}
	return appendUnknownTail(out), nil
}

func fieldSize(length int) int {
	return 1 + (bits.Len64(uint64(length)|1)+6)/7 + length
}

// StreamType is the media type of a stream of frames.
func (f Format) StreamType() string {
	switch f {
	case JSON:
		return f.MediaType()
	case CBOR:
		return runtime.ContentTypeCBORSequence
	default:
		return f.MediaType() + ";stream=watch"
	}
}

// Frame makes a watch event of an object in its envelope, in the framing of
// the format: a line of JSON, a length-delimited protobuf message, or the next
// item of a CBOR sequence.
func Frame(f Format, eventType string, wrapped []byte) []byte {
	switch f {
	case Protobuf:
		return frameProtobuf(eventType, wrapped)
	case CBOR:
		return frameCBOR(eventType, wrapped)
	}
	out := make([]byte, 0, len(wrapped)+len(eventType)+32)
	out = append(out, `{"type":"`...)
	out = append(out, eventType...)
	out = append(out, `","object":`...)
	if n := len(wrapped); n > 0 && wrapped[n-1] == '\n' {
		wrapped = wrapped[:n-1]
	}
	out = append(out, wrapped...)
	return append(out, "}\n"...)
}

func frameProtobuf(eventType string, wrapped []byte) []byte {
	extension := fieldSize(len(wrapped))
	size := fieldSize(len(eventType)) + fieldSize(extension)
	out := make([]byte, 4, size+4)
	binary.BigEndian.PutUint32(out, uint32(size))
	out = appendBytes(out, 1, []byte(eventType))
	out = appendField(out, 2, extension)
	return appendBytes(out, 1, wrapped)
}
