package builtin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/cache"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/lookup"
)

const (
	// A namespace that was deleted a moment ago may still look alive in the
	// cache; it is read live for this long.
	deletedNamespaceTTL = 30 * time.Second
	deletedNamespaces   = 100
)

var immortalNamespaces = []string{metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic}

// namespaceLifecycle refuses new objects in namespaces that are missing or
// terminating, and the deletion of the ones the system needs.
type namespaceLifecycle struct {
	plugin
	namespaces lookup.Namespaces
	deleted    *cache.LRUExpireCache
}

func newNamespaceLifecycle(deps Deps) (admission.Plugin, error) {
	return &namespaceLifecycle{
		plugin:     on("NamespaceLifecycle", admission.Create, admission.Update, admission.Delete),
		namespaces: newNamespaces(deps),
		deleted:    cache.NewLRUExpireCacheWithClock(deletedNamespaces, deps.Clock),
	}, nil
}

// Admit runs before anything else looks at the object.
func (p *namespaceLifecycle) Admit(ctx context.Context, a *admission.Attributes) error {
	if a.Resource.GroupResource() == corev1.Resource("namespaces") {
		return p.admitNamespace(a)
	}
	if a.Namespace == "" || a.Operation == admission.Delete || isAccessReview(a.Resource.GroupResource()) {
		return nil
	}
	namespace, err := p.namespace(ctx, a.Namespace)
	if err != nil {
		return err
	}
	if a.Operation != admission.Create || namespace.Status.Phase != corev1.NamespaceTerminating {
		return nil
	}
	return terminating(a)
}

func (p *namespaceLifecycle) admitNamespace(a *admission.Attributes) error {
	if a.Operation != admission.Delete {
		return nil
	}
	if slices.Contains(immortalNamespaces, a.Name) {
		return apierrors.NewForbidden(a.Resource.GroupResource(), a.Name, errors.New("this namespace may not be deleted"))
	}
	if a.Subresource == "" && !a.DryRun {
		p.deleted.Add(a.Name, true, deletedNamespaceTTL)
	}
	return nil
}

// namespace trusts the cache where it can: for a namespace it has, and which
// nobody has just deleted through this server.
func (p *namespaceLifecycle) namespace(ctx context.Context, name string) (*corev1.Namespace, error) {
	if _, justDeleted := p.deleted.Get(name); justDeleted {
		return p.namespaces.Live(ctx, name)
	}
	return p.namespaces.Get(ctx, name)
}

func terminating(a *admission.Attributes) error {
	err := admission.Forbidden(a, fmt.Errorf("unable to create new content in namespace %s because it is being terminated", a.Namespace))
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{
		Type:    corev1.NamespaceTerminatingCause,
		Message: fmt.Sprintf("namespace %s is being terminated", a.Namespace),
		Field:   "metadata.namespace",
	})
	return err
}

// isAccessReview: asking what one may do creates nothing.
func isAccessReview(resource schema.GroupResource) bool {
	return resource == authorizationv1.Resource("localsubjectaccessreviews")
}
