// Package logs reads container logs as container runtimes write them: files in
// the CRI log format, which grow and are rotated while they are read.
//
// It knows files and nothing of pods, nor of who asks.
package logs

import (
	"bytes"
	"errors"
	"time"
)

// Stream is the output of a container that an entry comes from.
type Stream string

// The two outputs of a container.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
)

// Entry is one line of a log file.
type Entry struct {
	Time   time.Time
	Stream Stream
	// Partial entries are continued by the next entry of their stream; all
	// others end a line.
	Partial bool
	// Message is without the newline. It is only good until the next entry is
	// read.
	Message []byte
}

// errMalformed says that a line is not in the CRI log format.
var errMalformed = errors.New("not in the CRI log format")

// Parse reads a line such as
//
//	2016-10-06T00:17:09.669794202Z stdout F the message
//
// with or without its newline. F marks whole lines and P partial ones; further
// tags, after colons, are ignored.
func Parse(line []byte) (Entry, error) {
	line = bytes.TrimSuffix(line, []byte{'\n'})
	stamp, rest, ok := bytes.Cut(line, []byte{' '})
	if !ok {
		return Entry{}, errMalformed
	}
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil {
		return Entry{}, errMalformed
	}
	stream, rest, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return Entry{}, errMalformed
	}
	tags, message, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return Entry{}, errMalformed
	}
	entry := Entry{Time: at, Stream: Stream(stream), Message: message}
	if entry.Stream != Stdout && entry.Stream != Stderr {
		return Entry{}, errMalformed
	}
	switch tag, _, _ := bytes.Cut(tags, []byte{':'}); string(tag) {
	case "F":
	case "P":
		entry.Partial = true
	default:
		return Entry{}, errMalformed
	}
	return entry, nil
}
