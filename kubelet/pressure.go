package kubelet

import (
	"context"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/yare-io/yare/kubelet/eviction"
	"github.com/yare-io/yare/kubelet/node"
	"github.com/yare-io/yare/kubelet/status"
)

const (
	pressurePeriod = 10 * time.Second
	// cleanupLimit is how long the next eviction waits for the last one to have freed what it held.
	cleanupLimit = 30 * time.Second
)

// evictor watches what is left of the node, and makes room. Its fields but those below mu belong to run.
type evictor struct {
	k     *Kubelet
	state *eviction.State

	last   types.UID // evicted last
	lastAt time.Time

	mu        sync.Mutex
	pressures []v1.NodeConditionType
}

func newEvictor(k *Kubelet) (*evictor, error) {
	thresholds, err := evictionThresholds(&k.config.Settings)
	return &evictor{k: k, state: eviction.NewState(thresholds, k.config.Settings.EvictionPressureTransitionPeriod.Duration)}, err
}

func (e *evictor) run(ctx context.Context) {
	for {
		e.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-e.k.config.Clock.After(pressurePeriod):
		}
	}
}

// look measures once, and evicts at most one pod.
func (e *evictor) look(ctx context.Context) {
	left := e.k.observe(ctx)
	due := e.state.Observe(e.k.config.Clock.Now(), left)
	e.publish(e.state.Conditions())
	if len(due) == 0 || e.stillCleaning() {
		return
	}
	short := due[0]
	e.k.event(v1.EventTypeWarning, "EvictionThresholdMet", "Attempting to reclaim "+string(short.Signal.Resource()))
	if short.Signal.Condition() == v1.NodeDiskPressure && e.reclaimImages(ctx, short) {
		return
	}
	e.evictFor(ctx, short, left[short.Signal])
}

func (e *evictor) publish(pressures []v1.NodeConditionType) {
	e.mu.Lock()
	changed := !slices.Equal(e.pressures, pressures)
	e.pressures = pressures
	e.mu.Unlock()
	if changed {
		e.k.logger.Info("the node's pressures have changed", "pressures", pressures)
		e.k.node.Changed()
	}
}

func (e *evictor) current() []v1.NodeConditionType {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pressures
}

func (e *evictor) has(kind v1.NodeConditionType) bool { return slices.Contains(e.current(), kind) }

func (e *evictor) stillCleaning() bool {
	return e.last != "" && e.k.config.Clock.Since(e.lastAt) < cleanupLimit && e.k.workers.Holds(e.last)
}

// reclaimImages removes the images that nobody uses, and says whether that was enough.
func (e *evictor) reclaimImages(ctx context.Context, short eviction.Threshold) bool {
	if err := e.k.images.RemoveUnused(ctx); err != nil {
		e.k.logger.Warn("unused images could not be removed", "error", err)
	}
	due := e.state.Observe(e.k.config.Clock.Now(), e.k.observe(ctx))
	return !slices.Contains(due, short)
}

// evictFor ends the first pod in the order of the resource that may be ended.
func (e *evictor) evictFor(ctx context.Context, short eviction.Threshold, left eviction.Observation) {
	candidates, err := e.k.candidates(ctx, short.Signal.Condition() == v1.NodeDiskPressure)
	if err != nil {
		e.k.logger.Warn("no pod is evicted: what pods use is not known", "error", err)
		return
	}
	for _, c := range eviction.Rank(candidates, short.Signal.Resource()) {
		message := eviction.Message(short, left, c)
		if e.k.workers.Evict(c.Pod.UID, &status.Verdict{Reason: "Evicted", Message: message, Grace: e.grace(short, c.Pod), Disruption: true}) {
			e.k.logger.Warn("a pod is evicted", "pod", c.Pod.Namespace+"/"+c.Pod.Name, "why", message)
			e.last, e.lastAt = c.Pod.UID, e.k.config.Clock.Now()
			return
		}
	}
	e.k.logger.Warn("the node is short and no pod can be evicted", "signal", short.Signal)
}

// grace is nothing when it is urgent, else the pod's own as far as the configuration allows.
func (e *evictor) grace(short eviction.Threshold, pod *v1.Pod) *time.Duration {
	if !short.Soft {
		return new(time.Duration(0))
	}
	grace := time.Duration(e.k.config.Settings.EvictionMaxPodGracePeriod) * time.Second
	if own := pod.Spec.TerminationGracePeriodSeconds; own != nil {
		grace = min(grace, time.Duration(*own)*time.Second)
	}
	return &grace
}

// observe measures what is left. What cannot be measured is left out.
func (k *Kubelet) observe(ctx context.Context) map[eviction.Signal]eviction.Observation {
	if k.config.Observe != nil {
		return k.config.Observe()
	}
	left := map[eviction.Signal]eviction.Observation{}
	if k.config.WithoutHost {
		return left
	}
	note := func(signal eviction.Signal, available, all int64, err error) {
		if err == nil && all > 0 {
			left[signal] = eviction.Observation{Available: available, Capacity: all}
		}
	}
	measure := func(signal eviction.Signal, measure func(string) (int64, int64, error), path string) {
		available, all, err := measure(path)
		note(signal, available, all, err)
	}
	available, all, err := node.MemoryLeft()
	note(eviction.MemoryAvailable, available, all, err)
	available, all, err = node.PIDsLeft()
	note(eviction.PIDAvailable, available, all, err)
	measure(eviction.NodeFsAvailable, node.DiskLeft, k.config.RootDir)
	measure(eviction.NodeFsInodesFree, node.InodesLeft, k.config.RootDir)
	if disk, err := k.cri.ImageFilesystem(ctx); err == nil && disk != nil {
		measure(eviction.ImageFsAvailable, node.DiskLeft, disk.GetFsId().GetMountpoint())
		measure(eviction.ImageFsInodesFree, node.InodesLeft, disk.GetFsId().GetMountpoint())
	}
	return left
}
