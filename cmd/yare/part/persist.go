package part

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// firstPause and longestPause are between two attempts of Persist.
const (
	firstPause   = 250 * time.Millisecond
	longestPause = 5 * time.Second
)

// Persist takes a step of a start. While the API says that its store is away or
// full it takes the step again, with growing pauses, until ctx ends; any other
// error is the step's end. Steps must bear being taken twice.
func Persist(ctx context.Context, logger *slog.Logger, step string, run func(context.Context) error) error {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := run(ctx)
		if err == nil {
			return nil
		}
		if !storeAway(err) {
			return fmt.Errorf("%s: %w", step, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		logger.Warn("the start waits for the store", "step", step, "retryIn", pause, "err", err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// storeAway tells whether the API answered that it cannot reach its store now,
// that this is full, or nothing in time.
func storeAway(err error) bool {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Code == http.StatusInsufficientStorage {
		return true
	}
	return apierrors.IsServiceUnavailable(err) || apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) ||
		apierrors.IsTooManyRequests(err) || errors.Is(err, context.DeadlineExceeded)
}
