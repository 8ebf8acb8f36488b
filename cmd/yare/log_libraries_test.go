package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"

	"k8s.io/klog/v2"
)

func TestLibrariesAreQuietAboutConnectionsThatEnd(t *testing.T) {
	closed := &net.OpError{Op: "read", Net: "tcp", Err: net.ErrClosed}
	broken := fmt.Errorf("readfrom: %w", &net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE})
	for _, c := range []struct {
		err  error
		want slog.Level // of the quietest log that shows it
	}{{closed, slog.LevelDebug}, {broken, slog.LevelDebug}, {errors.New("disk full"), slog.LevelError}} {
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo} {
			var out bytes.Buffer
			handler := slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level})
			klog.SetSlogLogger(slog.New(libraryLog{handler}).With("component", "client-go"))
			klog.Background().Error(c.err, "Error proxying data from client to backend")
			got := out.String()
			if shown := got != ""; shown != (c.want >= level) || shown && !strings.Contains(got, "level="+c.want.String()) {
				t.Errorf("%v in a log of level %s: %q", c.err, level, got)
			}
		}
	}
	klog.ClearLogger()
}
