// Package serviceaccount sees to it that every namespace has the service account
// "default", which pods run as that name no other.
package serviceaccount

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/yare-io/yare/controllers/worker"
)

const defaultName = "default"

type controller struct {
	env        *worker.Env
	namespaces corelisters.NamespaceLister
	accounts   corelisters.ServiceAccountLister
}

// New makes the service account controller.
func New(env *worker.Env) (worker.Runner, error) {
	core := env.Informers.Core().V1()
	c := &controller{env: env, namespaces: core.Namespaces().Lister(), accounts: core.ServiceAccounts().Lister()}
	loop := worker.NewLoop(env, worker.Options[string]{Queue: "serviceaccount", Workers: env.Workers, Reconcile: c.reconcile})
	worker.Watch(loop, core.Namespaces().Informer(), func(_, now *corev1.Namespace) {
		if now != nil {
			loop.Add(now.Name)
		}
	})
	worker.Watch(loop, core.ServiceAccounts().Informer(), func(old, now *corev1.ServiceAccount) {
		if now == nil && old.Name == defaultName {
			loop.Add(old.Namespace)
		}
	})
	return loop, nil
}

func (c *controller) reconcile(ctx context.Context, namespace string) error {
	owner, err := c.namespaces.Get(namespace)
	if apierrors.IsNotFound(err) || err == nil && owner.Status.Phase == corev1.NamespaceTerminating {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := c.accounts.ServiceAccounts(namespace).Get(defaultName); !apierrors.IsNotFound(err) {
		return err
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: defaultName, Namespace: namespace}}
	_, err = c.env.Client.CoreV1().ServiceAccounts(namespace).Create(ctx, account, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return nil
	}
	return err
}
