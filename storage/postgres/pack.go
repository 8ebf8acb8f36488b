package postgres

import (
	"bytes"
	"fmt"

	"github.com/klauspost/compress/s2"
)

const (
	// packedMark begins a value that is stored as a block of S2. A value that
	// begins so itself is always packed; one from before there was a mark is
	// trusted not to.
	packedMark = "\x00yS2"
	// leastPacked is below what size packing saves nothing worth its time.
	leastPacked = 256
)

// pack is a value as it is stored: compressed where that saves an eighth. The
// database would do that too, but late: here it spares the way there, one
// writer's time instead of many callers', and the way back.
func pack(value []byte) []byte {
	escape := bytes.HasPrefix(value, []byte(packedMark))
	if len(value) < leastPacked && !escape {
		return value
	}
	packed := make([]byte, len(packedMark)+s2.MaxEncodedLen(len(value)))
	copy(packed, packedMark)
	packed = packed[:len(packedMark)+len(s2.Encode(packed[len(packedMark):], value))]
	if len(packed) > len(value)*7/8 && !escape {
		return value
	}
	return packed
}

// unpacked is a value that is read from how it is stored.
type unpacked []byte

// ScanBytes implements pgtype.BytesScanner; stored is nil for NULL.
func (u *unpacked) ScanBytes(stored []byte) error {
	*u = nil
	if stored == nil {
		return nil
	}
	block, isPacked := bytes.CutPrefix(stored, []byte(packedMark))
	if !isPacked {
		*u = append([]byte{}, stored...)
		return nil
	}
	value, err := s2.Decode(nil, block)
	if err != nil {
		return fmt.Errorf("unpack a value of %d bytes: %w", len(stored), err)
	}
	*u = value
	return nil
}
