// Package deployment moves each Deployment's pods to its template through
// ReplicaSets, one for each revision. Decide is pure and plans one step; this
// file turns events into keys and plans into calls. Pods are none of its
// business, but for Recreate's question whether old ones still run.
package deployment

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	appslisters "k8s.io/client-go/listers/apps/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/controllers/ownership"
	"github.com/yare-io/yare/controllers/podstatus"
	"github.com/yare-io/yare/controllers/worker"
)

// Kind is what the controller owns replica sets as.
var Kind = appsv1.SchemeGroupVersion.WithKind("Deployment")

type controller struct {
	env         *worker.Env
	loop        *worker.Loop[worker.Key]
	deployments appslisters.DeploymentLister
	sets        appslisters.ReplicaSetLister
	pods        cache.Indexer
}

// New makes the Deployment controller.
func New(env *worker.Env) (worker.Runner, error) {
	deployments := env.Informers.Apps().V1().Deployments()
	sets := env.Informers.Apps().V1().ReplicaSets()
	pods := env.Informers.Core().V1().Pods().Informer()
	if err := podstatus.AddIndexes(pods); err != nil {
		return nil, err
	}
	c := &controller{env: env, deployments: deployments.Lister(), sets: sets.Lister(), pods: pods.GetIndexer()}
	c.loop = worker.NewLoop(env, worker.Options[worker.Key]{Queue: "deployment", Workers: env.Workers, Reconcile: c.reconcile})
	worker.WatchKeys[*appsv1.Deployment](c.loop, deployments.Informer())
	worker.Watch(c.loop, sets.Informer(), c.setChanged)
	worker.Watch(c.loop, pods, c.podChanged)
	return c.loop, nil
}

func (c *controller) setChanged(old, now *appsv1.ReplicaSet) {
	if old != nil && now != nil && old.ResourceVersion == now.ResourceVersion {
		return
	}
	if old != nil {
		c.addOwner(old)
	}
	if now == nil {
		return
	}
	c.addOwner(now)
	orphaned := metav1.GetControllerOfNoCopy(now) == nil
	if orphaned && (old == nil || metav1.GetControllerOfNoCopy(old) != nil || !equality.Semantic.DeepEqual(old.Labels, now.Labels)) {
		c.addMatching(now)
	}
}

func (c *controller) addOwner(set *appsv1.ReplicaSet) {
	if owner := metav1.GetControllerOfNoCopy(set); owner != nil && owner.Kind == Kind.Kind {
		c.loop.Add(worker.Key{Namespace: set.Namespace, Name: owner.Name})
	}
}

func (c *controller) addMatching(set *appsv1.ReplicaSet) {
	deployments, err := c.deployments.Deployments(set.Namespace).List(labels.Everything())
	if err != nil {
		return
	}
	for _, d := range deployments {
		selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
		if err == nil && !selector.Empty() && selector.Matches(labels.Set(set.Labels)) {
			c.loop.Add(worker.KeyOf(d))
		}
	}
}

// podChanged wakes a Recreate deployment when a pod has gone or ended: it may
// have been the last of the old ones.
func (c *controller) podChanged(old, now *corev1.Pod) {
	if now != nil && (old == nil || podstatus.IsTerminal(old) || !podstatus.IsTerminal(now)) {
		return
	}
	owner := metav1.GetControllerOfNoCopy(old)
	if owner == nil || owner.Kind != "ReplicaSet" {
		return
	}
	set, err := c.sets.ReplicaSets(old.Namespace).Get(owner.Name)
	if err != nil {
		return
	}
	above := metav1.GetControllerOfNoCopy(set)
	if above == nil {
		return
	}
	d, err := c.deployments.Deployments(old.Namespace).Get(above.Name)
	if err == nil && !isRollingUpdate(d) {
		c.loop.Add(worker.KeyOf(d))
	}
}

func (c *controller) reconcile(ctx context.Context, key worker.Key) error {
	d, err := c.deployments.Deployments(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if equality.Semantic.DeepEqual(d.Spec.Selector, &metav1.LabelSelector{}) {
		return c.refuse(ctx, d)
	}
	sets, err := c.claim(ctx, d)
	if err != nil {
		return err
	}
	return c.apply(ctx, d, Decide(Snapshot{
		Deployment:     d,
		Sets:           sets,
		OldPodsRunning: func(newest *appsv1.ReplicaSet) bool { return c.oldPodsRunning(sets, newest) },
		Now:            c.env.Clock.Now(),
	}))
}

// refuse tells that a deployment would take every pod for its own.
func (c *controller) refuse(ctx context.Context, d *appsv1.Deployment) error {
	c.env.Events.Event(d, corev1.EventTypeWarning, "SelectingAll", "This deployment is selecting all pods. A non-empty selector is required.")
	if d.Status.ObservedGeneration >= d.Generation {
		return nil
	}
	d = d.DeepCopy()
	d.Status.ObservedGeneration = d.Generation
	_, err := c.env.Client.AppsV1().Deployments(d.Namespace).UpdateStatus(ctx, d, metav1.UpdateOptions{})
	return err
}

func (c *controller) claim(ctx context.Context, d *appsv1.Deployment) ([]*appsv1.ReplicaSet, error) {
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return nil, fmt.Errorf("deployment selector: %w", err)
	}
	candidates, err := c.sets.ReplicaSets(d.Namespace).List(labels.Everything())
	if err != nil {
		return nil, err
	}
	claimer := ownership.Claimer[*appsv1.ReplicaSet]{
		Owner: d,
		Kind:  Kind,
		Fresh: func(ctx context.Context) (metav1.Object, error) {
			return c.env.Client.AppsV1().Deployments(d.Namespace).Get(ctx, d.Name, metav1.GetOptions{})
		},
		Patch: func(ctx context.Context, name string, patch []byte) error {
			_, err := c.env.Client.AppsV1().ReplicaSets(d.Namespace).Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
			return err
		},
	}
	return claimer.Claim(ctx, selector, candidates)
}

func (c *controller) oldPodsRunning(sets []*appsv1.ReplicaSet, newest *appsv1.ReplicaSet) bool {
	for _, set := range sets {
		if newest != nil && set.UID == newest.UID {
			continue
		}
		pods, err := podstatus.Owned(c.pods, set.UID)
		if err != nil {
			return true
		}
		for _, pod := range pods {
			if !podstatus.IsTerminal(pod) {
				return true
			}
		}
	}
	return false
}
