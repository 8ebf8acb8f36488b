// Package garbagecollector deletes objects whose owners are gone, and makes
// owners wait for, or let go of, their dependents when their deletion asks for
// it. It watches the metadata of all kinds there are, finds new ones through
// discovery, and believes in an owner's absence only when the API confirms it.
package garbagecollector

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/lru"

	"github.com/yare-io/yare/controllers/worker"
)

// absentOwners is how many owners are remembered to be gone.
const absentOwners = 500

type collector struct {
	env      *worker.Env
	period   time.Duration
	graph    *graph
	kinds    *kinds
	monitors *monitors
	check    *worker.Loop[types.UID]
	orphan   *worker.Loop[types.UID]
	absent   *lru.Cache

	// following is held while new kinds are being listed: until then the graph
	// may miss dependents.
	following sync.RWMutex
}

// New makes the garbage collector. period is how often it looks for new kinds;
// 0 means 30 s.
func New(env *worker.Env, period time.Duration) (worker.Runner, error) {
	c := &collector{
		env:    env,
		period: cmp.Or(period, 30*time.Second),
		graph:  newGraph(),
		kinds:  newKinds(env.Client.Discovery()),
		absent: lru.New(absentOwners),
	}
	for resource := range shared {
		generic, err := env.Informers.ForResource(resource)
		if err != nil {
			return nil, err
		}
		generic.Informer()
	}
	c.monitors = &monitors{
		metadata: env.Metadata, informers: env.Informers, changed: c.changed,
		running: map[schema.GroupVersionResource]*monitor{},
	}
	c.check = worker.NewLoop(env, worker.Options[types.UID]{
		Queue: "garbage_collector_attempt_to_delete", Workers: env.Workers, Reconcile: c.gated(c.attemptToDelete),
	})
	c.orphan = worker.NewLoop(env, worker.Options[types.UID]{
		Queue: "garbage_collector_attempt_to_orphan", Workers: env.Workers, Reconcile: c.gated(c.attemptToOrphan),
	})
	return worker.RunnerFunc(c.run), nil
}

// run follows the kinds there are; the workers start once it has done so for
// the first time.
func (c *collector) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer c.monitors.wait()
	defer cancel()
	if err := c.follow(ctx); err != nil {
		return err
	}
	return worker.Together(c.check, c.orphan, worker.RunnerFunc(c.keepFollowing)).Run(ctx)
}

func (c *collector) keepFollowing(ctx context.Context) error {
	ticker := c.env.Clock.NewTicker(c.period)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
			if err := c.follow(ctx); err != nil {
				return err
			}
		}
	}
}

func (c *collector) follow(ctx context.Context) error {
	found, err := c.kinds.collectable()
	if err != nil {
		c.env.Log.Warn("not all kinds could be discovered", "err", err)
	}
	c.following.Lock()
	defer c.following.Unlock()
	return c.monitors.follow(ctx, found, err == nil)
}

func (c *collector) gated(do func(context.Context, types.UID) error) func(context.Context, types.UID) error {
	return func(ctx context.Context, uid types.UID) error {
		c.following.RLock()
		defer c.following.RUnlock()
		return do(ctx, uid)
	}
}

// changed takes in what a monitor saw.
func (c *collector) changed(old, now *object) {
	var w work
	switch {
	case now == nil && old == nil:
		return
	case now == nil:
		w = c.graph.drop(old.uid)
	default:
		if old != nil && old.uid != now.uid {
			c.enqueue(c.graph.drop(old.uid))
		}
		w = c.graph.put(now)
	}
	c.enqueue(w)
}

func (c *collector) enqueue(w work) {
	for _, uid := range w.check {
		c.check.Add(uid)
	}
	for _, uid := range w.orphan {
		c.orphan.Add(uid)
	}
}

// errNotAnOwner marks a reference that can never be looked up: from an object
// without namespace to one that has one.
var errNotAnOwner = errors.New("cluster-scoped object names a namespaced owner")

// attemptToDelete looks at one object: does it have to go, or wait no longer?
func (c *collector) attemptToDelete(ctx context.Context, uid types.UID) error {
	o := c.graph.get(uid)
	if o == nil || o.deleting && !o.foreground {
		return nil
	}
	if o.waitsForDependents() {
		return c.release(ctx, o)
	}
	if c.graph.settled(o) {
		return nil
	}
	live, err := c.live(ctx, o)
	if err != nil || live == nil {
		return err
	}
	states := map[types.UID]ownerState{}
	for _, ref := range live.OwnerReferences {
		state, err := c.stateOf(ctx, o, ref)
		if errors.Is(err, errNotAnOwner) {
			c.env.Log.Warn("object left alone", "object", o.name, "kind", o.gvk.Kind, "owner", ref.Name, "err", err)
			return nil
		}
		if err != nil {
			return err
		}
		states[ref.UID] = state
	}
	dependents := c.graph.allDependents(uid)
	state := func(ref metav1.OwnerReference) ownerState { return states[ref.UID] }
	return c.carryOut(ctx, o, live, dependents, judge(live.OwnerReferences, state, live.Finalizers, len(dependents) > 0))
}
