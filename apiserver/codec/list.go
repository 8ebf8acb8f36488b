package codec

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// List is the bytes of a list in pieces: what was encoded before, and what goes
// around it. It shares the items.
type List struct {
	format     Format
	head, tail []byte
	count      int
	item       func(i int) ([]byte, error)
	// deflated: the items are what Deflate made of them.
	deflated bool
	size     int
}

// NewList makes a list of the bare forms of objects. Of YAML there are no
// pieces: WrapList has it.
func NewList(f Format, gvk schema.GroupVersionKind, meta metav1.ListMeta, items [][]byte) (*List, error) {
	return newList(&List{format: f}, gvk, meta, items)
}

// NewGzipList makes a list that writes itself compressed, of items that Deflate
// has compressed.
func NewGzipList(f Format, gvk schema.GroupVersionKind, meta metav1.ListMeta, items [][]byte) (*List, error) {
	return newList(&List{format: f, deflated: true}, gvk, meta, items)
}

// Streams reports whether lists of a format can be begun before the sizes of
// their items are known.
func (f Format) Streams() bool { return f == JSON || f == CBOR }

// StreamList makes a list whose items are asked for one after the other while
// it is written, so that they need not all be in memory. It has no size. With
// gzip, items are what Deflated encodes.
func StreamList(f Format, gvk schema.GroupVersionKind, meta metav1.ListMeta, count int, item func(i int) ([]byte, error), gzip bool) (*List, error) {
	l := &List{format: f, count: count, item: item, deflated: gzip}
	return l, l.around(gvk, meta, 0)
}

func newList(l *List, gvk schema.GroupVersionKind, meta metav1.ListMeta, items [][]byte) (*List, error) {
	l.count, l.item = len(items), func(i int) ([]byte, error) { return items[i], nil }
	between := 0
	for i, item := range items {
		n := l.sizeOf(item)
		between += n + l.leadSize(i, n)
	}
	err := l.around(gvk, meta, between)
	l.size = len(l.head) + between + len(l.tail)
	return l, err
}

// around makes what goes before and after the items.
func (l *List) around(gvk schema.GroupVersionKind, meta metav1.ListMeta, between int) (err error) {
	switch l.format {
	case Protobuf:
		err = l.aroundProtobuf(gvk, meta, between)
	case CBOR:
		l.head, l.tail, err = aroundCBOR(gvk, meta, l.count)
	default:
		err = l.aroundJSON(gvk, meta)
	}
	return err
}

// Size is how many bytes there are, uncompressed.
func (l *List) Size() int { return l.size }

// sizeOf is an item's size, uncompressed.
func (l *List) sizeOf(item []byte) int {
	if l.deflated {
		return deflated(item).size()
	}
	return len(item)
}

// lead adds what goes in front of an item.
func (l *List) lead(out []byte, i int, item []byte) []byte {
	switch {
	case l.format == Protobuf:
		return appendField(out, 2, l.sizeOf(item))
	case l.format != CBOR && i > 0:
		return append(out, ',')
	}
	return out
}

func (l *List) leadSize(i, size int) int {
	switch {
	case l.format == Protobuf:
		return fieldSize(size) - size
	case l.format != CBOR && i > 0:
		return 1
	}
	return 0
}

// WrapList joins the bare forms of objects to a list.
func WrapList(f Format, gvk schema.GroupVersionKind, meta metav1.ListMeta, items [][]byte) ([]byte, error) {
	l, err := NewList(f, gvk, meta, items)
	if err != nil {
		return nil, err
	}
	if f == YAML {
		return yaml.JSONToYAML(l.Bytes())
	}
	return l.Bytes(), nil
}

// Bytes returns a list made by NewList in one piece.
func (l *List) Bytes() []byte {
	out := append(make([]byte, 0, l.size), l.head...)
	for i := range l.count {
		item, _ := l.item(i)
		out = append(l.lead(out, i, item), item...)
	}
	return append(out, l.tail...)
}

// ErrItem is why a list was not written to its end: an item could not be
// encoded.
var ErrItem = errors.New("item of a list")

// WriteTo implements io.WriterTo.
func (l *List) WriteTo(w io.Writer) (int64, error) {
	c := NewChunks(w)
	var err error
	if l.deflated {
		err = l.writeGzip(c)
	} else {
		err = l.write(c)
	}
	if err != nil {
		c.err = fmt.Errorf("%w: %w", ErrItem, err)
	}
	return c.Close()
}

func (l *List) write(c *Chunks) error {
	c.Add(l.head)
	for i := 0; i < l.count && c.err == nil; i++ {
		item, err := l.item(i)
		if err != nil {
			return err
		}
		c.buffer = l.lead(c.buffer, i, item)
		c.Add(item)
	}
	c.Add(l.tail)
	return nil
}

func (l *List) aroundJSON(gvk schema.GroupVersionKind, meta metav1.ListMeta) error {
	head, err := json.Marshal(meta)
	if err != nil {
		return fmt.Errorf("encode list metadata: %w", err)
	}
	l.head = appendTypeMeta(nil, gvk)
	l.head = append(l.head, `,"metadata":`...)
	l.head = append(l.head, head...)
	l.head = append(l.head, `,"items":[`...)
	l.tail = []byte("]}\n")
	return nil
}

// aroundProtobuf relies on what all generated list types have in common:
// metadata is field 1, items is field 2.
func (l *List) aroundProtobuf(gvk schema.GroupVersionKind, meta metav1.ListMeta, between int) error {
	head, err := meta.Marshal()
	if err != nil {
		return fmt.Errorf("encode list metadata: %w", err)
	}
	l.head = appendUnknownHead(nil, gvk)
	l.head = appendField(l.head, 2, fieldSize(len(head))+between)
	l.head = appendBytes(l.head, 1, head)
	l.tail = appendUnknownTail(nil)
	return nil
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

// AddFrame adds a watch event of a bare object: what Frame makes of what Wrap
// does.
func (c *Chunks) AddFrame(f Format, eventType string, gvk schema.GroupVersionKind, bare []byte) error {
	if f != JSON {
		wrapped, err := Wrap(f, gvk, bare)
		if err == nil {
			c.Add(Frame(f, eventType, wrapped))
		}
		return err
	}
	c.buffer = append(c.buffer, `{"type":"`...)
	c.buffer = append(c.buffer, eventType...)
	c.buffer = append(c.buffer, `","object":`...)
	c.buffer = appendTypeMeta(c.buffer, gvk)
	if len(bare) > 2 {
		c.buffer = append(c.buffer, ',')
	}
	c.Add(bare[1:])
	c.Add([]byte("}\n"))
	return nil
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
