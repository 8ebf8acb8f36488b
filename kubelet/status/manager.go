package status

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/workqueue"
)

// writers is how many statuses are written at the same time.
const writers = 4

// Manager writes statuses to the API server: only when they differ from what is there, newest first, skipping what has
// been overtaken. At the end of a pod's life it deletes the API object. It is safe for concurrent use.
type Manager struct {
	client kubernetes.Interface
	lookup func(types.UID) *v1.Pod
	logger *slog.Logger
	queue  workqueue.TypedRateLimitingInterface[types.UID]

	mu      sync.Mutex
	entries map[types.UID]*entry
}

type entry struct {
	status  v1.PodStatus
	version int
	written int     // the version that the API server has
	base    *v1.Pod // the API object as the last write returned it; nil before
	remove  bool    // delete the API object once the status is written
}

// NewManager returns a manager. Lookup returns the API object that shows the pod with the UID, or nil if there is none
// (any more); the object is not changed.
func NewManager(client kubernetes.Interface, lookup func(types.UID) *v1.Pod, logger *slog.Logger) *Manager {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[types.UID](100*time.Millisecond, 10*time.Second)
	return &Manager{
		client: client, lookup: lookup, logger: logger, entries: map[types.UID]*entry{},
		queue: workqueue.NewTypedRateLimitingQueue(limiter),
	}
}

// Run writes until ctx ends.
func (m *Manager) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for m.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	m.queue.ShutDown()
	wg.Wait()
}

// Set records the pod's status, to be written soon.
func (m *Manager) Set(uid types.UID, status v1.PodStatus) {
	m.mu.Lock()
	e := m.entry(uid)
	e.status = status
	e.version++
	m.mu.Unlock()
	m.queue.Add(uid)
}

// Delete has the API object deleted for good, after the last status given to Set has been written.
func (m *Manager) Delete(uid types.UID) {
	m.mu.Lock()
	m.entry(uid).remove = true
	m.mu.Unlock()
	m.queue.Add(uid)
}

func (m *Manager) entry(uid types.UID) *entry {
	e := m.entries[uid]
	if e == nil {
		e = &entry{}
		m.entries[uid] = e
	}
	return e
}

// Get returns the last status given to Set.
func (m *Manager) Get(uid types.UID) (v1.PodStatus, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[uid]
	if e == nil || e.version == 0 {
		return v1.PodStatus{}, false
	}
	return e.status, true
}

// Forget drops a pod that is gone.
func (m *Manager) Forget(uid types.UID) {
	m.mu.Lock()
	delete(m.entries, uid)
	m.mu.Unlock()
	m.queue.Forget(uid)
}

// Changed has the status written again if the API object differs from it: someone else may have changed it.
func (m *Manager) Changed(uid types.UID) {
	m.mu.Lock()
	_, known := m.entries[uid]
	m.mu.Unlock()
	if known {
		m.queue.Add(uid)
	}
}

func (m *Manager) next(ctx context.Context) bool {
	uid, quit := m.queue.Get()
	if quit {
		return false
	}
	defer m.queue.Done(uid)
	if err := m.sync(ctx, uid); err != nil && ctx.Err() == nil {
		m.logger.Warn("a pod's status could not be written", "uid", uid, "error", err)
		m.queue.AddRateLimited(uid)
		return true
	}
	m.queue.Forget(uid)
	return true
}

func (m *Manager) sync(ctx context.Context, uid types.UID) error {
	m.mu.Lock()
	e := m.entries[uid]
	if e == nil {
		m.mu.Unlock()
		return nil
	}
	status, version, base, remove := e.status, e.version, e.base, e.remove
	m.mu.Unlock()
	base = newer(base, m.lookup(uid))
	if base == nil {
		return nil
	}
	if version > 0 {
		written, err := m.patch(ctx, base, status)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		m.mu.Lock()
		e.base, e.written = written, version
		m.mu.Unlock()
	}
	if remove {
		return m.delete(ctx, base)
	}
	return nil
}

// newer returns the object with the later resource version; either may be nil. A later object of another identity wins.
func newer(written, seen *v1.Pod) *v1.Pod {
	if written == nil || seen == nil {
		return seen // without an object in the cache there is nothing to write to
	}
	if written.UID != seen.UID {
		return seen
	}
	a, errA := strconv.ParseUint(written.ResourceVersion, 10, 64)
	b, errB := strconv.ParseUint(seen.ResourceVersion, 10, 64)
	if errA == nil && errB == nil && a > b {
		return written
	}
	return seen
}

// patch writes what differs between base and status, if anything, and returns the object as it is then.
func (m *Manager) patch(ctx context.Context, base *v1.Pod, status v1.PodStatus) (*v1.Pod, error) {
	status.Conditions = Merge(status.Conditions, base.Status.Conditions)
	old, err := json.Marshal(v1.Pod{Status: base.Status})
	if err != nil {
		return nil, err
	}
	wanted, err := json.Marshal(v1.Pod{Status: status})
	if err != nil {
		return nil, err
	}
	diff, err := strategicpatch.CreateTwoWayMergePatch(old, wanted, v1.Pod{})
	if err != nil {
		return nil, fmt.Errorf("compare statuses: %w", err)
	}
	if string(diff) == "{}" {
		return base, nil
	}
	diff, err = withUID(diff, base.UID)
	if err != nil {
		return nil, err
	}
	return m.client.CoreV1().Pods(base.Namespace).Patch(ctx, base.Name, types.StrategicMergePatchType, diff, metav1.PatchOptions{}, "status")
}

// withUID makes the patch apply only to the very pod it was made for.
func withUID(diff []byte, uid types.UID) ([]byte, error) {
	var patch map[string]json.RawMessage
	if err := json.Unmarshal(diff, &patch); err != nil {
		return nil, err
	}
	metadata, err := json.Marshal(map[string]types.UID{"uid": uid})
	if err != nil {
		return nil, err
	}
	patch["metadata"] = metadata
	return json.Marshal(patch)
}

// Merge takes from ours the conditions that the node owns, and all others from theirs.
func Merge(ours, theirs []v1.PodCondition) []v1.PodCondition {
	var out []v1.PodCondition
	for _, c := range ours {
		if owned(c) {
			out = append(out, c)
		}
	}
	for _, c := range theirs {
		if !owned(c) && condition(out, c.Type) == nil {
			out = append(out, c)
		}
	}
	return out
}

// owned says whether the condition is one that the node sets.
func owned(c v1.PodCondition) bool {
	switch c.Type {
	case v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady, v1.ContainersReady, v1.PodScheduled:
		return true
	case v1.DisruptionTarget:
		return c.Reason == v1.PodReasonTerminationByKubelet
	}
	return false
}

// delete removes the API object without grace.
func (m *Manager) delete(ctx context.Context, pod *v1.Pod) error {
	err := m.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64(0)),
		Preconditions:      &metav1.Preconditions{UID: &pod.UID},
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
