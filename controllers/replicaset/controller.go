// Package replicaset keeps as many pods running as each ReplicaSet wants. The
// decisions are in plan.go and are pure; this file turns events into keys and
// decisions into calls. It knows nothing of deployments.
package replicaset

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

	"github.com/yare-io/yare/controllers/expectations"
	"github.com/yare-io/yare/controllers/ownership"
	"github.com/yare-io/yare/controllers/podstatus"
	"github.com/yare-io/yare/controllers/worker"
)

// Kind is what the controller owns pods as.
var Kind = appsv1.SchemeGroupVersion.WithKind("ReplicaSet")

type controller struct {
	env      *worker.Env
	loop     *worker.Loop[worker.Key]
	sets     appslisters.ReplicaSetLister
	pods     cache.Indexer
	expected *expectations.Set[worker.Key]
}

// New makes the ReplicaSet controller.
func New(env *worker.Env) (worker.Runner, error) {
	sets := env.Informers.Apps().V1().ReplicaSets()
	pods := env.Informers.Core().V1().Pods().Informer()
	if err := podstatus.AddIndexes(pods); err != nil {
		return nil, err
	}
	c := &controller{
		env:      env,
		sets:     sets.Lister(),
		pods:     pods.GetIndexer(),
		expected: expectations.New[worker.Key](env.Clock),
	}
	c.loop = worker.NewLoop(env, worker.Options[worker.Key]{Queue: "replicaset", Workers: env.Workers, Reconcile: c.reconcile})
	worker.Watch(c.loop, sets.Informer(), c.setChanged)
	worker.Watch(c.loop, pods, c.podChanged)
	return c.loop, nil
}

func (c *controller) setChanged(old, now *appsv1.ReplicaSet) {
	if now == nil || old != nil && old.UID != now.UID {
		c.expected.Forget(worker.KeyOf(old))
	}
	c.loop.Add(worker.KeyOf(worker.Latest(old, now)))
}

func (c *controller) podChanged(old, now *corev1.Pod) {
	if old != nil && now != nil && old.ResourceVersion == now.ResourceVersion {
		return
	}
	pod := worker.Latest(old, now)
	owner := metav1.GetControllerOfNoCopy(pod)
	c.observe(old, now, owner)
	if old != nil && now != nil {
		if before := metav1.GetControllerOfNoCopy(old); before != nil && (owner == nil || before.UID != owner.UID) {
			c.addOwner(old.Namespace, before)
		}
	}
	switch {
	case owner != nil:
		c.addOwner(pod.Namespace, owner)
	case now != nil && (old == nil || !equality.Semantic.DeepEqual(old.Labels, now.Labels) || metav1.GetControllerOfNoCopy(old) != nil):
		c.addMatching(now)
	}
}

// observe closes the expectations that the change fulfils. A pod that starts to
// terminate counts as deleted.
func (c *controller) observe(old, now *corev1.Pod, owner *metav1.OwnerReference) {
	if owner == nil || owner.Kind != Kind.Kind {
		return
	}
	pod := worker.Latest(old, now)
	key := worker.Key{Namespace: pod.Namespace, Name: owner.Name}
	switch {
	case now == nil || now.DeletionTimestamp != nil:
		c.expected.Deleted(key, pod.UID)
	case old == nil:
		c.expected.Created(key)
	}
}

func (c *controller) addOwner(namespace string, owner *metav1.OwnerReference) {
	if owner.Kind == Kind.Kind {
		c.loop.Add(worker.Key{Namespace: namespace, Name: owner.Name})
	}
}

// addMatching wakes every set that might adopt the orphan.
func (c *controller) addMatching(pod *corev1.Pod) {
	sets, err := c.sets.ReplicaSets(pod.Namespace).List(labels.Everything())
	if err != nil {
		return
	}
	for _, set := range sets {
		selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
		if err == nil && !selector.Empty() && selector.Matches(labels.Set(pod.Labels)) {
			c.loop.Add(worker.KeyOf(set))
		}
	}
}

