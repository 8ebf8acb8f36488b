package audit

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/utils/clock"
)

// LogConfig says where and how a log is kept.
type LogConfig struct {
	// Path of the file; "-" is the standard output, which is never rotated.
	Path   string
	Format Format
	// MaxMegabytes is the size at which a file is put aside; zero: 100.
	MaxMegabytes int
	// MaxBackups and MaxAgeDays bound the files put aside; zero: no bound.
	MaxBackups, MaxAgeDays int
	// Strict makes the requests fail whose events cannot be written.
	Strict bool
	Clock  clock.PassiveClock
}

// Log writes a line for each event. Each is written before Take returns.
type Log struct {
	config LogConfig

	mu   sync.Mutex
	out  io.WriteCloser
	size int64
}

// NewLog opens the log.
func NewLog(config LogConfig) (*Log, error) {
	if config.MaxMegabytes == 0 {
		config.MaxMegabytes = 100
	}
	if config.Clock == nil {
		config.Clock = clock.RealClock{}
	}
	l := &Log{config: config}
	if config.Path == "-" {
		l.out = stdout{}
		return l, nil
	}
	return l, l.open()
}

type stdout struct{}

func (stdout) Write(b []byte) (int, error) { return os.Stdout.Write(b) }
func (stdout) Close() error                { return nil }

func (l *Log) open() error {
	if err := os.MkdirAll(filepath.Dir(l.config.Path), 0o755); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	file, err := os.OpenFile(l.config.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	l.out, l.size = file, info.Size()
	return nil
}

// Take implements Backend.
func (l *Log) Take(_ context.Context, events ...*auditinternal.Event) error {
	for _, event := range events {
		line, err := l.config.Format.line(event)
		if err == nil {
			err = l.write(line)
		}
		if err != nil && l.config.Strict {
			return fmt.Errorf("audit log: %w", err)
		}
	}
	return nil
}

func (l *Log) write(line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.config.Path != "-" && l.size > 0 && l.size+int64(len(line)) > int64(l.config.MaxMegabytes)<<20 {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	n, err := l.out.Write(line)
	l.size += int64(n)
	return err
}

// backupTime is the form of the time in the names of files put aside.
const backupTime = "2006-01-02T15-04-05.000"

// rotate puts the file aside under a name with the time, and begins another.
func (l *Log) rotate() error {
	if err := l.out.Close(); err != nil {
		return err
	}
	stem, extension := l.name()
	if err := os.Rename(l.config.Path, stem+"-"+l.config.Clock.Now().UTC().Format(backupTime)+extension); err != nil {
		return err
	}
	if err := l.open(); err != nil {
		return err
	}
	return l.prune()
}

func (l *Log) name() (stem, extension string) {
	extension = filepath.Ext(l.config.Path)
	return strings.TrimSuffix(l.config.Path, extension), extension
}

// prune removes the files that are too many or too old.
func (l *Log) prune() error {
	stem, extension := l.name()
	files, err := filepath.Glob(stem + "-*" + extension)
	if err != nil {
		return err
	}
	slices.Sort(files)
	slices.Reverse(files)
	oldest := l.config.Clock.Now().UTC().AddDate(0, 0, -l.config.MaxAgeDays)
	kept := 0
	for _, file := range files {
		made, err := time.Parse(backupTime, strings.TrimSuffix(strings.TrimPrefix(file, stem+"-"), extension))
		if err != nil {
			continue // not one of ours
		}
		tooOld := l.config.MaxAgeDays > 0 && made.Before(oldest)
		if kept++; !tooOld && (l.config.MaxBackups == 0 || kept <= l.config.MaxBackups) {
			continue
		}
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	return nil
}

// Run implements Backend: it closes the file when ctx ends.
func (l *Log) Run(ctx context.Context) error {
	<-ctx.Done()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Close()
}
