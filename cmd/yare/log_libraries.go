package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"syscall"
)

// libraryLog is where the Kubernetes libraries log. They call it an error when
// one side of a stream closes before the other, which is how every exec and
// port-forward ends; here that is for debugging only.
type libraryLog struct{ slog.Handler }

// Handle implements slog.Handler.
func (l libraryLog) Handle(ctx context.Context, record slog.Record) error {
	if record.Level >= slog.LevelError && tellsOfAnEnd(record) {
		if !l.Enabled(ctx, slog.LevelDebug) {
			return nil
		}
		record.Level = slog.LevelDebug
	}
	return l.Handler.Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (l libraryLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return libraryLog{l.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (l libraryLog) WithGroup(name string) slog.Handler { return libraryLog{l.Handler.WithGroup(name)} }

// tellsOfAnEnd reports whether the record's error is that of a connection that
// was closed.
func tellsOfAnEnd(record slog.Record) bool {
	found := false
	record.Attrs(func(attr slog.Attr) bool {
		err, ok := attr.Value.Any().(error)
		found = ok && isEnd(err)
		return !found
	})
	return found
}

func isEnd(err error) bool {
	for _, end := range []error{net.ErrClosed, io.EOF, io.ErrClosedPipe, io.ErrUnexpectedEOF, syscall.EPIPE, syscall.ECONNRESET} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}
