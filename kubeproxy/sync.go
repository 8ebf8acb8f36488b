package kubeproxy

import (
	"context"
	"slices"
	"time"

	"github.com/yare-io/yare/kubeproxy/model"
)

// Waiting time after the first failed synchronization, and the longest.
const (
	firstRetry   = time.Second
	longestRetry = 30 * time.Second
)

// syncLoop synchronizes whenever something changed, and wholly from time to
// time and after errors.
func (p *Proxy) syncLoop(ctx context.Context) {
	periodic := p.cfg.Clock.NewTicker(p.cfg.SyncPeriod)
	defer periodic.Stop()
	whole, retry := true, firstRetry
	for ctx.Err() == nil {
		wait := p.cfg.MinSyncPeriod
		if err := p.sync(ctx, whole); err != nil {
			if ctx.Err() != nil {
				return
			}
			p.log.Error("rules not synchronized", "error", err, "retryAfter", retry)
			p.metrics.failures.Inc()
			p.pause(ctx, retry)
			whole, retry = true, min(2*retry, longestRetry)
			continue
		}
		whole, retry = false, firstRetry
		p.pause(ctx, wait)
		select {
		case <-ctx.Done():
		case <-p.wake:
		case <-periodic.C():
			whole = true
		}
	}
}

// sync brings the rules up to date. The flows of UDP services are cleaned after
// the rules, or they would be made again by the old ones.
func (p *Proxy) sync(ctx context.Context, whole bool) error {
	start := p.cfg.Clock.Now()
	changes := p.tracker.Changes()
	var err error
	if whole {
		err = p.backend.Reset(ctx, p.tracker.Rules(), p.surroundings())
		p.metrics.fullSync.Observe(p.cfg.Clock.Since(start).Seconds())
	} else {
		err = p.backend.Apply(ctx, changes, p.surroundings())
		p.metrics.partialSync.Observe(p.cfg.Clock.Since(start).Seconds())
	}
	p.metrics.sync.Observe(p.cfg.Clock.Since(start).Seconds())
	p.cleanFlows(changes)
	if err != nil {
		return err
	}
	p.metrics.last.Set(float64(p.cfg.Clock.Now().Unix()))
	p.health.synced(start)
	if whole || slices.ContainsFunc(changes, hasHealthPort) {
		p.services.update(p.tracker.Rules())
	}
	if len(changes) > 0 {
		p.log.Debug("rules synchronized", "changes", len(changes), "whole", whole, "took", p.cfg.Clock.Since(start))
	}
	return nil
}

func hasHealthPort(c model.Change) bool {
	return c.Old != nil && c.Old.HealthCheckNodePort != 0 || c.New != nil && c.New.HealthCheckNodePort != 0
}

func (p *Proxy) pause(ctx context.Context, d time.Duration) {
	if d == 0 {
		return
	}
	timer := p.cfg.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C():
	}
}
