// Package nodelifecycle watches for nodes that fall silent. It marks them and
// their pods, and taints them so that new pods stay away and, at a bounded
// rate, old ones leave. It deletes nothing: the taints are for others to act on.
package nodelifecycle

import (
	"cmp"
	"context"
	"errors"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	coordinationinformers "k8s.io/client-go/informers/coordination/v1"
	coordinationlisters "k8s.io/client-go/listers/coordination/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/retry"

	"github.com/yare-io/yare/controllers/podstatus"
	"github.com/yare-io/yare/controllers/worker"
)

// Config is the controller's patience. Zero values are Kubernetes' defaults.
type Config struct {
	// Period is how often nodes are looked at: 5 s.
	Period time.Duration
	// Grace is how long a node may be silent: 50 s; Startup, one that has never
	// reported: 60 s.
	Grace, Startup time.Duration
	// Rates of clearing nodes: 0.1, 0.01, 0.55 and 50.
	Rates Rates
}

func (c *Config) complete() {
	c.Period = cmp.Or(c.Period, 5*time.Second)
	c.Grace = cmp.Or(c.Grace, 50*time.Second)
	c.Startup = cmp.Or(c.Startup, time.Minute)
	c.Rates.Eviction = cmp.Or(c.Rates.Eviction, 0.1)
	c.Rates.Secondary = cmp.Or(c.Rates.Secondary, 0.01)
	c.Rates.Threshold = cmp.Or(c.Rates.Threshold, 0.55)
	c.Rates.LargeCluster = cmp.Or(c.Rates.LargeCluster, 50)
}

type controller struct {
	env      *worker.Env
	patience patience
	zones    *zones
	nodes    corelisters.NodeLister
	leases   coordinationlisters.LeaseLister
	pods     cache.Indexer
	// signs are of use to the periodic pass alone.
	signs map[string]*sign
}

// New makes the node lifecycle controller.
func New(env *worker.Env, config Config) (worker.Runner, error) {
	config.complete()
	nodes := env.Informers.Core().V1().Nodes()
	pods := env.Informers.Core().V1().Pods().Informer()
	if err := podstatus.AddIndexes(pods); err != nil {
		return nil, err
	}
	leases := coordinationinformers.NewLeaseInformer(env.Reader, corev1.NamespaceNodeLease, 0,
		cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	if err := leases.SetTransform(worker.Slim); err != nil {
		return nil, err
	}
	c := &controller{
		env:      env,
		patience: patience{grace: config.Grace, startup: config.Startup},
		zones:    newZones(config.Rates),
		nodes:    nodes.Lister(),
		leases:   coordinationlisters.NewLeaseLister(leases.GetIndexer()),
		pods:     pods.GetIndexer(),
		signs:    map[string]*sign{},
	}
	loop := worker.NewLoop(env, worker.Options[worker.Key]{Queue: "node_lifecycle_controller", Workers: env.Workers, Reconcile: c.reconcile})
	worker.WatchKeys[*corev1.Node](loop, nodes.Informer())
	loop.Needs(pods)
	pass := worker.Periodically(env, config.Period, c.look, nodes.Informer(), leases, pods)
	return worker.Together(worker.Informing(leases), loop, pass), nil
}

// reconcile gives the node the taints of its conditions, at once.
func (c *controller) reconcile(ctx context.Context, key worker.Key) error {
	node, err := c.nodes.Get(key.Name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return c.writeTaints(ctx, node, noScheduleTaints)
}

// look is one pass over all nodes: who has fallen silent, who is to be cleared?
func (c *controller) look(ctx context.Context) error {
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		return err
	}
	c.forget(nodes)
	var errs []error
	for i, node := range nodes {
		if nodes[i], err = c.judge(ctx, node); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, c.clear(ctx, nodes))...)
}

