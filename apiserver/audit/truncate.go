package audit

import (
	"context"
	"errors"

	auditinternal "k8s.io/apiserver/pkg/apis/audit"
)

// Truncate hands on only what is small enough: an event that is too large loses
// its bodies, and if that does not help it is left out. Several events are handed
// on in as many batches as their size takes. It is safe for concurrent use.
type Truncate struct {
	// MaxEvent and MaxBatch are in bytes, as encoded.
	MaxEvent, MaxBatch int
	To                 Backend
}

// truncated marks events without their bodies.
const truncated = "audit.k8s.io/truncated"

// Take implements Backend.
func (t *Truncate) Take(ctx context.Context, events ...*auditinternal.Event) error {
	var batch []*auditinternal.Event
	var errs []error
	size := 0
	for _, event := range events {
		fitting, n, err := t.fit(event)
		if err != nil || fitting == nil {
			errs = append(errs, err)
			continue
		}
		if len(batch) > 0 && size+n > t.MaxBatch {
			errs = append(errs, t.To.Take(ctx, batch...))
			batch, size = nil, 0
		}
		batch, size = append(batch, fitting), size+n
	}
	if len(batch) > 0 {
		errs = append(errs, t.To.Take(ctx, batch...))
	}
	return errors.Join(errs...)
}

// fit returns an event that is small enough, nil when it cannot be, and its
// size.
func (t *Truncate) fit(event *auditinternal.Event) (*auditinternal.Event, int, error) {
	raw, err := encode(event)
	if err != nil || len(raw) <= t.MaxEvent {
		return event, len(raw), err
	}
	small := event.DeepCopy()
	small.RequestObject, small.ResponseObject = nil, nil
	if small.Annotations == nil {
		small.Annotations = map[string]string{}
	}
	small.Annotations[truncated] = "true"
	if raw, err = encode(small); err != nil || len(raw) > t.MaxEvent {
		return nil, 0, err
	}
	return small, len(raw), nil
}

// Run implements Backend.
func (t *Truncate) Run(ctx context.Context) error { return t.To.Run(ctx) }
