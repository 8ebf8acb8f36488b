package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Options select a part of a log. The zero value is all of it up to now.
type Options struct {
	// Follow goes on until the container has ended and its log is read.
	Follow bool
	// Tail is how many of the last lines to begin with; nil: all.
	Tail *int64
	// Since drops entries that are older; zero: none.
	Since time.Time
	// Timestamps puts the time before each line.
	Timestamps bool
	// LimitBytes is how much to write at most; nil: all.
	LimitBytes *int64
	// Stream selects one output; empty: both.
	Stream Stream
}

// timeFormat has a fixed width, unlike time.RFC3339Nano.
const timeFormat = "2006-01-02T15:04:05.000000000Z07:00"

// errLimit ends the reading when LimitBytes are written.
var errLimit = errors.New("limit reached")

// Read writes the messages of the log at path to w. Lines that are not in the
// CRI log format are left out. With Follow, running is asked at the end of the
// file whether the container may still write; it may be nil otherwise.
//
// Read returns nil when the log, or the part that was asked for, is written;
// the context's error when that is done first; otherwise what went wrong.
func Read(ctx context.Context, w io.Writer, path string, options Options, running func(context.Context) (bool, error)) error {
	tail := int64(-1)
	if options.Tail != nil {
		tail = *options.Tail
	}
	in, err := openLines(path, tail)
	if err != nil {
		return fmt.Errorf("open container log: %w", err)
	}
	defer in.close()
	out := &writer{w: w, options: options, left: -1}
	if options.LimitBytes != nil {
		out.left = *options.LimitBytes
	}
	err = copyLines(ctx, in, out, options.Follow, running)
	if errors.Is(err, errLimit) {
		return nil
	}
	return err
}

func copyLines(ctx context.Context, in *lines, out *writer, follow bool, running func(context.Context) (bool, error)) error {
	if !follow {
		if err := drain(ctx, in, out); err != nil {
			return err
		}
		return out.line(in.rest())
	}
	for {
		// Asked before reading: what an ended container wrote is all there.
		alive, err := running(ctx)
		if err != nil {
			return fmt.Errorf("ask whether the container runs: %w", err)
		}
		rotated, err := drainAll(ctx, in, out)
		switch {
		case err != nil:
			return err
		case rotated:
			continue
		case !alive:
			return out.line(in.rest())
		}
		if err := wait(ctx); err != nil {
			return err
		}
	}
}

// drainAll writes all lines of the file, and when it has a successor, those
// written to it before that one took over; then it switches.
func drainAll(ctx context.Context, in *lines, out *writer) (rotated bool, err error) {
	if err := drain(ctx, in, out); err != nil {
		return false, err
	}
	next, err := in.successor()
	if err != nil || next == nil {
		return false, err
	}
	if err := drain(ctx, in, out); err != nil {
		next.Close()
		return false, err
	}
	in.switchTo(next)
	return true, nil
}

// drain writes all lines that are there.
func drain(ctx context.Context, in *lines, out *writer) error {
	for ctx.Err() == nil {
		line, err := in.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read container log: %w", err)
		}
		if err := out.line(line); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// writer writes the messages of lines as options want them.
type writer struct {
	w       io.Writer
	options Options
	// left is how many bytes may still be written; negative: any number.
	left int64
	// within is true after a partial entry: the line goes on.
	within bool
	buffer []byte
}

func (w *writer) line(line []byte) error {
	entry, err := Parse(line)
	if err != nil || entry.Time.Before(w.options.Since) {
		return nil
	}
	if w.options.Stream != "" && entry.Stream != w.options.Stream {
		return nil
	}
	w.buffer = w.buffer[:0]
	if w.options.Timestamps && !w.within {
		w.buffer = append(entry.Time.AppendFormat(w.buffer, timeFormat), ' ')
	}
	w.buffer = append(w.buffer, entry.Message...)
	if !entry.Partial {
		w.buffer = append(w.buffer, '\n')
	}
	w.within = entry.Partial
	return w.write(w.buffer)
}

func (w *writer) write(b []byte) error {
	if w.left >= 0 && int64(len(b)) >= w.left {
		b = b[:w.left]
		if _, err := w.w.Write(b); err != nil {
			return err
		}
		return errLimit
	}
	if w.left >= 0 {
		w.left -= int64(len(b))
	}
	_, err := w.w.Write(b)
	return err
}
