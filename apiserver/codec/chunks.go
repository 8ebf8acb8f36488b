package codec

import (
	"io"
	"sync"
)

// chunk is how much is written at a time: several frames of HTTP/2, as net/http
// wakes who writes only when all have been sent.
const chunk = 64 << 10

// room is what the buffer holds beyond a chunk, for pieces that are put
// together in it.
const room = 512

var buffers = sync.Pool{New: func() any { return new([chunk + room]byte) }}

// Chunks gathers pieces into writes of a good size. It must be closed.
type Chunks struct {
	w       io.Writer
	pooled  *[chunk + room]byte
	buffer  []byte
	written int64
	err     error
}

// NewChunks returns Chunks that write to w.
func NewChunks(w io.Writer) *Chunks {
	pooled := buffers.Get().(*[chunk + room]byte)
	return &Chunks{w: w, pooled: pooled, buffer: pooled[:0]}
}

// Add adds a piece, which it does not keep.
func (c *Chunks) Add(piece []byte) {
	for c.err == nil && len(c.buffer)+len(piece) >= chunk {
		n := max(0, chunk-len(c.buffer))
		c.buffer = append(c.buffer, piece[:n]...)
		piece = piece[n:]
		c.put(chunk)
	}
	if c.err == nil {
		c.buffer = append(c.buffer, piece...)
	}
}

// put writes the first n bytes of the buffer.
func (c *Chunks) put(n int) {
	var written int
	written, c.err = c.w.Write(c.buffer[:n])
	c.written += int64(written)
	c.buffer = append(c.buffer[:0], c.buffer[n:]...)
}

// Close writes what is left, and returns how much was written in all and the
// first error.
func (c *Chunks) Close() (int64, error) {
	if c.err == nil && len(c.buffer) > 0 {
		c.put(len(c.buffer))
	}
	c.buffer = nil
	buffers.Put(c.pooled)
	return c.written, c.err
}
