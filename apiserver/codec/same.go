package codec

import (
	"bytes"
	"sync"
)

// compared has room for two messages that are compared.
var compared = sync.Pool{New: func() any { return new([]byte) }}

// Same reports whether two values of one type have the same protobuf form,
// which is many times faster than to look at every field by reflection. It is
// not known of types that have no such form. Equal values may have several.
func Same(a, b any) (same, known bool) {
	x, ok := a.(marshaler)
	y, also := b.(marshaler)
	if !ok || !also {
		return false, false
	}
	size := x.Size()
	if y.Size() != size {
		return false, true
	}
	room := compared.Get().(*[]byte)
	defer compared.Put(room)
	if cap(*room) < 2*size {
		*room = make([]byte, 2*size)
	}
	first, second := (*room)[:size], (*room)[size:2*size]
	if _, err := x.MarshalToSizedBuffer(first); err != nil {
		return false, false
	}
	if _, err := y.MarshalToSizedBuffer(second); err != nil {
		return false, false
	}
	return bytes.Equal(first, second), true
}
