// Package snapshots keeps a directory of etcd snapshots: it names them, lists
// them and gives up the oldest, by hand or on a schedule. How a snapshot is
// taken is package etcd's to know.
package snapshots

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	"k8s.io/utils/clock"
)

// Dir is a directory of snapshots.
type Dir struct {
	// Path is created when it is not there.
	Path string
	// Save writes a snapshot into a file, whole or not at all.
	Save func(ctx context.Context, file string) error
	// Clock that names and schedules go by. Default: the real one.
	Clock clock.WithTicker
	// Logger gets what a schedule has to say. Default: discard.
	Logger *slog.Logger
}

// Snapshot is one of a directory.
type Snapshot struct {
	Name string
	Path string
	Size int64
	Time time.Time
}

func (d *Dir) clock() clock.WithTicker {
	if d.Clock == nil {
		return clock.RealClock{}
	}
	return d.Clock
}

// Take saves a snapshot whose name is the prefix and the time.
func (d *Dir) Take(ctx context.Context, prefix string) (Snapshot, error) {
	if prefix == "" || prefix != filepath.Base(prefix) || strings.HasPrefix(prefix, ".") {
		return Snapshot{}, fmt.Errorf("a snapshot cannot be called %q", prefix)
	}
	if err := os.MkdirAll(d.Path, 0o700); err != nil {
		return Snapshot{}, err
	}
	name := fmt.Sprintf("%s-%d", prefix, d.clock().Now().Unix())
	path := filepath.Join(d.Path, name)
	if _, err := os.Lstat(path); err == nil {
		return Snapshot{}, fmt.Errorf("snapshot %s: %w", name, os.ErrExist)
	}
	if err := d.Save(ctx, path); err != nil {
		return Snapshot{}, err
	}
	return describe(path)
}

func describe(path string) (Snapshot, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Snapshot{}, err
	}
	return Snapshot{Name: filepath.Base(path), Path: path, Size: info.Size(), Time: info.ModTime()}, nil
}

// List returns the snapshots with a prefix, the newest first. A directory that
// is not there has none.
func (d *Dir) List(prefix string) ([]Snapshot, error) {
	entries, err := os.ReadDir(d.Path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Snapshot
	for _, entry := range entries {
		if !entry.Type().IsRegular() || !strings.HasPrefix(entry.Name(), prefix) || strings.HasSuffix(entry.Name(), ".part") {
			continue
		}
		next, err := describe(filepath.Join(d.Path, entry.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue // pruned meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, next)
	}
	slices.SortStableFunc(all, func(a, b Snapshot) int { return b.Time.Compare(a.Time) })
	return all, nil
}

// Prune removes all snapshots with a prefix but the newest keep, and returns
// those that it removed.
func (d *Dir) Prune(prefix string, keep int) ([]Snapshot, error) {
	if keep < 1 {
		return nil, fmt.Errorf("at least one snapshot is kept, not %d", keep)
	}
	all, err := d.List(prefix)
	if err != nil || len(all) <= keep {
		return nil, err
	}
	for _, old := range all[keep:] {
		if err := os.Remove(old.Path); err != nil {
			return nil, err
		}
	}
	return all[keep:], nil
}

// Schedule says when snapshots are taken, and how many are kept.
type Schedule struct {
	// Cron is five fields, as crontab has them, or @hourly and the like.
	Cron string
	// Prefix of the names; only these are pruned.
	Prefix string
	// Keep is how many snapshots are kept, at least one.
	Keep int
}

// Check finds out whether a schedule makes sense.
func (s Schedule) Check() error {
	if _, err := cron.ParseStandard(s.Cron); err != nil {
		return fmt.Errorf("schedule %q: %w", s.Cron, err)
	}
	if s.Keep < 1 {
		return fmt.Errorf("at least one snapshot is kept, not %d", s.Keep)
	}
	return nil
}

// Run takes snapshots on a schedule until ctx ends. A snapshot that fails is
// logged, and the next one is tried in its time.
func (d *Dir) Run(ctx context.Context, s Schedule) error {
	if err := s.Check(); err != nil {
		return err
	}
	times, err := cron.ParseStandard(s.Cron)
	if err != nil {
		return err
	}
	logger := d.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	for {
		now := d.clock().Now()
		timer := d.clock().NewTimer(times.Next(now).Sub(now))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C():
		}
		taken, err := d.Take(ctx, s.Prefix)
		if err == nil {
			logger.Info("saved a snapshot of etcd", "snapshot", taken.Path, "size", taken.Size)
			_, err = d.Prune(s.Prefix, s.Keep)
		}
		if err != nil && ctx.Err() == nil {
			logger.Error("a scheduled snapshot of etcd failed", "err", err)
		}
	}
}
