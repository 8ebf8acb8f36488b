package logs_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/yare-io/yare/kubelet/server/logs"
)

const stamp = "2026-11-22T10:00:0%d.%09dZ"

func entry(second int, stream, tag, message string) string {
	return fmt.Sprintf(stamp, second, second*1000) + " " + stream + " " + tag + " " + message + "\n"
}

func logFile(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "0.log")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadSelectsWhatOptionsSay(t *testing.T) {
	path := logFile(t,
		entry(1, "stdout", "F", "one"),
		entry(2, "stderr", "F", "two"),
		"garbage\n",
		entry(3, "stdout", "P", "thr"),
		entry(4, "stdout", "F", "ee"),
		entry(5, "stdout", "F:x=y", ""),
	)
	number := func(n int64) *int64 { return &n }
	since, _ := time.Parse(time.RFC3339, "2026-11-22T10:00:03Z")
	for name, c := range map[string]struct {
		options logs.Options
		want    string
	}{
		"all":          {logs.Options{}, "one\ntwo\nthree\n\n"},
		"stdout":       {logs.Options{Stream: logs.Stdout}, "one\nthree\n\n"},
		"stderr":       {logs.Options{Stream: logs.Stderr}, "two\n"},
		"since":        {logs.Options{Since: since}, "three\n\n"},
		"tail":         {logs.Options{Tail: number(2)}, "ee\n\n"},
		"tail zero":    {logs.Options{Tail: number(0)}, ""},
		"tail much":    {logs.Options{Tail: number(99)}, "one\ntwo\nthree\n\n"},
		"limit":        {logs.Options{LimitBytes: number(5)}, "one\nt"},
		"exact limit":  {logs.Options{LimitBytes: number(4)}, "one\n"},
		"timestamps":   {logs.Options{Timestamps: true, Since: since}, "2026-11-22T10:00:03.000003000Z three\n2026-11-22T10:00:05.000005000Z \n"},
		"tail + limit": {logs.Options{Tail: number(2), LimitBytes: number(1)}, "e"},
	} {
		var out bytes.Buffer
		if err := logs.Read(t.Context(), &out, path, c.options, nil); err != nil || out.String() != c.want {
			t.Errorf("%s: %q, %v; want %q", name, out.String(), err, c.want)
		}
	}
}

func TestTailEqualsTheEndOfTheWholeLog(t *testing.T) {
	var lines, messages []string
	for i := range 3000 {
		message := strings.Repeat("x", i%97)
		lines, messages = append(lines, entry(i%10, "stdout", "F", message)), append(messages, message+"\n")
	}
	path := logFile(t, lines...)
	for _, n := range []int64{1, 2, 500, 2999, 3000, 3001} {
		var out bytes.Buffer
		if err := logs.Read(t.Context(), &out, path, logs.Options{Tail: &n}, nil); err != nil {
			t.Fatal(err)
		}
		want := strings.Join(messages[max(0, len(messages)-int(n)):], "")
		if out.String() != want {
			t.Errorf("the last %d lines have %d bytes, want %d", n, out.Len(), len(want))
		}
	}
}

func TestFollowGoesOnThroughRotationUntilTheContainerEnds(t *testing.T) {
	path := logFile(t, entry(1, "stdout", "F", "before"))
	var running atomic.Bool
	running.Store(true)
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := logs.Read(t.Context(), w, path, logs.Options{Follow: true},
			func(context.Context) (bool, error) { return running.Load(), nil })
		w.CloseWithError(err)
		done <- err
	}()
	expect(t, r, "before\n")

	old, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	half := entry(2, "stdout", "F", "in two writes")
	write(t, old, half[:40])
	write(t, old, half[40:])
	expect(t, r, "in two writes\n")

	if err := os.Rename(path, path+".20261122"); err != nil {
		t.Fatal(err)
	}
	write(t, old, entry(3, "stdout", "F", "to the renamed file"))
	expect(t, r, "to the renamed file\n")
	if err := os.WriteFile(path, []byte(entry(4, "stdout", "F", "to the new file")), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, r, "to the new file\n")

	running.Store(false)
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

func TestFollowStopsWithItsContext(t *testing.T) {
	path := logFile(t, entry(1, "stdout", "F", "x"))
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	err := logs.Read(ctx, io.Discard, path, logs.Options{Follow: true}, func(context.Context) (bool, error) {
		if calls++; calls == 2 {
			cancel()
		}
		return true, nil
	})
	if err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

func TestALineWithoutItsEndIsStillShown(t *testing.T) {
	path := logFile(t, entry(1, "stdout", "F", "whole"), strings.TrimSuffix(entry(2, "stdout", "F", "cut of"), "\n"))
	var out bytes.Buffer
	if err := logs.Read(t.Context(), &out, path, logs.Options{}, nil); err != nil || out.String() != "whole\ncut of\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(entry(1, "stdout", "F", "message")))
	f.Add([]byte(entry(1, "stderr", "P:a:b", "")))
	f.Add([]byte("2026-11-22T10:00:00Z stdout F"))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := logs.Parse(line)
		if err != nil {
			return
		}
		tag := "F"
		if e.Partial {
			tag = "P"
		}
		again, err := logs.Parse(fmt.Appendf(nil, "%s %s %s %s\n", e.Time.Format(time.RFC3339Nano), e.Stream, tag, e.Message))
		if err != nil || !again.Time.Equal(e.Time) || again.Stream != e.Stream || again.Partial != e.Partial || !bytes.Equal(again.Message, e.Message) {
			t.Errorf("%q is %+v, written again %+v, %v", line, e, again, err)
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(entry(1, "stdout", "P", "a")+entry(2, "stdout", "F", "b")), int64(1), int64(3))
	f.Fuzz(func(t *testing.T, content []byte, tail, limit int64) {
		if tail < 0 || limit <= 0 {
			return
		}
		path := filepath.Join(t.TempDir(), "0.log")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := logs.Read(t.Context(), &out, path, logs.Options{Tail: &tail, LimitBytes: &limit}, nil); err != nil {
			t.Error(err)
		}
		if int64(out.Len()) > limit || out.Len() > len(content)+1 {
			t.Errorf("%d bytes of %d, limit %d", out.Len(), len(content), limit)
		}
	})
}
