package logs

import (
	"bytes"
	"io"
)

const tailBlock = 32 << 10

// tailOffset returns where the last n lines of a file of the given size begin.
// A last line without its newline counts.
func tailOffset(file io.ReaderAt, size, n int64) (int64, error) {
	if n == 0 {
		return size, nil
	}
	block := make([]byte, tailBlock)
	// The newline that ends the last line is not counted.
	for end := size - 1; end > 0; {
		start := max(0, end-tailBlock)
		part := block[:end-start]
		if _, err := file.ReadAt(part, start); err != nil {
			return 0, err
		}
		for {
			i := bytes.LastIndexByte(part, '\n')
			if i < 0 {
				break
			}
			if n--; n == 0 {
				return start + int64(i) + 1, nil
			}
			part = part[:i]
		}
		end = start
	}
	return 0, nil
}
