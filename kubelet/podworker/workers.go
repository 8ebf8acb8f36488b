// Package podworker makes each pod of the node what it should be: one goroutine for each pod looks at the pod, asks
// package plan what must happen next, and has it done. It owns the order of a pod's life (admission, preparation,
// running, ending, removal) and refuses to know where pods come from.
package podworker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/env"
	"github.com/yare-io/yare/kubelet/events"
	"github.com/yare-io/yare/kubelet/plan"
	"github.com/yare-io/yare/kubelet/probe"
	"github.com/yare-io/yare/kubelet/runtime"
	"github.com/yare-io/yare/kubelet/status"
	"github.com/yare-io/yare/kubelet/volume"
)

// Cgroups keeps one cgroup for each pod.
type Cgroups interface {
	// Prepare makes the pod's cgroup and returns the parent that the runtime puts containers under ("" for none).
	Prepare(pod *v1.Pod) (string, error)
	// Remove removes the pod's cgroup.
	Remove(uid types.UID) error
}

// References are kept for as long as a pod is here.
type References interface {
	Register(pod *v1.Pod)
	Forget(uid types.UID)
}

// Config is what workers work with. All fields are needed but the last two.
type Config struct {
	CRI         *cri.Client
	RuntimeName func() string // once the runtime has answered
	Runtime     *runtime.Runtime
	Volumes     *volume.Manager
	Statuses    *status.Manager
	Probes      *probe.Manager
	Cgroups     Cgroups
	References  []References
	Events      events.Recorder
	Clock       clock.Clock
	Logger      *slog.Logger
	// Environment returns what the pod's environment is made from; addresses of the pod itself are filled in later.
	Environment func(pod *v1.Pod) *env.Source
	// Admit returns why the node refuses the pod, or nil. Others are the pods that are here already.
	Admit func(pod *v1.Pod, others []*v1.Pod) *status.Verdict
	// NetworkReady returns why pods that need a network of their own cannot start now.
	NetworkReady func() error
	// MaxBackoff caps the delay between restarts; plan.MaxBackoff if 0.
	MaxBackoff time.Duration
	// SyncPeriod is how often a pod is looked at although nothing happened.
	SyncPeriod time.Duration
}

// Workers runs the pods of a node. It is safe for concurrent use.
type Workers struct {
	Config

	mu      sync.Mutex
	ctx     context.Context // nil until Run
	workers map[types.UID]*worker
	running sync.WaitGroup
	// admission makes pods pass admission one after another, each seeing those before it.
	admission sync.Mutex
}

// New returns workers that start to work with Run.
func New(config Config) *Workers {
	if config.MaxBackoff <= 0 {
		config.MaxBackoff = plan.MaxBackoff
	}
	if config.SyncPeriod <= 0 {
		config.SyncPeriod = time.Minute
	}
	return &Workers{Config: config, workers: map[types.UID]*worker{}}
}

// Run works until ctx ends, and returns when every worker has stopped. Containers keep running.
func (w *Workers) Run(ctx context.Context) {
	w.mu.Lock()
	w.ctx = ctx
	for _, worker := range w.workers {
		w.launch(worker)
	}
	w.mu.Unlock()
	<-ctx.Done()
	w.running.Wait()
}

// Update tells what the pod should be. The pod is shared and is not changed.
func (w *Workers) Update(pod *v1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	worker := w.workers[pod.UID]
	if worker == nil {
		worker = w.add(pod)
	}
	worker.update(pod)
}

// Remove tells that the pod no longer exists, so that whatever is left of it goes.
func (w *Workers) Remove(uid types.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if worker := w.workers[uid]; worker != nil {
		worker.remove()
	}
}

// Adopt takes on a pod that is found in the runtime and that nobody wants, in order to end it. Pods that have a worker are
// left alone.
func (w *Workers) Adopt(ref cri.PodRef) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.workers[ref.UID] != nil {
		return
	}
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{UID: ref.UID, Namespace: ref.Namespace, Name: ref.Name},
		Spec:       v1.PodSpec{TerminationGracePeriodSeconds: new(ref.GraceSeconds)},
	}
	worker := w.add(pod)
	worker.orphan = true
	worker.update(pod)
	worker.remove()
}

func (w *Workers) add(pod *v1.Pod) *worker {
	worker := newWorker(w, pod)
	w.workers[pod.UID] = worker
	w.launch(worker)
	return worker
}

func (w *Workers) launch(worker *worker) {
	if w.ctx == nil || w.ctx.Err() != nil {
		return
	}
	ctx := w.ctx
	w.running.Go(func() {
		worker.run(ctx)
		if ctx.Err() != nil {
			return
		}
		w.mu.Lock()
		delete(w.workers, worker.uid)
		w.mu.Unlock()
	})
}

// Wake has the pod looked at now.
func (w *Workers) Wake(uid types.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if worker := w.workers[uid]; worker != nil {
		worker.wakeUp()
	}
}

// Refresh has the pod's volumes brought up to date.
func (w *Workers) Refresh(uid types.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if worker := w.workers[uid]; worker != nil {
		worker.refresh()
	}
}

// Evict has a pod end with the verdict. It returns false for one that holds nothing of the node, or ends already.
func (w *Workers) Evict(uid types.UID, verdict *status.Verdict) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	worker := w.workers[uid]
	return worker != nil && worker.evict(verdict)
}

// Holds says whether the pod holds resources of the node.
func (w *Workers) Holds(uid types.UID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	worker := w.workers[uid]
	return worker != nil && worker.holdsResources()
}

// Known says whether the pod has a worker.
func (w *Workers) Known(uid types.UID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.workers[uid] != nil
}

// others returns the pods that hold resources of the node, without the one given.
func (w *Workers) others(uid types.UID) []*v1.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	var pods []*v1.Pod
	for id, worker := range w.workers {
		if id != uid && worker.holdsResources() {
			pods = append(pods, worker.desired())
		}
	}
	return pods
}

// namesakeRuns says whether an earlier pod of the same name still holds on: the two must not run at the same time.
func (w *Workers) namesakeRuns(pod *v1.Pod) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for uid, worker := range w.workers {
		if uid == pod.UID || !worker.isGone() || worker.isFinished() {
			continue
		}
		if other := worker.desired(); other.Name == pod.Name && other.Namespace == pod.Namespace {
			return true
		}
	}
	return false
}
