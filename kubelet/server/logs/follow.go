package logs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

const (
	// maxLine bounds a line in memory. Runtimes cut lines at 16 KiB unless told
	// otherwise.
	maxLine = 16 << 20
	// pollInterval is how long a follower sleeps at the end of the file. It is
	// what a reader waits for a line at most, and costs one stat each time.
	pollInterval = 100 * time.Millisecond
)

// lines reads a log file line by line, and goes on with its successor when it
// is rotated: when another file appears at its path.
type lines struct {
	path string
	file *os.File
	in   *bufio.Reader
	// partial is the beginning of a line whose end is not written yet.
	partial []byte
}

// openLines opens a log at its last tail lines; negative: at its beginning.
func openLines(path string, tail int64) (*lines, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if tail >= 0 {
		if err := seekTail(file, tail); err != nil {
			file.Close()
			return nil, fmt.Errorf("find the last %d lines: %w", tail, err)
		}
	}
	return &lines{path: path, file: file, in: bufio.NewReader(file)}, nil
}

func seekTail(file *os.File, tail int64) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	offset, err := tailOffset(file, info.Size(), tail)
	if err != nil {
		return err
	}
	_, err = file.Seek(offset, io.SeekStart)
	return err
}

func (l *lines) close() error { return l.file.Close() }

// next returns the next whole line, which is good until the next call, or
// io.EOF when there is none yet.
func (l *lines) next() ([]byte, error) {
	for {
		chunk, err := l.in.ReadSlice('\n')
		if err == nil && len(l.partial) == 0 {
			return chunk, nil
		}
		if len(l.partial)+len(chunk) > maxLine {
			return nil, fmt.Errorf("a line of %s is longer than %d bytes", l.path, maxLine)
		}
		l.partial = append(l.partial, chunk...)
		switch {
		case err == nil:
			line := l.partial
			l.partial = l.partial[:0]
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// rest returns the line that has no end, if any.
func (l *lines) rest() []byte { return l.partial }

// successor opens the file that has taken the path since, or returns nil.
// What the old file still holds is to be read before switchTo.
func (l *lines) successor() (*os.File, error) {
	now, err := os.Stat(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // between rename and reopen
	}
	if err != nil {
		return nil, err
	}
	current, err := l.file.Stat()
	if err != nil || os.SameFile(now, current) {
		return nil, err
	}
	return os.Open(l.path)
}

func (l *lines) switchTo(next *os.File) {
	l.file.Close()
	l.file, l.partial = next, l.partial[:0]
	l.in.Reset(next)
}

// wait sleeps until it is worth looking for more.
func wait(ctx context.Context) error {
	timer := time.NewTimer(pollInterval)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
