// Package resourcequota counts what namespaces use of their quotas. Admission
// charges quotas for what is made; this controller gives back what is gone, and
// sets right what the two disagree on.
package resourcequota

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/yare-io/yare/apiserver/api/usage"
	"github.com/yare-io/yare/controllers/worker"
)

const (
	// resync counts all quotas again, whatever was seen.
	resync = 5 * time.Minute
	// quiet is how long a quota must have been left alone before what it says
	// is used is lowered: a request that was charged may not have been stored
	// yet. A quota that is full is left alone, so it does get lowered.
	quiet = time.Second
)

type controller struct {
	env      *worker.Env
	loop     *worker.Loop[worker.Key]
	quotas   corelisters.ResourceQuotaLister
	pods     corelisters.PodLister
	services corelisters.ServiceLister
	claims   corelisters.PersistentVolumeClaimLister
	counters *counters

	mutex sync.Mutex
	// written is when a quota's last version was seen.
	written map[worker.Key]time.Time
}

// New makes the controller.
func New(env *worker.Env) (worker.Runner, error) {
	core := env.Informers.Core().V1()
	c := &controller{
		env: env, quotas: core.ResourceQuotas().Lister(), pods: core.Pods().Lister(), services: core.Services().Lister(),
		claims: core.PersistentVolumeClaims().Lister(), written: map[worker.Key]time.Time{},
	}
	c.counters = newCounters(env, c.freed)
	c.loop = worker.NewLoop(env, worker.Options[worker.Key]{Queue: "resource_quota_controller", Workers: env.Workers, Reconcile: c.reconcile})
	worker.Watch(c.loop, core.ResourceQuotas().Informer(), c.quotaChanged)
	worker.Watch(c.loop, core.Pods().Informer(), func(old, now *corev1.Pod) {
		if old != nil && (now == nil || usage.Ended(now) != usage.Ended(old) || !apiequality.Semantic.DeepEqual(usage.Of(podResource, old), usage.Of(podResource, now))) {
			c.freed(old.Namespace)
		}
	})
	worker.Watch(c.loop, core.Services().Informer(), func(old, now *corev1.Service) {
		if old != nil && (now == nil || !apiequality.Semantic.DeepEqual(usage.Of(serviceResource, old), usage.Of(serviceResource, now))) {
			c.freed(old.Namespace)
		}
	})
	worker.Watch(c.loop, core.PersistentVolumeClaims().Informer(), func(old, now *corev1.PersistentVolumeClaim) {
		if old != nil && (now == nil || !apiequality.Semantic.DeepEqual(usage.Of(claimResource, old), usage.Of(claimResource, now))) {
			c.freed(old.Namespace)
		}
	})
	everything := worker.Periodically(env, resync, func(context.Context) error { return c.enqueue(metav1.NamespaceAll) }, core.ResourceQuotas().Informer())
	return worker.Together(c.counters, c.loop, everything), nil
}

var (
	podResource     = corev1.Resource("pods")
	serviceResource = corev1.Resource("services")
	claimResource   = corev1.Resource("persistentvolumeclaims")
)

func (c *controller) quotaChanged(_, now *corev1.ResourceQuota) {
	if now == nil {
		return
	}
	key := worker.KeyOf(now)
	c.mutex.Lock()
	c.written[key] = c.env.Clock.Now()
	c.mutex.Unlock()
	if !apiequality.Semantic.DeepEqual(now.Spec.Hard, now.Status.Hard) || len(now.Status.Used) != len(now.Status.Hard) {
		c.loop.Add(key)
	}
}

// freed notes that something in a namespace is used no more.
func (c *controller) freed(namespace string) { _ = c.enqueue(namespace) }

func (c *controller) enqueue(namespace string) error {
	quotas, err := c.quotas.ResourceQuotas(namespace).List(labels.Everything())
	for _, quota := range quotas {
		c.loop.Add(worker.KeyOf(quota))
	}
	return err
}

func (c *controller) reconcile(ctx context.Context, key worker.Key) error {
	quota, err := c.quotas.ResourceQuotas(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		c.mutex.Lock()
		delete(c.written, key)
		c.mutex.Unlock()
		return nil
	}
	if err != nil {
		return err
	}
	counted, err := c.count(ctx, quota)
	if err != nil {
		return err
	}
	status := corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: counted}
	if wait := c.untilQuiet(key); wait > 0 && keepHigher(status.Used, quota.Status.Used) {
		c.loop.AddAfter(key, wait)
	}
	if apiequality.Semantic.DeepEqual(status, quota.Status) {
		return nil
	}
	changed := quota.DeepCopy()
	changed.Status = status
	_, err = c.env.Client.CoreV1().ResourceQuotas(key.Namespace).UpdateStatus(ctx, changed, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (c *controller) untilQuiet(key worker.Key) time.Duration {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return quiet - c.env.Clock.Since(c.written[key])
}

// keepHigher raises counted to what the quota says is used, and reports whether
// that makes a difference.
func keepHigher(counted, said corev1.ResourceList) bool {
	different := false
	for name, amount := range counted {
		if was, there := said[name]; there && was.Cmp(amount) > 0 {
			counted[name], different = was, true
		}
	}
	return different
}
