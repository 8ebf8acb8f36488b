// Package faulttest runs clients and watches against stores while faults strike,
// and finds out whether any of them was told something that cannot be: an
// acknowledged write that is gone, a read of the past, an event that is lost,
// repeated, out of order or has another value or previous value than was
// written. It knows no backend; faults are given to it.
package faulttest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/history"
)

// Fault is something bad that happens and passes.
type Fault struct {
	Name   string
	Strike func(ctx context.Context) error
}

// Config says what is tried.
type Config struct {
	// Stores are of one database; clients are spread over them, and each is
	// watched. Their request timeouts bound how long a fault holds up clients.
	Stores []storage.Store
	// Faults strike one in each round, all of them in an order of chance before
	// any strikes again.
	Faults []Fault
	// Plan says how many rounds there are.
	Plan Plan
	// Clients at work at once. Default: 6.
	Clients int
	// Calls are how many succeed between two faults. Default: 50.
	Calls int64
	// Seed of all chance.
	Seed uint64
	// Logger is told of each fault. Default: discard.
	Logger *slog.Logger
}

// run is a test under way.
type run struct {
	Config
	recorder *history.Recorder
	// round chooses the keys: those of each round are its own, so that the
	// history of a key stays short.
	round atomic.Int64
	// succeeded counts calls that were answered.
	succeeded atomic.Int64
	stop      atomic.Bool
}

// Run lets the faults strike and returns the first violation of the contract
// that it finds, or why it could not be looked for.
func Run(ctx context.Context, config Config) error {
	if config.Clients == 0 {
		config.Clients = 6
	}
	if config.Calls == 0 {
		config.Calls = 50
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	r := &run{Config: config, recorder: history.New()}
	start, err := config.Stores[0].Revision(ctx)
	if err != nil {
		return err
	}
	var observers []*observer
	watching, watchCtx := errgroup.WithContext(ctx)
	for _, store := range config.Stores {
		for _, previous := range []bool{false, true} {
			o := newObserver(store, previous, start)
			observers = append(observers, o)
			watching.Go(func() error { return o.run(watchCtx) })
		}
	}
	if err := r.work(watchCtx); err != nil {
		for _, o := range observers {
			o.finish(0)
		}
		return errors.Join(err, watching.Wait())
	}
	end, err := r.last(ctx)
	if err != nil {
		return err
	}
	for _, o := range observers {
		o.finish(end)
	}
	if err := watching.Wait(); err != nil {
		return err
	}
	return r.judge(ctx, observers)
}

// work keeps clients busy until all faults have struck.
func (r *run) work(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for client := range r.Clients {
		group.Go(func() error { return r.client(ctx, client) })
	}
	group.Go(func() error {
		defer r.stop.Store(true)
		began, round, random := time.Now(), 0, rand.New(rand.NewPCG(r.Seed, 0))
		var order []int
		defer func() { r.Logger.Info("over", "rounds", round, "calls", r.succeeded.Load()) }()
		for ; r.Plan.goesOn(round, len(r.Faults), time.Since(began)); round++ {
			r.round.Store(int64(round))
			if err := r.await(ctx, r.Calls); err != nil {
				return err
			}
			if len(order) == 0 {
				order = random.Perm(len(r.Faults))
			}
			fault := r.Faults[order[0]]
			order = order[1:]
			r.Logger.Info("fault", "round", round, "name", fault.Name)
			if err := fault.Strike(ctx); err != nil {
				return fmt.Errorf("%s in round %d: %w", fault.Name, round, err)
			}
		}
		return r.await(ctx, r.Calls)
	})
	return group.Wait()
}

// await waits until so many more calls have succeeded.
func (r *run) await(ctx context.Context, more int64) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for target := r.succeeded.Load() + more; r.succeeded.Load() < target; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d calls succeeded: %w", r.succeeded.Load(), target, context.Cause(ctx))
		}
	}
	return nil
}

// client makes calls until it is to stop.
func (r *run) client(ctx context.Context, client int) error {
	random := rand.New(rand.NewPCG(r.Seed, uint64(client)))
	store := r.Stores[client%len(r.Stores)]
	known := map[string]int64{}
	for n := 0; !r.stop.Load() && ctx.Err() == nil; n++ {
		c := r.call(random, known, fmt.Sprintf("%d.%d", client, n))
		a, err := r.recorder.Do(ctx, store, client, c)
		switch {
		case err == nil:
			known[c.Key] = a.Revision
			r.succeeded.Add(1)
		case !history.Uncertain(err):
			return fmt.Errorf("client %d: %+v: %w", client, c, err)
		default:
			// Writes that may have happened make histories hard to check: make
			// no more of them until the store answers again.
			r.recover(ctx, store)
		}
	}
	return nil
}

func (r *run) recover(ctx context.Context, store storage.Store) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		if _, err := store.Revision(ctx); err == nil {
			return
		}
		<-tick.C
	}
}

// keysPerRound are few, so that clients meet, and yet enough for a history that
// can be checked.
const keysPerRound = 4

func (r *run) call(random *rand.Rand, known map[string]int64, value string) history.Call {
	verbs := []history.Verb{history.Get, history.Create, history.Create, history.Update, history.Update, history.Update, history.Delete}
	c := history.Call{
		Verb: verbs[random.IntN(len(verbs))], Value: value,
		Key: fmt.Sprintf("/fault/%d/%d", r.round.Load(), random.IntN(keysPerRound)),
	}
	if c.Verb == history.Update || c.Verb == history.Delete {
		c.Expected = max(known[c.Key], 1)
	}
	return c
}

// last makes one more write, after which nothing happens, and returns its
// revision.
func (r *run) last(ctx context.Context) (int64, error) {
	for attempt := 0; ; attempt++ {
		c := history.Call{Verb: history.Create, Key: fmt.Sprintf("/fault/end/%d", attempt), Value: "end"}
		a, err := r.recorder.Do(ctx, r.Stores[0], r.Clients, c)
		if err == nil {
			return a.Revision, nil
		}
		if !history.Uncertain(err) || ctx.Err() != nil {
			return 0, err
		}
	}
}

// checkTime is for the whole history on a busy machine.
const checkTime = 2 * time.Minute

// judge compares what clients were told, what watches saw and what is there.
func (r *run) judge(ctx context.Context, observers []*observer) error {
	if err := r.recorder.Check(checkTime); err != nil {
		return err
	}
	writes := r.recorder.Acknowledged()
	for i, o := range observers {
		if err := o.saw(writes); err != nil {
			return fmt.Errorf("watch %d: %w", i, err)
		}
		list, err := o.store.List(ctx, storage.ListRequest{Prefix: "/fault/"})
		if err != nil {
			return err
		}
		if err := o.agrees(list); err != nil {
			return fmt.Errorf("watch %d: %w", i, err)
		}
	}
	return nil
}
