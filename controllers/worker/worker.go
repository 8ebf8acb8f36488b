// Package worker is the plumbing all controllers share: informer events become
// keys, keys pass a rate-limited queue, workers reconcile one key at a time.
// It knows nothing of any resource.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// Runner is a controller, or a part of one. Run blocks until ctx ends and every
// goroutine it started has ended. An error means that it could not work at all.
type Runner interface {
	Run(ctx context.Context) error
}

// RunnerFunc is a Runner made of a function.
type RunnerFunc func(ctx context.Context) error

// Run calls f.
func (f RunnerFunc) Run(ctx context.Context) error { return f(ctx) }

// Options describe a Loop.
type Options[K comparable] struct {
	// Queue is the queue's name in metrics and logs.
	Queue string
	// Workers is how many keys are reconciled at once; 0 means 1.
	Workers int
	// Reconcile brings one key's object to where it should be. A nil error
	// forgets the key's failures; any other error retries it with back-off.
	// It is never called for the same key twice at once.
	Reconcile func(ctx context.Context, key K) error
	// Limiter overrides the retry back-off (5 ms doubling to 1000 s per key, 10
	// retries a second in all).
	Limiter workqueue.TypedRateLimiter[K]
}

// ErrAgain is what Reconcile returns, or wraps, when all went well but there is
// more to do later: the key is retried with back-off, and only who debugs hears of it.
var ErrAgain = errors.New("not done yet")

// Loop is a queue of keys and the workers that drain it.
type Loop[K comparable] struct {
	options Options[K]
	log     *slog.Logger
	queue   workqueue.TypedRateLimitingInterface[K]
	synced  []cache.DoneChecker
	err     error
}

// NewLoop makes a Loop. Keys may be added at once; they wait until Run.
func NewLoop[K comparable](env *Env, options Options[K]) *Loop[K] {
	if options.Workers <= 0 {
		options.Workers = 1
	}
	if options.Limiter == nil {
		options.Limiter = workqueue.DefaultTypedControllerRateLimiter[K]()
	}
	return &Loop[K]{
		options: options,
		log:     env.Log.With("queue", options.Queue),
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(options.Limiter, workqueue.TypedRateLimitingQueueConfig[K]{
			Name:            options.Queue,
			MetricsProvider: env.Metrics,
			Clock:           env.Clock,
		}),
	}
}

// Add asks for key to be reconciled soon. Adding a waiting key changes nothing.
func (l *Loop[K]) Add(key K) { l.queue.Add(key) }

// AddAfter asks for key to be reconciled once d has passed on the clock.
func (l *Loop[K]) AddAfter(key K, d time.Duration) { l.queue.AddAfter(key, d) }

// AddRateLimited asks for key to be reconciled after its back-off.
func (l *Loop[K]) AddRateLimited(key K) { l.queue.AddRateLimited(key) }

// Needs makes Run wait until informer holds its first full list.
func (l *Loop[K]) Needs(informers ...cache.SharedIndexInformer) {
	for _, informer := range informers {
		l.synced = append(l.synced, informer.HasSyncedChecker())
	}
}

// Run reconciles until ctx ends.
func (l *Loop[K]) Run(ctx context.Context) error {
	defer l.queue.ShutDown()
	if l.err != nil {
		return l.err
	}
	if !cache.WaitFor(ctx, "", l.synced...) {
		return nil
	}
	var workers sync.WaitGroup
	for range l.options.Workers {
		workers.Go(func() {
			for l.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	l.queue.ShutDown()
	workers.Wait()
	return nil
}

func (l *Loop[K]) next(ctx context.Context) bool {
	key, shutdown := l.queue.Get()
	if shutdown {
		return false
	}
	defer l.queue.Done(key)
	if ctx.Err() != nil {
		return true
	}
	err := guarded(ctx, func(ctx context.Context) error { return l.options.Reconcile(ctx, key) })
	switch {
	case err == nil:
		l.queue.Forget(key)
	case ctx.Err() == nil:
		l.log.Log(ctx, levelOf(err), "reconcile failed, will retry", "key", fmt.Sprint(key), "err", err)
		l.queue.AddRateLimited(key)
	}
	return true
}

// levelOf keeps quiet about what is part of normal business: work that is not
// done yet, and writes on top of a state the cache did not have yet. Of several
// errors, one that is not is enough to speak up.
func levelOf(err error) slog.Level {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		level := slog.LevelDebug
		for _, one := range several.Unwrap() {
			level = max(level, levelOf(one))
		}
		return level
	}
	if errors.Is(err, ErrAgain) || apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// guarded turns a panic into an error: one bad object must not take the other
// parts of the process down with it.
func guarded(ctx context.Context, do func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return do(ctx)
}

// Together runs all runners at once and returns the first error once all have
// ended; an error of one ends the others.
func Together(runners ...Runner) Runner {
	return RunnerFunc(func(ctx context.Context) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		var group sync.WaitGroup
		var once sync.Once
		var first error
		for _, runner := range runners {
			group.Go(func() {
				if err := runner.Run(ctx); err != nil {
					once.Do(func() { first = err })
					cancel(err)
				}
			})
		}
		group.Wait()
		return first
	})
}
