package scheduler

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/leaderelection"

	"github.com/yare-io/yare/scheduler/framework"
	"github.com/yare-io/yare/scheduler/plugins"
	"github.com/yare-io/yare/scheduler/queue"
	"github.com/yare-io/yare/scheduler/state"
)

// Scheduler assigns the pods of its profiles to nodes.
type Scheduler struct {
	cfg       Config
	log       *slog.Logger
	informers informers.SharedInformerFactory
	// ownInformers says that Run must shut the informers down.
	ownInformers bool
	pods         corelisters.PodLister

	profiles  map[string]*profile
	recorders map[string]events.EventRecorder
	queue     *queue.Queue
	cluster   *state.Cluster
	nominated *state.Nominated
	decider   *decider
	verdicts  *verdicts
	metrics   *metrics

	election *leaderelection.HealthzAdaptor
	// slots bounds the work in the background, background waits for it.
	slots      chan struct{}
	background sync.WaitGroup
}

// New checks the configuration and prepares a scheduler; Run starts it.
func New(cfg Config) (*Scheduler, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	s := &Scheduler{cfg: cfg, log: cfg.Logger, informers: cfg.Informers, cluster: state.NewCluster(), nominated: state.NewNominated(),
		recorders: map[string]events.EventRecorder{}, verdicts: newVerdicts(), metrics: newMetrics(), slots: make(chan struct{}, cfg.MaxBinds),
		election: leaderelection.NewLeaderHealthzAdaptor(silence)}
	if s.informers == nil {
		s.informers = informers.NewSharedInformerFactoryWithOptions(cfg.Client, 0, informers.WithTransform(dropManagedFields))
		s.ownInformers = true
	}
	s.pods = s.informers.Core().V1().Pods().Lister()
	s.decider = newDecider(s.nominated)
	// Built again by Run with listers that are filled; this finds what is
	// wrong with the configuration.
	if err := s.buildProfiles(emptySources(cfg.Client)); err != nil {
		return nil, err
	}
	initial, longest, err := cfg.backoff()
	if err != nil {
		return nil, err
	}
	s.queue = queue.New(queue.Config{Clock: cfg.Clock, InitialBackoff: initial, MaxBackoff: longest, Gate: s.gate, Wakes: s.wakes,
		Incoming: func(queue, event string) { s.metrics.incoming.WithLabelValues(queue, event).Inc() }})
	return s, nil
}

func (s *Scheduler) buildProfiles(sources plugins.Sources) error {
	registry := plugins.Builtin()
	for name, factory := range s.cfg.Plugins {
		if registry[name] != nil {
			return fmt.Errorf("plugin %q exists already", name)
		}
		registry[name] = factory
	}
	var err error
	s.profiles, err = newProfiles(s.cfg.Configuration, registry, sources)
	return err
}

// Run schedules until ctx ends, or leadership is lost, which is an error. All
// that it started has ended when it returns. It may be called once.
func (s *Scheduler) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.cfg.Metrics != nil {
		if err := s.metrics.register(s.cfg.Metrics, s.queue, s.cluster); err != nil {
			return fmt.Errorf("register scheduler metrics: %w", err)
		}
		defer s.metrics.unregister(s.cfg.Metrics)
	}
	stopEvents, err := s.startEvents(ctx)
	if err != nil {
		return err
	}
	defer stopEvents()
	stopWatching, err := s.watch(ctx)
	if err != nil {
		return err
	}
	defer stopWatching()
	s.log.Info("scheduler started", "profiles", slices.Sorted(maps.Keys(s.profiles)))
	return s.lead(ctx, s.schedule)
}

// startEvents gives every profile a recorder, and returns what flushes and stops them.
func (s *Scheduler) startEvents(ctx context.Context) (stop func(), err error) {
	broadcaster := events.NewEventBroadcasterAdapterWithContext(ctx, s.cfg.Client)
	broadcaster.StartRecordingToSink(ctx.Done())
	for name := range s.profiles {
		s.recorders[name] = broadcaster.NewRecorder(name)
	}
	return broadcaster.Shutdown, nil
}

// schedule takes pods from the queue until ctx ends.
func (s *Scheduler) schedule(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { s.queue.Run(ctx) })
	for {
		pod, err := s.queue.Pop(ctx)
		if err != nil {
			break
		}
		s.scheduleOne(ctx, pod)
	}
	s.background.Wait()
	wg.Wait()
}

// inBackground runs work beside the loop; it waits while too much is under way.
func (s *Scheduler) inBackground(work func()) {
	s.slots <- struct{}{}
	s.metrics.binds.Inc()
	s.background.Go(func() {
		defer func() { <-s.slots }()
		defer s.metrics.binds.Dec()
		work()
	})
}

func (s *Scheduler) gate(pod *v1.Pod) *framework.Status {
	if p := s.profiles[pod.Spec.SchedulerName]; p != nil {
		return p.gate(pod)
	}
	return nil
}

// wakes merges what the profiles' plugins of that name want to be woken by.
func (s *Scheduler) wakes(plugin string) ([]framework.Wake, bool) {
	if plugin == anyNode {
		return []framework.Wake{{On: framework.NodeAdd}}, true
	}
	for _, p := range s.profiles {
		if wakes, ok := p.wakes[plugin]; ok {
			return wakes, true
		}
	}
	return nil, false
}

func (s *Scheduler) since(start time.Time) time.Duration { return s.cfg.Clock.Since(start) }
