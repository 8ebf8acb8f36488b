// Package heap says how far the heap may grow before it is collected.
//
// The runtime lets it grow to twice what lives, as if all of that had to be
// searched for pointers. Much of a server's heap are bytes: values from the
// store, encoded objects. They cost a collection next to nothing, so that
// room for garbage in proportion to them buys nothing.
package heap

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// usual is the runtime's own percentage, and least one below which
	// collections would follow upon each other.
	usual, least = 100, 20
	// step is how many percent are worth the moment in which all stands still.
	step = 5
)

// Follow keeps the room for garbage as large as the part of the heap that
// has to be searched, until ctx ends. It leaves alone what GOGC sets.
func Follow(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	defer debug.SetGCPercent(usual)
	collected := make(chan struct{}, 1)
	watch(ctx, collected)
	percent := usual
	for {
		select {
		case <-ctx.Done():
			return
		case <-collected:
		}
		if now := wanted(); now <= percent-step || now >= percent+step {
			percent = now
			debug.SetGCPercent(percent)
		}
	}
}

// sentinel is larger than what the runtime puts together in one place.
type sentinel [32]byte

// watch tells of each collection until ctx ends.
func watch(ctx context.Context, collected chan<- struct{}) {
	runtime.AddCleanup(&sentinel{}, func(struct{}) {
		if ctx.Err() != nil {
			return
		}
		select {
		case collected <- struct{}{}:
		default:
		}
		watch(ctx, collected)
	}, struct{}{})
}

// wanted is the percentage for the heap as the last collection left it.
func wanted() int {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/heap:bytes"}}
	metrics.Read(sample)
	return share(sample[0].Value.Uint64(), sample[1].Value.Uint64())
}

// share is how many percent of what lives have to be searched.
func share(live, searched uint64) int {
	if live == 0 {
		return usual
	}
	return int(min(max(100*searched/live, least), usual))
}
