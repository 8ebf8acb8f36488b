package audit

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/time/rate"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
)

// BatchConfig bounds a batching backend.
type BatchConfig struct {
	// Buffer is how many events may wait; those that find no place are lost,
	// and counted in the log.
	Buffer int
	// MaxSize and MaxWait say when a batch is sent.
	MaxSize int
	MaxWait time.Duration
	// QPS and Burst bound how many batches are sent; QPS zero: no bound.
	QPS   float32
	Burst int
	// Logger hears of lost events; nil: nobody does.
	Logger *slog.Logger
}

// Batch collects events and hands them on later, so that no request waits.
type Batch struct {
	config BatchConfig
	to     Backend
	buffer chan *auditinternal.Event
}

// NewBatch puts a batch before a backend.
func NewBatch(config BatchConfig, to Backend) *Batch {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	return &Batch{config: config, to: to, buffer: make(chan *auditinternal.Event, config.Buffer)}
}

// Take implements Backend. It never waits.
func (b *Batch) Take(_ context.Context, events ...*auditinternal.Event) error {
	for _, event := range events {
		select {
		case b.buffer <- event:
		default:
			b.config.Logger.Error("audit event lost: the buffer is full", "audit", event.AuditID)
		}
	}
	return nil
}

// Run implements Backend. What has been taken when ctx ends is still sent.
func (b *Batch) Run(ctx context.Context) error {
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- b.to.Run(inner) }()
	limit := rate.Inf
	if b.config.QPS > 0 {
		limit = rate.Limit(b.config.QPS)
	}
	limiter := rate.NewLimiter(limit, max(b.config.Burst, 1))
	for ctx.Err() == nil {
		batch := b.collect(ctx)
		_ = limiter.Wait(ctx) // the last batch does not wait
		b.send(ctx, batch)
	}
	for len(b.buffer) > 0 {
		b.send(ctx, b.collect(ctx))
	}
	stop()
	return <-ended
}

func (b *Batch) send(ctx context.Context, batch []*auditinternal.Event) {
	if len(batch) == 0 {
		return
	}
	if err := b.to.Take(ctx, batch...); err != nil {
		b.config.Logger.Error("audit events lost", "count", len(batch), "error", err)
	}
}

// collect waits until a batch is full or old enough.
func (b *Batch) collect(ctx context.Context) []*auditinternal.Event {
	var batch []*auditinternal.Event
	timer := time.NewTimer(b.config.MaxWait)
	defer timer.Stop()
	for len(batch) < b.config.MaxSize {
		select {
		case event := <-b.buffer:
			batch = append(batch, event)
			continue
		default:
		}
		select {
		case event := <-b.buffer:
			batch = append(batch, event)
		case <-timer.C:
			return batch
		case <-ctx.Done():
			return batch
		}
	}
	return batch
}
