// Package lookup finds what many admission plugins ask about: namespaces, in
// the cache and live, and whether an informer's list is whole. It decides
// nothing.
package lookup

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/admission"
)

// Namespaces looks namespaces up: in the cache, and live what is not there.
type Namespaces struct {
	client kubernetes.Interface
	lister corelisters.NamespaceLister
}

// NewNamespaces registers the informer it reads from; the caller starts the
// factory.
func NewNamespaces(client kubernetes.Interface, factory informers.SharedInformerFactory) Namespaces {
	return Namespaces{client, factory.Core().V1().Namespaces().Lister()}
}

// Get returns a namespace, which is shared. Its errors are API statuses.
func (n Namespaces) Get(ctx context.Context, name string) (*corev1.Namespace, error) {
	if namespace, err := n.lister.Get(name); err == nil {
		return namespace, nil
	}
	return n.Live(ctx, name)
}

// Live asks the server itself.
func (n Namespaces) Live(ctx context.Context, name string) (*corev1.Namespace, error) {
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

// Synced lets requests wait for an informer whose list must be whole, right
// after the start.
type Synced struct {
	Has   cache.InformerSynced
	Clock clock.WithTicker
}

// Wait returns once the list is whole; after ten seconds it refuses the
// request.
func (s Synced) Wait(ctx context.Context, a *admission.Attributes) error {
	if s.Has() {
		return nil
	}
	timeout, poll := s.Clock.NewTimer(syncTimeout), s.Clock.NewTicker(syncPoll)
	defer timeout.Stop()
	defer poll.Stop()
	for !s.Has() {
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
