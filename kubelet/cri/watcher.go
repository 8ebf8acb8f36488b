package cri

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/clock"
)

const (
	// DefaultRelistPeriod is how often the runtime is listed when it sends no events.
	DefaultRelistPeriod = time.Second

	eventRelistPeriod = 5 * time.Minute // a net under the events, not the source of them
	eventRetryPeriod  = 10 * time.Second
)

// Watcher finds out which pods changed in the runtime: from its events if it sends any, else by listing it.
type Watcher struct {
	Client   *Client
	Clock    clock.Clock
	Logger   *slog.Logger
	Period   time.Duration                  // DefaultRelistPeriod if 0
	OnChange func(uid types.UID)            // called from one goroutine at a time; must not block
	OnList   func(all map[types.UID]PodRef) // called after each complete list; may be nil

	mu      sync.Mutex
	seen    map[types.UID]string // state of each pod when last listed
	healthy time.Time            // when the last list succeeded
	events  bool                 // an event stream is open
}

// PodRef names a pod that was found in the runtime.
type PodRef struct {
	UID             types.UID
	Namespace, Name string
	GraceSeconds    int64 // the grace period it was started with
}

// Healthy returns an error if no list has succeeded for longer than limit.
func (w *Watcher) Healthy(limit time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if since := w.Clock.Since(w.healthy); w.healthy.IsZero() || since > limit {
		return fmt.Errorf("the container runtime has not been listed for %s", since.Round(time.Second))
	}
	return nil
}

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { w.followEvents(ctx) })
	defer wg.Wait()
	for {
		w.Relist(ctx)
		select {
		case <-ctx.Done():
			return
		case <-w.Clock.After(w.period()):
		}
	}
}

func (w *Watcher) period() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.events {
		return eventRelistPeriod
	}
	if w.Period > 0 {
		return w.Period
	}
	return DefaultRelistPeriod
}

// Relist lists the runtime now and reports each pod whose sandboxes or containers differ from the last list.
func (w *Watcher) Relist(ctx context.Context) {
	all, states, err := w.list(ctx)
	if err != nil {
		if ctx.Err() == nil {
			w.Logger.Warn("the container runtime could not be listed", "error", err)
		}
		return
	}
	w.mu.Lock()
	var changed []types.UID
	for uid, state := range states {
		if w.seen[uid] != state {
			changed = append(changed, uid)
		}
	}
	for uid := range w.seen {
		if _, ok := states[uid]; !ok {
			changed = append(changed, uid)
		}
	}
	w.seen, w.healthy = states, w.Clock.Now()
	w.mu.Unlock()
	for _, uid := range changed {
		w.OnChange(uid)
	}
	if w.OnList != nil {
		w.OnList(all)
	}
}

func (w *Watcher) list(ctx context.Context) (map[types.UID]PodRef, map[types.UID]string, error) {
	sandboxes, err := w.Client.ListSandboxes(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	containers, err := w.Client.ListContainers(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	all, parts := map[types.UID]PodRef{}, map[types.UID][]string{}
	for _, s := range sandboxes {
		if uid := types.UID(s.Labels[LabelPodUID]); uid != "" {
			all[uid] = podRef(uid, s.Labels, s.Annotations)
			parts[uid] = append(parts[uid], s.Id+s.State.String())
		}
	}
	for _, c := range containers {
		uid := types.UID(c.Labels[LabelPodUID])
		if uid == "" {
			continue
		}
		if _, ok := all[uid]; !ok {
			all[uid] = podRef(uid, c.Labels, c.Annotations)
		}
		parts[uid] = append(parts[uid], c.Id+c.State.String())
	}
	states := make(map[types.UID]string, len(parts))
	for uid, list := range parts {
		slices.Sort(list)
		states[uid] = strings.Join(list, " ")
	}
	return all, states, nil
}

func podRef(uid types.UID, labels, annotations map[string]string) PodRef {
	return PodRef{
		UID: uid, Namespace: labels[LabelPodNamespace], Name: labels[LabelPodName],
		GraceSeconds: int64(intAnnotation(annotations, AnnotationPodGracePeriod)),
	}
}

// followEvents keeps an event stream open for as long as the runtime offers one.
func (w *Watcher) followEvents(ctx context.Context) {
	for ctx.Err() == nil {
		err := w.stream(ctx)
		w.setEvents(false)
		if grpcstatus.Code(err) == codes.Unimplemented {
			w.Logger.Info("the container runtime sends no events; it is listed instead", "period", w.period())
			return
		}
		select {
		case <-ctx.Done():
		case <-w.Clock.After(eventRetryPeriod):
		}
	}
}

func (w *Watcher) stream(ctx context.Context) error {
	stream, err := w.Client.runtime.GetContainerEvents(ctx, &runtimeapi.GetEventsRequest{})
	if err != nil {
		return err
	}
	for {
		event, err := stream.Recv()
		if err != nil {
			return err
		}
		w.setEvents(true)
		if uid := event.PodSandboxStatus.GetMetadata().GetUid(); uid != "" {
			w.OnChange(types.UID(uid))
		}
	}
}

func (w *Watcher) setEvents(open bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = open
}