func (c *controller) reconcile(ctx context.Context, key worker.Key) error {
	set, err := c.sets.ReplicaSets(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		c.expected.Forget(key)
		return nil
	}
	if err != nil {
		return err
	}
	settled := c.expected.Satisfied(key)
	pods, err := c.claim(ctx, set)
	if err != nil {
		return err
	}
	var failed *failure
	var manageErr error
	if settled && set.DeletionTimestamp == nil {
		failed, manageErr = c.manage(ctx, set, pods)
	}
	now := c.env.Clock.Now()
	if err := c.writeStatus(ctx, set, calculateStatus(set, pods, failed, now)); err != nil {
		return err
	}
	if wait := nextAvailable(set, pods, now); wait > 0 {
		c.loop.AddAfter(key, wait)
	}
	return manageErr
}

func (c *controller) claim(ctx context.Context, set *appsv1.ReplicaSet) ([]*corev1.Pod, error) {
	selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	if err != nil {
		return nil, fmt.Errorf("replica set selector: %w", err)
	}
	candidates, err := podstatus.OwnedOrOrphaned(c.pods, set.Namespace, set.UID)
	if err != nil {
		return nil, err
	}
	pods := c.env.Client.CoreV1().Pods(set.Namespace)
	claimer := ownership.Claimer[*corev1.Pod]{
		Owner: set,
		Kind:  Kind,
		Fresh: func(ctx context.Context) (metav1.Object, error) {
			return c.env.Client.AppsV1().ReplicaSets(set.Namespace).Get(ctx, set.Name, metav1.GetOptions{})
		},
		Patch: func(ctx context.Context, name string, patch []byte) error {
			_, err := pods.Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
			return err
		},
	}
	return claimer.Claim(ctx, selector, withoutTerminal(candidates))
}

func withoutTerminal(pods []*corev1.Pod) []*corev1.Pod {
	var alive []*corev1.Pod
	for _, pod := range pods {
		if !podstatus.IsTerminal(pod) {
			alive = append(alive, pod)
		}
	}
	return alive
}

// manage carries out the plan. The failure is for the set's status, the error
// for the retry; a namespace on its way out is neither.
func (c *controller) manage(ctx context.Context, set *appsv1.ReplicaSet, pods []*corev1.Pod) (*failure, error) {
	active := podstatus.Active(pods)
	create, doomed := plan(set, active, c.related(set, active), c.env.Clock.Now())
	if create > 0 {
		err := c.createPods(ctx, set, create)
		if err == nil || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			return nil, nil
		}
		return &failure{reason: "FailedCreate", message: err.Error()}, err
	}
	if len(doomed) > 0 {
		if err := c.deletePods(ctx, set, doomed); err != nil {
			return &failure{reason: "FailedDelete", message: err.Error()}, err
		}
	}
	return nil, nil
}

// related returns the pods of all sets that have the same owner as set: for a
// deployment, the pods of its other revisions too.
func (c *controller) related(set *appsv1.ReplicaSet, own []*corev1.Pod) []*corev1.Pod {
	owner := metav1.GetControllerOfNoCopy(set)
	if owner == nil {
		return own
	}
	sets, err := c.sets.ReplicaSets(set.Namespace).List(labels.Everything())
	if err != nil {
		return own
	}
	var related []*corev1.Pod
	for _, sibling := range sets {
		if other := metav1.GetControllerOfNoCopy(sibling); other == nil || other.UID != owner.UID {
			continue
		}
		pods, err := podstatus.Owned(c.pods, sibling.UID)
		if err != nil {
			return own
		}
		related = append(related, pods...)
	}
	return related
}

// writeStatus writes the status if it differs, and once more on top of the
// newest object if someone else wrote in between.
func (c *controller) writeStatus(ctx context.Context, set *appsv1.ReplicaSet, status appsv1.ReplicaSetStatus) error {
	if equality.Semantic.DeepEqual(set.Status, status) {
		return nil
	}
	sets := c.env.Client.AppsV1().ReplicaSets(set.Namespace)
	updated := set.DeepCopy()
	updated.Status = status
	_, err := sets.UpdateStatus(ctx, updated, metav1.UpdateOptions{})
	if !apierrors.IsConflict(err) {
		return ignoreGone(err)
	}
	fresh, err := sets.Get(ctx, set.Name, metav1.GetOptions{})
	if err != nil || fresh.UID != set.UID {
		return ignoreGone(err)
	}
	fresh.Status = status
	_, err = sets.UpdateStatus(ctx, fresh, metav1.UpdateOptions{})
	return ignoreGone(err)
}

func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
