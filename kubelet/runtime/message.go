package runtime

import (
	"bytes"
	"io"
	"os"
	"strings"
	"syscall"

	v1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/kubelet/cri"
)

const (
	maxMessage  = 4096
	maxLogBytes = 2048
	maxLogLines = 80
)

// Message returns what a dead container left to say: its termination message or, if its policy is
// FallbackToLogsOnError and it failed silently, the end of its log.
func Message(c *cri.Container) string {
	if c.TerminationMessagePath != "" {
		if text := head(c.TerminationMessagePath, maxMessage); text != "" {
			return text
		}
	}
	if c.TerminationMessagePolicy == string(v1.TerminationMessageFallbackToLogsOnError) && c.ExitCode != 0 && c.LogPath != "" {
		return logTail(c.LogPath)
	}
	return ""
}

func head(path string, limit int64) string {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) // the container may have put anything there
	if err != nil {
		return ""
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit))
	if err != nil {
		return ""
	}
	return string(data)
}

// logTail returns the last lines of a log in CRI's format, without its prefixes.
func logTail(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	const window = 64 << 10
	if size, err := file.Seek(0, io.SeekEnd); err != nil || size > window {
		if _, err := file.Seek(-window, io.SeekEnd); err != nil {
			return ""
		}
	} else if _, err := file.Seek(0, io.SeekStart); err != nil {
		return ""
	}
	data, err := io.ReadAll(io.LimitReader(file, window))
	if err != nil {
		return ""
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	if len(lines) > maxLogLines+1 {
		lines = lines[len(lines)-maxLogLines-1:]
	}
	var out strings.Builder
	for _, line := range lines {
		out.Write(content(line))
	}
	text := out.String()
	return text[max(0, len(text)-maxLogBytes):]
}

// content cuts "time stream tag " off a log line; a partial line loses its newline.
func content(line []byte) []byte {
	parts := bytes.SplitN(line, []byte(" "), 4)
	if len(parts) < 4 {
		return nil
	}
	if string(parts[2]) == "P" {
		return bytes.TrimSuffix(parts[3], []byte("\n"))
	}
	return parts[3]
}
