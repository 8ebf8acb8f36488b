package codec

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"
)

// selfDescribed is the tag that begins whatever is encoded as CBOR (RFC 8949,
// 3.4.6), within other data items too.
const selfDescribed = "\xd9\xd9\xf7"

// Major types of CBOR data items.
const (
	byteString = 2 << 5
	textString = 3 << 5
	array      = 4 << 5
	mapping    = 5 << 5
)

type bareCBOR struct{}

func (bareCBOR) Identifier() runtime.Identifier { return "yare/cbor" }

func (bareCBOR) Encode(obj runtime.Object, w io.Writer) error {
	raw, err := direct.Marshal(bareContent(obj))
	if err != nil {
		return fmt.Errorf("encode %T as CBOR: %w", obj, err)
	}
	_, err = w.Write(raw)
	return err
}

// wrapCBOR puts kind and apiVersion before the entries of a map.
func wrapCBOR(gvk schema.GroupVersionKind, bare []byte) ([]byte, error) {
	entries, rest, err := mapEntries(bare)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(bare)+len(gvk.Kind)+len(gvk.Group)+len(gvk.Version)+32)
	out = appendTypeMetaCBOR(out, gvk, entries)
	return append(out, rest...), nil
}

// appendTypeMetaCBOR begins a map that has kind, apiVersion and a number of
// further entries.
func appendTypeMetaCBOR(out []byte, gvk schema.GroupVersionKind, further uint64) []byte {
	out = append(out, selfDescribed...)
	out = appendHead(out, mapping, further+2)
	out = appendText(out, "kind")
	out = appendText(out, gvk.Kind)
	out = appendText(out, "apiVersion")
	return appendText(out, gvk.GroupVersion().String())
}

// aroundCBOR is what goes before and after the items of a list.
func aroundCBOR(gvk schema.GroupVersionKind, meta metav1.ListMeta, items int) (head, tail []byte, err error) {
	raw, err := direct.Marshal(meta)
	if err != nil {
		return nil, nil, fmt.Errorf("encode list metadata: %w", err)
	}
	head = appendTypeMetaCBOR(nil, gvk, 2)
	head = appendText(head, "metadata")
	head = append(head, raw...)
	head = appendText(head, "items")
	return appendHead(head, array, uint64(items)), nil, nil
}

func frameCBOR(eventType string, wrapped []byte) []byte {
	out := make([]byte, 0, len(wrapped)+len(eventType)+32)
	out = append(out, selfDescribed...)
	out = appendHead(out, mapping, 2)
	out = appendText(out, "type")
	out = appendText(out, eventType)
	out = appendText(out, "object")
	return append(out, wrapped...)
}

// appendText writes a string the way Kubernetes does: as a byte string, which
// may hold anything that a Go string does.
func appendText(out []byte, s string) []byte {
	return append(appendHead(out, byteString, uint64(len(s))), s...)
}

// appendHead writes the head of a data item: its major type and its length or
// number of entries.
func appendHead(out []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(out, major|byte(n))
	case n <= 0xff:
		return append(out, major|24, byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(out, major|25), uint16(n))
	case n <= 0xffffffff:
		return binary.BigEndian.AppendUint32(append(out, major|26), uint32(n))
	default:
		return binary.BigEndian.AppendUint64(append(out, major|27), n)
	}
}

// readHead reads the head of a data item: its major type, its length or number
// of entries, and what follows. False when it is cut off or of indefinite
// length.
func readHead(item []byte) (major byte, n uint64, rest []byte, ok bool) {
	if len(item) == 0 {
		return 0, 0, nil, false
	}
	major, short := item[0]&0xe0, item[0]&0x1f
	if short < 24 {
		return major, uint64(short), item[1:], true
	}
	if short > 27 || len(item) < 1+1<<(short-24) {
		return major, 0, item[1:], false
	}
	end := 1 + 1<<(short-24)
	for _, b := range item[1:end] {
		n = n<<8 | uint64(b)
	}
	return major, n, item[end:], true
}

// mapEntries reads the head of a map, and returns the number of its entries
// and the bytes of these.
func mapEntries(item []byte) (uint64, []byte, error) {
	major, n, rest, ok := readHead(item)
	if !ok || major != mapping {
		return 0, nil, errors.New("a CBOR object must be a map of definite length")
	}
	return n, rest, nil
}

// maxItems bounds the data items of a body. One of a byte can become a struct
// of a thousand.
const maxItems = 1 << 18

var errTooManyData = fmt.Errorf("%w: more than %d of CBOR", ErrTooManyItems, maxItems)

// countItems refuses bodies of too many data items. Of what is malformed it
// says nothing: that is the decoder's to do.
func countItems(body []byte) error {
	for items := 0; len(body) > 0; items++ {
		if items == maxItems {
			return errTooManyData
		}
		major, n, rest, definite := readHead(body)
		if definite && (major == byteString || major == textString) {
			if n > uint64(len(rest)) {
				return nil
			}
			rest = rest[n:]
		}
		body = rest
	}
	return nil
}

// decodeCBOR reads CBOR into an object. Duplicate keys are errors whatever the
// client asks for, as in Kubernetes: such CBOR is invalid.
func decodeCBOR(body []byte, want schema.GroupVersionKind, into runtime.Object, strict bool) (schema.GroupVersionKind, []error, error) {
	if u, untyped := into.(*unstructured.Unstructured); untyped {
		got, err := decodeUntypedCBOR(body, want, u)
		return got, nil, err
	}
	if err := countItems(body); err != nil {
		return schema.GroupVersionKind{}, nil, err
	}
	missing := want
	if missing.Version == "" {
		missing.Version = "v1"
	}
	_, found, err := cbor.NewSerializer(target{want, into}, nil, cbor.Strict(strict)).Decode(body, &missing, nil)
	var got schema.GroupVersionKind
	if found != nil {
		got = *found
	}
	if problems, ok := runtime.AsStrictDecodingError(err); ok {
		return got, problems.Errors(), nil
	}
	return got, nil, err
}

// target makes a serializer decode into an object of the kind that is wanted.
type target struct {
	want schema.GroupVersionKind
	into runtime.Object
}

// New implements runtime.ObjectCreater.
func (t target) New(got schema.GroupVersionKind) (runtime.Object, error) {
	if !matches(got, t.want) {
		return nil, &MismatchError{Got: got, Want: t.want}
	}
	return t.into, nil
}

func decodeUntypedCBOR(body []byte, want schema.GroupVersionKind, into *unstructured.Unstructured) (schema.GroupVersionKind, error) {
	content, err := contentOfCBOR(body)
	if err != nil {
		return schema.GroupVersionKind{}, fmt.Errorf("couldn't get version/kind; %w", err)
	}
	return adopt(content, want, into)
}

func contentOfCBOR(body []byte) (map[string]any, error) {
	if err := countItems(body); err != nil {
		return nil, err
	}
	var content map[string]any
	if err := direct.Unmarshal(body, &content); err != nil {
		return nil, err
	}
	if content == nil {
		return nil, errors.New("the body must be a CBOR map")
	}
	return content, nil
}

// FromCBOR returns the JSON of a CBOR map.
func FromCBOR(body []byte) ([]byte, error) {
	content, err := contentOfCBOR(body)
	if err != nil {
		return nil, err
	}
	return json.Marshal(content)
}
