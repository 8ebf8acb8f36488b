package worker

import (
	"context"
	"time"

	"k8s.io/client-go/tools/cache"
)

// Periodically calls do at once and then every period, once the informers hold
// their first full lists. Errors are logged; the next call comes anyway.
func Periodically(env *Env, period time.Duration, do func(context.Context) error, needs ...cache.SharedIndexInformer) Runner {
	var synced []cache.DoneChecker
	for _, informer := range needs {
		synced = append(synced, informer.HasSyncedChecker())
	}
	return RunnerFunc(func(ctx context.Context) error {
		if !cache.WaitFor(ctx, "", synced...) {
			return nil
		}
		ticker := env.Clock.NewTicker(period)
		defer ticker.Stop()
		for {
			if err := guarded(ctx, do); err != nil && ctx.Err() == nil {
				env.Log.Log(ctx, levelOf(err), "periodic pass failed, the next one comes", "after", period, "err", err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C():
			}
		}
	})
}
