package builtin

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/admission"
)

// namespaces looks namespaces up: in the cache, and live what is not there.
type namespaces struct {
	client kubernetes.Interface
	lister corelisters.NamespaceLister
}

func newNamespaces(deps Deps) namespaces {
	return namespaces{deps.Client, deps.Informers.Core().V1().Namespaces().Lister()}
}

func (n namespaces) get(ctx context.Context, name string) (*corev1.Namespace, error) {
	if namespace, err := n.lister.Get(name); err == nil {
		return namespace, nil
	}
	return n.live(ctx, name)
}

func (n namespaces) live(ctx context.Context, name string) (*corev1.Namespace, error) {
	namespace, err := n.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, err
	case err != nil:
		return nil, apierrors.NewInternalError(fmt.Errorf("reading namespace %s: %w", name, err))
	}
	return namespace, nil
}

const (
	syncTimeout = 10 * time.Second
	syncPoll    = 10 * time.Millisecond
)

// synced lets requests wait for an informer whose list must be whole, right
// after the start.
type synced struct {
	has   cache.InformerSynced
	clock clock.WithTicker
}

func (s synced) wait(ctx context.Context, a *admission.Attributes) error {
	if s.has() {
		return nil
	}
	timeout, poll := s.clock.NewTimer(syncTimeout), s.clock.NewTicker(syncPoll)
	defer timeout.Stop()
	defer poll.Stop()
	for !s.has() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout.C():
			return admission.Forbidden(a, errors.New("not yet ready to handle request"))
		case <-poll.C():
		}
	}
	return nil
}

// changedPod is the pod that the request creates or updates as a whole.
func changedPod(a *admission.Attributes) (*corev1.Pod, bool) {
	if a.Operation != admission.Create && a.Operation != admission.Update || !a.Is(corev1.Resource("pods"), "") {
		return nil, false
	}
	pod, ok := a.Object.(*corev1.Pod)
	return pod, ok
}
