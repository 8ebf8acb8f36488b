package postgres

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestABatchWaitsForThoseWhoComeBackAtOnce has the callers of the last batch come
// back in time, late, and not at all.
func TestABatchWaitsForThoseWhoComeBackAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		company int
		after   time.Duration
		want    int
	}{
		"in time":        {company: 3, after: maxPatience / 2, want: 3},
		"late":           {company: 3, after: 2 * maxPatience, want: 1},
		"less than were": {company: 5, after: maxPatience / 2, want: 3},
		"alone before":   {company: 1, after: maxPatience / 2, want: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &store{writes: make(chan *write, maxBatch), ctx: t.Context()}
				w := &writer{store: s, company: c.company, took: time.Hour}
				var callers sync.WaitGroup
				defer callers.Wait()
				for i := range 3 {
					callers.Go(func() {
						if i > 0 {
							time.Sleep(c.after)
						}
						s.writes <- &write{ctx: context.Background(), key: string(rune('a' + i))}
					})
				}
				if batch := w.gather(); len(batch) != c.want {
					t.Errorf("%d writes in a batch, want %d", len(batch), c.want)
				}
			})
		})
	}
}
