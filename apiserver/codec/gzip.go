package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
	"k8s.io/apimachinery/pkg/runtime"
)

// A gzip stream is a sequence of deflate blocks and a check of what they say.
// Blocks that refer to nothing before them, and end on a byte, can stand
// anywhere. So an item of a list is compressed once, and lists join what comes
// of it, as they join the plain bytes.

// Deflated encodes objects as e does, for NewGzipList.
func Deflated(e runtime.Encoder) runtime.Encoder {
	return &deflatedEncoder{Encoder: e, name: e.Identifier() + "/deflate"}
}

type deflatedEncoder struct {
	runtime.Encoder
	name runtime.Identifier
}

func (d *deflatedEncoder) Identifier() runtime.Identifier { return d.name }

func (d *deflatedEncoder) Encode(obj runtime.Object, w io.Writer) error {
	out, err := d.Bytes(obj)
	if err == nil {
		_, err = w.Write(out)
	}
	return err
}

// Bytes returns what Encode writes.
func (d *deflatedEncoder) Bytes(obj runtime.Object) ([]byte, error) {
	raw, err := Bytes(d.Encoder, obj)
	if err != nil {
		return nil, err
	}
	out, err := deflate(raw)
	if err != nil {
		return nil, fmt.Errorf("compress %T: %w", obj, err)
	}
	return out, nil
}

// deflated is deflate blocks after three numbers about what they hold: its
// size, its check, and what its size does to the check of what is before it.
type deflated []byte

const deflatedHead = 12

func (d deflated) size() int      { return int(binary.LittleEndian.Uint32(d)) }
func (d deflated) check() uint32  { return binary.LittleEndian.Uint32(d[4:]) }
func (d deflated) shift() uint32  { return binary.LittleEndian.Uint32(d[8:]) }
func (d deflated) blocks() []byte { return d[deflatedHead:] }

// pieceLevel is how hard to try. A piece is compressed once and sent many times;
// from the next level on twice the time saves a hundredth.
const pieceLevel = 6

var deflaters = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(io.Discard, pieceLevel)
	return w
}}

// Deflate compresses a piece for JoinGzip.
func Deflate(raw []byte) ([]byte, error) { return deflate(raw) }

// JoinGzip returns a gzip stream of what was given to Deflate, as the slices
// that it consists of: those of the pieces are shared with them.
func JoinGzip(pieces [][]byte) [][]byte {
	var g gzipStream
	out := make([][]byte, 1, len(pieces)+2)
	out[0] = gzipHead
	for _, piece := range pieces {
		out = append(out, g.piece(deflated(piece)))
	}
	return append(out, g.end())
}

// gzipStream counts and checks what a gzip stream holds.
type gzipStream struct {
	check uint32
	size  int
}

var gzipHead = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}

// piece returns the blocks of the next piece.
func (g *gzipStream) piece(d deflated) []byte {
	g.check = multiply(d.shift(), g.check) ^ d.check()
	g.size += d.size()
	return d.blocks()
}

// stored adds bytes uncompressed to c.
func (g *gzipStream) stored(c *Chunks, raw []byte) {
	for rest := raw; len(rest) > 0; {
		n := min(len(rest), 0xffff)
		var head [5]byte
		binary.LittleEndian.PutUint16(head[1:], uint16(n))
		binary.LittleEndian.PutUint16(head[3:], ^uint16(n))
		c.Add(head[:])
		c.Add(rest[:n])
		rest = rest[n:]
	}
	g.check = crc32.Update(g.check, crc32.IEEETable, raw)
	g.size += len(raw)
}

// end returns the last block, which is empty, and the check.
func (g *gzipStream) end() []byte {
	end := []byte{1, 0, 0, 0xff, 0xff}
	end = binary.LittleEndian.AppendUint32(end, g.check)
	return binary.LittleEndian.AppendUint32(end, uint32(g.size))
}

func deflate(raw []byte) (deflated, error) {
	var out bytes.Buffer
	out.Grow(len(raw)/2 + 64)
	out.Write(make([]byte, deflatedHead))
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(&out)
	if _, err := w.Write(raw); err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil { // to a byte, without an end
		return nil, err
	}
	d := bytes.Clone(out.Bytes())
	binary.LittleEndian.PutUint32(d, uint32(len(raw)))
	binary.LittleEndian.PutUint32(d[4:], crc32.ChecksumIEEE(raw))
	binary.LittleEndian.PutUint32(d[8:], shiftOf(len(raw)))
	return d, nil
}

// writeGzip writes the list as a gzip stream. What goes around the items is
// not compressed.
func (l *List) writeGzip(c *Chunks) error {
	var g gzipStream
	c.Add(gzipHead)
	g.stored(c, l.head)
	var lead []byte
	for i := 0; i < l.count && c.err == nil; i++ {
		raw, err := l.item(i)
		if err != nil {
			return err
		}
		lead = l.lead(lead[:0], i, raw)
		g.stored(c, lead)
		c.Add(g.piece(deflated(raw)))
	}
	g.stored(c, l.tail)
	c.Add(g.end())
	return nil
}

// The check is a remainder of polynomials over two elements, modulo that of
// IEEE 802.3. The check of a and b, one after the other, is that of a times x
// to the number of bits of b, plus that of b. The highest bit is the lowest
// power.

// multiply multiplies two polynomials.
func multiply(a, b uint32) uint32 {
	var product uint32
	for ; a != 0; a <<= 1 {
		if a&(1<<31) != 0 {
			product ^= b
		}
		if b&1 != 0 {
			b = b>>1 ^ crc32.IEEE
		} else {
			b >>= 1
		}
	}
	return product
}

// squares are x, x², x⁴ and so on.
var squares = sync.OnceValue(func() (powers [64]uint32) {
	powers[0] = 1 << 30
	for i := 1; i < len(powers); i++ {
		powers[i] = multiply(powers[i-1], powers[i-1])
	}
	return powers
})

// shiftOf is x to the number of bits of n bytes.
func shiftOf(n int) uint32 {
	powers, shift := squares(), uint32(1<<31)
	for i := 3; n > 0; n, i = n>>1, i+1 {
		if n&1 != 0 {
			shift = multiply(powers[i], shift)
		}
	}
	return shift
}
