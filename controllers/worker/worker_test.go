package worker_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/controllers/worker"
)

func env() *worker.Env {
	return &worker.Env{Log: slog.New(slog.DiscardHandler), Clock: clock.RealClock{}}
}

func quick() workqueue.TypedRateLimiter[string] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[string](time.Microsecond, time.Millisecond)
}

func TestFailuresAndPanicsAreRetriedAndHarmNoOtherKey(t *testing.T) {
	var mu sync.Mutex
	tries := map[string]int{}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	loop := worker.NewLoop(env(), worker.Options[string]{Queue: "test", Workers: 3, Limiter: quick(), Reconcile: func(_ context.Context, key string) error {
		mu.Lock()
		defer mu.Unlock()
		tries[key]++
		if tries["fails"] >= 3 && tries["panics"] >= 3 && tries["works"] == 1 {
			cancel()
		}
		switch {
		case key == "fails" && tries[key] < 3:
			return errors.New("not today")
		case key == "panics" && tries[key] < 3:
			panic("no")
		}
		return nil
	}})
	for _, key := range []string{"fails", "panics", "works"} {
		loop.Add(key)
	}
	if err := loop.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if tries["fails"] != 3 || tries["panics"] != 3 || tries["works"] != 1 {
		t.Errorf("tries: %v", tries)
	}
}

func TestOneKeyIsNeverReconciledTwiceAtOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	running, rounds := 0, 0
	var loop *worker.Loop[string]
	loop = worker.NewLoop(env(), worker.Options[string]{Queue: "test", Workers: 8, Reconcile: func(context.Context, string) error {
		mu.Lock()
		running++
		rounds++
		if running > 1 {
			t.Error("the key is reconciled twice at once")
		}
		if rounds == 100 {
			cancel()
		}
		mu.Unlock()
		loop.Add("key")
		mu.Lock()
		running--
		mu.Unlock()
		return nil
	}})
	loop.Add("key")
	if err := loop.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestTogetherEndsAllWhenOneFails(t *testing.T) {
	broken := errors.New("broken")
	ended := false
	err := worker.Together(
		worker.RunnerFunc(func(ctx context.Context) error { <-ctx.Done(); ended = true; return nil }),
		worker.RunnerFunc(func(context.Context) error { return broken }),
	).Run(t.Context())
	if !errors.Is(err, broken) || !ended {
		t.Errorf("error %v, the other one ended: %t", err, ended)
	}
}
