package audit

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
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
	// Compress makes files put aside gzip's, while Run runs.
	Compress bool
	// Strict makes the requests fail whose events cannot be written.
	Strict bool
	Clock  clock.PassiveClock
	// Logger hears of files that cannot be compressed; nil: nobody does.
	Logger *slog.Logger
}

// Log writes a line for each event. Each is written before Take returns.
type Log struct {
	config LogConfig

	// aside is sent to when a file was put aside.
	aside chan struct{}

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
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Log{config: config, aside: make(chan struct{}, 1)}
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

// rotate puts the file aside under a name with the time, and begins another.
func (l *Log) rotate() error {
	if err := l.out.Close(); err != nil {
		return err
	}
	if err := os.Rename(l.config.Path, l.backups().name(l.config.Clock.Now())); err != nil {
		return err
	}
	if err := l.open(); err != nil {
		return err
	}
	l.noteAside()
	return l.backups().prune(l.config.MaxBackups, l.oldest())
}

// oldest is when the oldest file to keep may have been put aside; zero: at any
// time.
func (l *Log) oldest() time.Time {
	if l.config.MaxAgeDays == 0 {
		return time.Time{}
	}
	return l.config.Clock.Now().UTC().AddDate(0, 0, -l.config.MaxAgeDays)
}

func (l *Log) backups() backups { return backupsOf(l.config.Path) }

// noteAside wakes Run, unless it is about to look anyway.
func (l *Log) noteAside() {
	select {
	case l.aside <- struct{}{}:
	default:
	}
}

// Run implements Backend: it compresses what was put aside, if that is wanted,
// and closes the file when ctx ends.
func (l *Log) Run(ctx context.Context) error {
	l.noteAside() // by a server before this one
	for {
		select {
		case <-ctx.Done():
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.out.Close()
		case <-l.aside:
		}
		if !l.config.Compress || l.config.Path == "-" {
			continue
		}
		if err := l.backups().compress(ctx); err != nil && ctx.Err() == nil {
			l.config.Logger.Error("an old audit log is not compressed", "err", err)
		}
	}
}
