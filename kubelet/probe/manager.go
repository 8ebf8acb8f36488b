// Package probe asks containers how they are: liveness, readiness and startup, each by its own clock. It owns thresholds and
// periods and what the answers add up to, and refuses to act on them: restarting and readiness are decided elsewhere.
package probe

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/events"
	"github.com/yare-io/yare/kubelet/plan"
)

// Failure is a liveness or startup probe that gave up.
type Failure struct {
	Message string
	// Grace overrides the pod's grace period for the kill; nil means no override.
	Grace *int64
}

// Results is what the probes of a pod have found, by container id.
type Results struct {
	Ready, Started map[string]bool
	Failed         map[string]Failure
}

// Manager runs the probes of all pods. It is safe for concurrent use.
type Manager struct {
	CRI      *cri.Client
	Events   events.Recorder
	Clock    clock.Clock
	Logger   *slog.Logger
	OnChange func(uid types.UID) // called when a result changes; must not block

	mu      sync.Mutex
	ctx     context.Context // nil until Run
	pods    map[types.UID]map[key]*worker
	running sync.WaitGroup
}

type kind string

const (
	liveness  kind = "Liveness"
	readiness kind = "Readiness"
	startup   kind = "Startup"
)

type key struct {
	container string // id
	kind      kind
}

// Target is a pod with the containers that run in it.
type Target struct {
	Pod     *v1.Pod
	Runtime *cri.Pod
	Host    string // where its ports answer
}

// Run lets probes run until ctx ends, and returns when all have stopped.
func (m *Manager) Run(ctx context.Context) {
	m.mu.Lock()
	m.ctx = ctx
	m.mu.Unlock()
	<-ctx.Done()
	m.running.Wait()
}

// Update starts the probes of containers that run and stops those of containers that no longer do. Stopping
// pods are asked only whether they are ready.
func (m *Manager) Update(t Target, stopping bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx == nil || m.ctx.Err() != nil {
		return
	}
	if m.pods == nil {
		m.pods = map[types.UID]map[key]*worker{}
	}
	workers := m.pods[t.Pod.UID]
	wanted := map[key]bool{}
	eachProbe(t, func(c *v1.Container, running *cri.Container, k kind, spec *v1.Probe) {
		if stopping && k != readiness {
			return
		}
		id := key{running.ID, k}
		wanted[id] = true
		if workers[id] == nil {
			if workers == nil {
				workers = map[key]*worker{}
				m.pods[t.Pod.UID] = workers
			}
			workers[id] = m.start(t, c, running, k, spec)
		}
	})
	for id, w := range workers {
		if !wanted[id] {
			w.cancel()
			delete(workers, id)
		}
	}
}

// eachProbe visits every probe of every running container that is asked: app containers and sidecars.
func eachProbe(t Target, visit func(*v1.Container, *cri.Container, kind, *v1.Probe)) {
	each := func(c *v1.Container) {
		running := t.Runtime.Newest(c.Name)
		if !running.Running() {
			return
		}
		if c.StartupProbe != nil {
			visit(c, running, startup, c.StartupProbe)
		}
		if c.LivenessProbe != nil {
			visit(c, running, liveness, c.LivenessProbe)
		}
		if c.ReadinessProbe != nil {
			visit(c, running, readiness, c.ReadinessProbe)
		}
	}
	for i := range t.Pod.Spec.InitContainers {
		if plan.IsSidecar(&t.Pod.Spec.InitContainers[i]) {
			each(&t.Pod.Spec.InitContainers[i])
		}
	}
	for i := range t.Pod.Spec.Containers {
		each(&t.Pod.Spec.Containers[i])
	}
}

func (m *Manager) start(t Target, c *v1.Container, running *cri.Container, k kind, spec *v1.Probe) *worker {
	ctx, cancel := context.WithCancel(m.ctx)
	w := &worker{
		m: m, pod: t.Pod, container: c, id: running.ID, started: running.StartedAt, host: t.Host,
		kind: k, spec: spec, cancel: cancel, ok: k == liveness || reported(t.Pod, running.ID, k),
	}
	m.running.Go(func() { w.run(ctx) })
	return w
}

// reported says whether the pod's status has it that the container is ready, or has started. A container that
// outlived the kubelet keeps that until its probe says otherwise, so that a restart takes no pod out of service.
func reported(pod *v1.Pod, id string, k kind) bool {
	for _, statuses := range [][]v1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, status := range statuses {
			if !strings.HasSuffix(status.ContainerID, "://"+id) {
				continue
			}
			return k == readiness && status.Ready || k == startup && status.Started != nil && *status.Started
		}
	}
	return false
}

// Remove stops all probes of the pod and forgets what they found.
func (m *Manager) Remove(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.pods[uid] {
		w.cancel()
	}
	delete(m.pods, uid)
}

// Results returns what the probes say of the containers that run. Containers without a probe are started and ready.
func (m *Manager) Results(pod *v1.Pod, runtime *cri.Pod) Results {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := Results{Ready: map[string]bool{}, Started: map[string]bool{}, Failed: map[string]Failure{}}
	for _, c := range runtime.Containers {
		if c.Running() {
			r.Ready[c.ID], r.Started[c.ID] = true, true
		}
	}
	workers := m.pods[pod.UID]
	eachProbe(Target{Pod: pod, Runtime: runtime}, func(_ *v1.Container, running *cri.Container, k kind, _ *v1.Probe) {
		w := workers[key{running.ID, k}]
		ok := reported(pod, running.ID, k)
		if w != nil {
			ok = w.result()
		}
		switch k {
		case startup:
			r.Started[running.ID] = ok
		case readiness:
			r.Ready[running.ID] = r.Ready[running.ID] && ok
		}
		if w != nil && w.failure() != nil {
			r.Failed[running.ID] = *w.failure()
		}
	})
	for id := range r.Ready {
		r.Ready[id] = r.Ready[id] && r.Started[id]
	}
	return r
}

// hasStarted says whether the container's startup probe, if it has one, has succeeded.
func (m *Manager) hasStarted(w *worker) bool {
	if w.container.StartupProbe == nil {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.pods[w.pod.UID][key{w.id, startup}]
	return s == nil || s.result()
}

func seconds(n int32, usual int32) time.Duration {
	if n <= 0 {
		n = usual
	}
	return time.Duration(n) * time.Second
}
