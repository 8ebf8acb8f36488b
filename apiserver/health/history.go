package health

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// startGrace is how long a check that has never passed may fail before the log
// says so: a process that starts is polled long before it is ready.
const startGrace = 10 * time.Second

// history is a check that remembers how it went, so that the log tells of
// changes and not of every poll.
type history struct {
	Check
	logger *slog.Logger
	begin  time.Time

	mu     sync.Mutex
	passed bool // it has passed at least once
	told   bool // the log has said that it fails
}

func (h *history) run(ctx context.Context, excluded []string) error {
	if slices.Contains(excluded, h.Name) {
		return errExcluded
	}
	err := h.Check.Check(ctx)
	if ctx.Err() != nil {
		return err // the client left: what failed may be its own doing
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil:
		if h.told {
			h.logger.Info("health check passes again", "check", h.Name)
		}
		h.passed, h.told = true, false
	case !h.told && (h.passed || time.Since(h.begin) > startGrace):
		h.told = true
		h.logger.Warn("health check fails", "check", h.Name, "error", err)
	default:
		h.logger.Debug("health check fails", "check", h.Name, "error", err)
	}
	return err
}