func (c *controller) forget(nodes []*corev1.Node) {
	present := map[string]bool{}
	for _, node := range nodes {
		present[node.Name] = true
	}
	for name := range c.signs {
		if !present[name] {
			delete(c.signs, name)
		}
	}
}

// judge looks at one node and returns it as it is afterwards.
func (c *controller) judge(ctx context.Context, node *corev1.Node) (*corev1.Node, error) {
	now := c.env.Clock.Now()
	next := nextSign(c.signs[node.Name], node, c.leaseOf(node), now)
	c.signs[node.Name] = &next
	if c.patience.silent(node, next, now) {
		doubted := node.DeepCopy()
		if doubt(doubted, now) {
			written, err := c.env.Client.CoreV1().Nodes().UpdateStatus(ctx, doubted, metav1.UpdateOptions{})
			if err != nil {
				return node, err
			}
			node = written
			c.env.Events.Eventf(reference(node), corev1.EventTypeNormal, "NodeNotReady", "Node %s status is now: %s", node.Name, "NodeNotReady")
		}
	}
	if readiness(node) == corev1.ConditionTrue {
		return node, nil
	}
	return node, c.markPods(ctx, node)
}

// reference is the node as events name it: by name, for its events must be
// found even when the kubelet, which does not know its UID, wrote them.
func reference(node *corev1.Node) *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}
}

func (c *controller) leaseOf(node *corev1.Node) *coordinationv1.Lease {
	lease, err := c.leases.Leases(corev1.NamespaceNodeLease).Get(node.Name)
	if err != nil {
		return nil
	}
	return lease
}

// markPods takes a silent node's pods out of service.
func (c *controller) markPods(ctx context.Context, node *corev1.Node) error {
	pods, err := podstatus.OnNode(c.pods, node.Name)
	if err != nil {
		return err
	}
	var errs []error
	for _, pod := range pods {
		if !podstatus.IsReady(pod) {
			continue
		}
		pod = pod.DeepCopy()
		ready := podstatus.Condition(pod, corev1.PodReady)
		ready.Status, ready.LastTransitionTime = corev1.ConditionFalse, metav1.NewTime(c.env.Clock.Now())
		_, err := c.env.Client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
		switch {
		case err == nil:
			c.env.Events.Eventf(pod, corev1.EventTypeWarning, "NodeNotReady", "Node is not ready")
		case !apierrors.IsNotFound(err):
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// clear puts NoExecute taints on nodes that are down, as fast as their zones
// allow, and takes them off those that are back.
func (c *controller) clear(ctx context.Context, nodes []*corev1.Node) error {
	now := c.env.Clock.Now()
	allDown := c.zones.adjust(nodes, now)
	var errs []error
	for _, node := range nodes {
		taints := withoutNoExecute
		if !allDown {
			down := readiness(node) != corev1.ConditionTrue
			mayAdd := down && !hasNoExecute(node) && c.zones.allow(zoneOf(node), now)
			taints = func(node *corev1.Node, now time.Time) []corev1.Taint { return noExecuteTaints(node, mayAdd, now) }
		}
		errs = append(errs, c.writeTaints(ctx, node, taints))
	}
	return errors.Join(errs...)
}

// writeTaints gives the node the taints it should have. Should the node have
// changed meanwhile, they are worked out again.
func (c *controller) writeTaints(ctx context.Context, node *corev1.Node, of func(*corev1.Node, time.Time) []corev1.Taint) error {
	api := c.env.Client.CoreV1().Nodes()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		taints := of(node, c.env.Clock.Now())
		if sameTaints(node.Spec.Taints, taints) {
			return nil
		}
		tainted := node.DeepCopy()
		tainted.Spec.Taints = taints
		_, err := api.Update(ctx, tainted, metav1.UpdateOptions{})
		if apierrors.IsConflict(err) {
			if fresh, getErr := api.Get(ctx, node.Name, metav1.GetOptions{}); getErr == nil {
				node = fresh
			}
		}
		return err
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
