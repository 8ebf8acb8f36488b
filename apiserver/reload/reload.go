// Package reload follows configuration files.
package reload

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"time"

	"k8s.io/utils/clock"
)

// Interval is how often files are looked at.
const Interval = 10 * time.Second

// File applies the content of a file whenever it has changed from what was
// known, until ctx ends. What cannot be read or applied is logged, and what was
// applied last stays.
func File(ctx context.Context, name string, known []byte, apply func([]byte) error, ticks clock.WithTicker, logger *slog.Logger) {
	ticker := ticks.NewTicker(Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		}
		data, err := os.ReadFile(name)
		if err == nil && bytes.Equal(data, known) {
			continue
		}
		if err == nil {
			known = data
			err = apply(data)
		}
		if err != nil {
			logger.Error("configuration not reloaded, the last good one stays", "file", name, "err", err)
			continue
		}
		logger.Info("configuration reloaded", "file", name)
	}
}
