// Package namespace empties namespaces that are being deleted, and lets them go
// when nothing is left. It finds out through discovery what a namespace can
// hold, and reads no more of it than metadata.
package namespace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/util/workqueue"

	"github.com/yare-io/yare/controllers/worker"
)

// retryCap is the longest pause between two passes over a namespace that is not
// empty yet: what is left may go at any time.
const retryCap = 10 * time.Second

type controller struct {
	env        *worker.Env
	loop       *worker.Loop[string]
	namespaces corelisters.NamespaceLister
	content    *content
}

// New makes the namespace controller.
func New(env *worker.Env) (worker.Runner, error) {
	namespaces := env.Informers.Core().V1().Namespaces()
	c := &controller{
		env:        env,
		namespaces: namespaces.Lister(),
		content:    &content{metadata: env.Metadata, discovery: env.Client.Discovery()},
	}
	c.loop = worker.NewLoop(env, worker.Options[string]{
		Queue: "namespace", Workers: env.Workers, Reconcile: c.reconcile,
		Limiter: workqueue.NewTypedItemExponentialFailureRateLimiter[string](5*time.Millisecond, retryCap),
	})
	worker.Watch(c.loop, namespaces.Informer(), func(_, now *corev1.Namespace) {
		if now != nil && now.DeletionTimestamp != nil {
			c.loop.Add(now.Name)
		}
	})
	return c.loop, nil
}

func (c *controller) reconcile(ctx context.Context, name string) error {
	cached, err := c.namespaces.Get(name)
	if apierrors.IsNotFound(err) || err == nil && cached.DeletionTimestamp == nil {
		return nil
	}
	if err != nil {
		return err
	}
	namespace, err := c.env.Client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && (namespace.UID != cached.UID || len(namespace.Spec.Finalizers) == 0) {
		return nil
	}
	if err != nil {
		return err
	}
	if namespace, err = c.terminating(ctx, namespace); err != nil {
		return err
	}
	found := c.content.remove(ctx, name)
	if namespace, err = c.writeConditions(ctx, namespace, found); err != nil {
		return err
	}
	if found.empty() {
		return c.finalize(ctx, namespace)
	}
	if err := errors.Join(found.deletion, found.discovery, found.unparsed); err != nil {
		return fmt.Errorf("emptying namespace: %w", err)
	}
	return worker.ErrAgain
}

func (c *controller) terminating(ctx context.Context, namespace *corev1.Namespace) (*corev1.Namespace, error) {
	if namespace.Status.Phase == corev1.NamespaceTerminating {
		return namespace, nil
	}
	namespace.Status.Phase = corev1.NamespaceTerminating
	return c.env.Client.CoreV1().Namespaces().UpdateStatus(ctx, namespace, metav1.UpdateOptions{})
}

func (c *controller) writeConditions(ctx context.Context, namespace *corev1.Namespace, found *outcome) (*corev1.Namespace, error) {
	after := conditions(namespace.Status.Conditions, found, c.env.Clock.Now())
	if equality.Semantic.DeepEqual(after, namespace.Status.Conditions) {
		return namespace, nil
	}
	namespace.Status.Conditions = after
	return c.env.Client.CoreV1().Namespaces().UpdateStatus(ctx, namespace, metav1.UpdateOptions{})
}

func (c *controller) finalize(ctx context.Context, namespace *corev1.Namespace) error {
	namespace.Spec.Finalizers = slices.DeleteFunc(namespace.Spec.Finalizers, func(f corev1.FinalizerName) bool {
		return f == corev1.FinalizerKubernetes
	})
	_, err := c.env.Client.CoreV1().Namespaces().Finalize(ctx, namespace, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
