package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/faulttest"
	"github.com/yare-io/yare/storage/postgres"
	"github.com/yare-io/yare/storage/postgres/postgrestest"
)

// pair is a server with a synchronous standby.
type pair struct{ primary, standby *postgrestest.Server }

func newPair(t *testing.T) *pair {
	t.Helper()
	primary := postgrestest.New(t)
	p := &pair{primary, postgrestest.NewStandby(t, primary)}
	if err := primary.Synchronize(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *pair) url(schema string) string {
	return postgrestest.URLAt(schema, p.primary.Dir(), p.standby.Dir())
}

// failOver promotes the standby of a server that is lost; that one becomes the
// standby of the other.
func (p *pair) failOver(ctx context.Context) error {
	if err := p.standby.Promote(ctx); err != nil {
		return err
	}
	p.primary, p.standby = p.standby, p.primary
	return errors.Join(p.standby.Follow(p.primary), p.primary.Synchronize(ctx))
}

// split lets a paused server go on for a while when its standby has taken over:
// there are two that take writes, and clients with connections to either.
func (p *pair) split(ctx context.Context) error {
	old := p.primary
	if err := errors.Join(old.Pause(), p.standby.Promote(ctx)); err != nil {
		return err
	}
	p.primary, p.standby = p.standby, p.primary
	if err := faulttest.Hold(ctx, failOverTimeout/2, old.Resume, old.Crash); err != nil {
		return err
	}
	return errors.Join(old.Follow(p.primary), p.primary.Synchronize(ctx))
}

// failOverTimeout is how long the clients of these tests wait.
const failOverTimeout = time.Second

// TestFailOver lets the synchronous standby take over, again and again: from a
// machine that is lost, from a server whose sessions outlive it for a moment, and
// from one that was away and comes back knowing nothing of it.
func TestFailOver(t *testing.T) {
	t.Parallel()
	plan := faulttest.CI(t)
	p := newPair(t)
	config := postgres.Config{URL: p.url("failover"), RequestTimeout: failOverTimeout, PartitionSpan: 400}
	underFaults(t, plan, config, func([]storage.Store) []faulttest.Fault {
		return []faulttest.Fault{
			{Name: "fail over from a lost machine", Strike: func(ctx context.Context) error {
				return errors.Join(p.primary.Crash(), p.failOver(ctx))
			}},
			{Name: "fail over from a killed server", Strike: func(ctx context.Context) error {
				return errors.Join(p.primary.Kill(), p.failOver(ctx))
			}},
			{Name: "fail over from a paused server that comes back", Strike: p.split},
		}
	})
}

// TestWhatTheStandbyLacksIsNotTold cancels a commit's wait for the synchronous
// standby. PostgreSQL then reports success, and shows the commit to all sessions,
// but a standby that took over would not have it.
func TestWhatTheStandbyLacksIsNotTold(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	p := newPair(t)
	store := open(t, postgres.Config{URL: p.url("unconfirmed"), RequestTimeout: 30 * time.Second})
	impatient := open(t, postgres.Config{URL: p.url("unconfirmed"), RequestTimeout: failOverTimeout})
	observer := direct(t, p.primary.URL("unconfirmed"))
	// Every new connection waits too: let there be one that writes.
	if _, err := store.Create(ctx, "/before", nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := p.standby.Pause(); err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() {
		_, err := store.Create(ctx, "/a", []byte("x"), 0)
		wrote <- err
	}()
	poll(t, ctx, "the commit, whose wait is cancelled, is visible", func() bool {
		var visible bool
		var cancelled int
		err := errors.Join(
			observer.QueryRow(ctx, `SELECT count(*) > 1 FROM yare_current`).Scan(&visible),
			observer.QueryRow(ctx, `SELECT count(*) FILTER (WHERE pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND NOT $1`, visible).Scan(&cancelled))
		if err != nil {
			t.Fatal(err)
		}
		return visible
	})
	if err := <-wrote; !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("a write that the standby lacks ended with: %v", err)
	}
	if kv, err := impatient.Get(ctx, "/a"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("get read what the standby lacks: %+v, %v", kv, err)
	}
	if result, err := impatient.List(ctx, storage.ListRequest{}); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("list read what the standby lacks: %+v, %v", result, err)
	}
	if err := impatient.Health(ctx); err == nil {
		t.Error("a store that nothing can be written to is healthy")
	}
	if err := p.standby.Resume(); err != nil {
		t.Fatal(err)
	}
	if kv, err := store.Get(ctx, "/a"); err != nil || string(kv.Value) != "x" {
		t.Errorf("get once the standby has it: %+v, %v", kv, err)
	}
}

// TestAServerThatWasReplacedIsNotRead has connections to a server that goes on
// without knowing that its standby has taken over.
func TestAServerThatWasReplacedIsNotRead(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	p := newPair(t)
	store := open(t, postgres.Config{URL: p.url("replaced") + "&pool_min_conns=4", RequestTimeout: failOverTimeout})
	first, err := store.Create(ctx, "/a", []byte("old"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.primary.Pause(), p.standby.Promote(ctx)); err != nil {
		t.Fatal(err)
	}
	other := open(t, postgres.Config{URL: p.standby.URL("replaced")})
	if _, err := other.Update(ctx, "/a", []byte("new"), first, 0); err != nil {
		t.Fatal(err)
	}
	if err := p.primary.Resume(); err != nil {
		t.Fatal(err)
	}
	poll(t, ctx, "the store has found the server that took over", func() bool {
		kv, err := store.Get(ctx, "/a")
		if err == nil && string(kv.Value) != "new" {
			t.Fatalf("read %q from a server that was replaced", kv.Value)
		}
		result, listErr := store.List(ctx, storage.ListRequest{Prefix: "/a"})
		if listErr == nil && string(result.KVs[0].Value) != "new" {
			t.Fatalf("listed %q from a server that was replaced", result.KVs[0].Value)
		}
		for _, err := range []error{err, listErr} {
			if err != nil && !errors.Is(err, storage.ErrUnavailable) {
				t.Fatal(fmt.Errorf("read: %w", err))
			}
		}
		return err == nil && listErr == nil
	})
}
