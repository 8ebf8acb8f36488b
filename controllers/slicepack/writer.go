package slicepack

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/yare-io/yare/controllers/worker"
)

// ErrStale says that the cache does not show the last writes yet.
var ErrStale = fmt.Errorf("endpoint slice informer cache is out of date: %w", worker.ErrAgain)

// deletedGeneration marks a slice that was deleted and may still be cached.
const deletedGeneration = -1

// Writer writes changes and remembers what it wrote, by owner, until the cache
// has it. It is safe for concurrent use.
type Writer struct {
	client kubernetes.Interface

	mu      sync.Mutex
	written map[worker.Key]map[types.UID]int64
}

// NewWriter makes a Writer that has written nothing.
func NewWriter(client kubernetes.Interface) *Writer {
	return &Writer{client: client, written: map[worker.Key]map[types.UID]int64{}}
}

// Apply carries out changes for owner, a service or an Endpoints object. A
// namespace on its way out is no error.
func (w *Writer) Apply(ctx context.Context, owner worker.Key, changes Changes) error {
	api := w.client.DiscoveryV1().EndpointSlices(owner.Namespace)
	for _, slice := range changes.Create {
		created, err := api.Create(ctx, slice, metav1.CreateOptions{})
		if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("failed to create EndpointSlice for Service %s: %w", owner, err)
		}
		w.note(owner, created.UID, created.Generation)
	}
	for _, slice := range changes.Update {
		updated, err := api.Update(ctx, slice, metav1.UpdateOptions{})
		if err != nil {
			return fmt.Errorf("failed to update %s EndpointSlice for Service %s: %w", slice.Name, owner, err)
		}
		w.note(owner, updated.UID, updated.Generation)
	}
	for _, slice := range changes.Delete {
		err := api.Delete(ctx, slice.Name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("failed to delete %s EndpointSlice for Service %s: %w", slice.Name, owner, err)
		}
		w.note(owner, slice.UID, deletedGeneration)
	}
	return nil
}

func (w *Writer) note(owner worker.Key, uid types.UID, generation int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.written[owner] == nil {
		w.written[owner] = map[types.UID]int64{}
	}
	w.written[owner][uid] = generation
}

// Stale says whether the cached slices of owner lack a write of this Writer.
func (w *Writer) Stale(owner worker.Key, cached []*discoveryv1.EndpointSlice) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	generations := map[types.UID]int64{}
	for _, slice := range cached {
		generations[slice.UID] = slice.Generation
	}
	for uid, written := range w.written[owner] {
		have, found := generations[uid]
		if written == deletedGeneration && found || written != deletedGeneration && (!found || have < written) {
			return true
		}
	}
	return false
}

// Foreign says whether a change seen in the cache is of someone else's making,
// and closes the account of slices that are gone.
func (w *Writer) Foreign(owner worker.Key, old, now *discoveryv1.EndpointSlice) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	slice := worker.Latest(old, now)
	written, known := w.written[owner][slice.UID]
	if now == nil {
		delete(w.written[owner], slice.UID)
		return written != deletedGeneration
	}
	return !known || written != slice.Generation
}

// Forget drops what is known of an owner that is gone.
func (w *Writer) Forget(owner worker.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.written, owner)
}
