// Package endpoints keeps the old Endpoints object of every service that selects
// pods, for clients that do not read EndpointSlices. What it holds is in
// desired.go and pure.
package endpoints

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/yare-io/yare/controllers/serviceendpoints"
	"github.com/yare-io/yare/controllers/worker"
)

type controller struct {
	env       *worker.Env
	loop      *worker.Loop[worker.Key]
	services  corelisters.ServiceLister
	pods      corelisters.PodLister
	endpoints corelisters.EndpointsLister
	triggers  *serviceendpoints.Triggers
}

// New makes the Endpoints controller.
func New(env *worker.Env) (worker.Runner, error) {
	core := env.Informers.Core().V1()
	c := &controller{
		env:       env,
		services:  core.Services().Lister(),
		pods:      core.Pods().Lister(),
		endpoints: core.Endpoints().Lister(),
		triggers:  serviceendpoints.NewTriggers(),
	}
	c.loop = worker.NewLoop(env, worker.Options[worker.Key]{Queue: "endpoint", Workers: env.Workers, Reconcile: c.reconcile})
	worker.WatchKeys[*corev1.Service](c.loop, core.Services().Informer())
	worker.Watch(c.loop, core.Pods().Informer(), c.podChanged)
	worker.Watch(c.loop, core.Endpoints().Informer(), c.endpointsChanged)
	return c.loop, nil
}

func (c *controller) podChanged(old, now *corev1.Pod) {
	for _, key := range serviceendpoints.PodChanged(c.services, old, now) {
		c.loop.Add(key)
	}
}

// endpointsChanged makes good what was deleted, and finds what this controller
// left behind when it last ran.
func (c *controller) endpointsChanged(old, now *corev1.Endpoints) {
	if now == nil || old == nil && now.Labels[managedLabel] == managedBy {
		c.loop.Add(worker.KeyOf(worker.Latest(old, now)))
	}
}

func (c *controller) reconcile(ctx context.Context, key worker.Key) error {
	service, err := c.services.Services(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		return c.remove(ctx, key)
	}
	if err != nil {
		return err
	}
	if service.Spec.Type == corev1.ServiceTypeExternalName || service.Spec.Selector == nil {
		return nil
	}
	pods, err := c.selected(service)
	if err != nil {
		return err
	}
	current, err := c.endpoints.Endpoints(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		current, err = nil, nil
	}
	if err != nil {
		return err
	}
	return c.write(ctx, service, current, desired(service, pods, current, c.triggers.LastChange(service, pods)))
}

// remove deletes the Endpoints of a service that is gone, if this controller
// made them: others may use the name for purposes of their own.
func (c *controller) remove(ctx context.Context, key worker.Key) error {
	c.triggers.Forget(key)
	current, err := c.endpoints.Endpoints(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) || err == nil && current.Annotations["control-plane.alpha.kubernetes.io/leader"] != "" {
		return nil
	}
	if err != nil {
		return err
	}
	options := metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(current.UID))}
	err = c.env.Client.CoreV1().Endpoints(key.Namespace).Delete(ctx, key.Name, options)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

func (c *controller) write(ctx context.Context, service *corev1.Service, current, wanted *corev1.Endpoints) error {
	api := c.env.Client.CoreV1().Endpoints(service.Namespace)
	if current == nil {
		_, err := api.Create(ctx, wanted, metav1.CreateOptions{})
		if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			return nil
		}
		if err != nil && !apierrors.IsAlreadyExists(err) {
			c.env.Events.Eventf(service, corev1.EventTypeWarning, "FailedToCreateEndpoint", "Failed to create endpoint for service %s/%s: %v", service.Namespace, service.Name, err)
		}
		return err
	}
	if same(current, wanted) {
		return nil
	}
	_, err := api.Update(ctx, wanted, metav1.UpdateOptions{})
	if err != nil && !apierrors.IsConflict(err) {
		c.env.Events.Eventf(current, corev1.EventTypeWarning, "FailedToUpdateEndpoint", "Failed to update endpoint %s/%s: %v", service.Namespace, service.Name, err)
	}
	return err
}

func (c *controller) selected(service *corev1.Service) ([]*corev1.Pod, error) {
	found, err := c.pods.Pods(service.Namespace).List(labels.SelectorFromSet(service.Spec.Selector))
	if err != nil {
		return nil, err
	}
	return slices.SortedFunc(slices.Values(found), func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) }), nil
}
