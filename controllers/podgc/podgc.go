// Package podgc removes pods that nobody else will: ended ones beyond a number,
// those of nodes that are gone, those deleted before they had a node, and those
// that cannot end because their node is out of service.
package podgc

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/yare-io/yare/controllers/evict"
	"github.com/yare-io/yare/controllers/podstatus"
	"github.com/yare-io/yare/controllers/worker"
)

const (
	period = 20 * time.Second
	// quarantine is how long a node must be unknown before its pods count as
	// orphaned: the caches of pods and nodes are not in step.
	quarantine       = 40 * time.Second
	defaultThreshold = 12500
)

type controller struct {
	env       *worker.Env
	threshold int
	pods      corelisters.PodLister
	nodes     corelisters.NodeLister
	// missing are nodes that pods name and the cache does not know, since when.
	missing map[string]time.Time
}

// New makes the pod garbage collector. threshold is how many ended pods it
// leaves alone: 0 means 12500, negative all.
func New(env *worker.Env, threshold int) (worker.Runner, error) {
	core := env.Informers.Core().V1()
	c := &controller{
		env: env, threshold: cmp.Or(threshold, defaultThreshold),
		pods: core.Pods().Lister(), nodes: core.Nodes().Lister(), missing: map[string]time.Time{},
	}
	return worker.Periodically(env, period, c.collect, core.Pods().Informer(), core.Nodes().Informer()), nil
}

func (c *controller) collect(ctx context.Context) error {
	pods, err := c.pods.List(labels.Everything())
	if err != nil {
		return err
	}
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		return err
	}
	known := map[string]*corev1.Node{}
	for _, node := range nodes {
		known[node.Name] = node
	}
	var errs []error
	for _, pod := range surplus(pods, c.threshold) {
		errs = append(errs, c.delete(ctx, pod, nil))
	}
	gone, err := c.goneNodes(ctx, pods, known)
	errs = append(errs, err)
	for _, pod := range pods {
		if why := verdict(pod, known, gone); why != nil {
			errs = append(errs, c.delete(ctx, pod, why))
		}
	}
	return errors.Join(errs...)
}

// surplus returns the ended pods beyond the threshold: evicted ones first, then
// the oldest.
func surplus(pods []*corev1.Pod, threshold int) []*corev1.Pod {
	if threshold < 0 {
		return nil
	}
	var ended []*corev1.Pod
	for _, pod := range pods {
		if podstatus.IsTerminal(pod) {
			ended = append(ended, pod)
		}
	}
	evicted := func(pod *corev1.Pod) int {
		if pod.Status.Phase == corev1.PodFailed && pod.Status.Reason == "Evicted" {
			return 0
		}
		return 1
	}
	slices.SortFunc(ended, func(a, b *corev1.Pod) int {
		return cmp.Or(cmp.Compare(evicted(a), evicted(b)), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return ended[:max(0, len(ended)-threshold)]
}

// noReason is for pods that need no explanation.
var noReason = &evict.Why{}

// verdict says why the pod has to go, nil if it has not to.
func verdict(pod *corev1.Pod, known map[string]*corev1.Node, gone map[string]bool) *evict.Why {
	node := pod.Spec.NodeName
	switch {
	case node != "" && gone[node]:
		return &evict.Why{Reason: "DeletionByPodGC", Message: "PodGC: node no longer exists", Fail: true}
	case pod.DeletionTimestamp == nil:
		return nil
	case node == "":
		return noReason
	case outOfService(known[node]):
		return &evict.Why{Reason: "DeletionByPodGC", Message: "PodGC: node is out-of-service", Fail: true}
	}
	return nil
}

// outOfService says whether an administrator has declared a node that is not
// ready to be off.
func outOfService(node *corev1.Node) bool {
	if node == nil {
		return false
	}
	tainted := slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeOutOfService })
	ready := slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
	return tainted && !ready
}

// goneNodes returns the nodes that have been unknown for the quarantine, and of
// which the API confirms that they do not exist.
func (c *controller) goneNodes(ctx context.Context, pods []*corev1.Pod, known map[string]*corev1.Node) (map[string]bool, error) {
	now := c.env.Clock.Now()
	missing := map[string]time.Time{}
	for _, pod := range pods {
		name := pod.Spec.NodeName
		if name == "" || known[name] != nil {
			continue
		}
		missing[name] = now
		if since, ok := c.missing[name]; ok {
			missing[name] = since
		}
	}
	c.missing = missing
	gone := map[string]bool{}
	for name, since := range missing {
		if now.Sub(since) < quarantine {
			continue
		}
		_, err := c.env.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			gone[name] = true
		} else if err != nil {
			return gone, err
		}
	}
	return gone, nil
}

// delete removes the pod at once: there is no kubelet to end it.
func (c *controller) delete(ctx context.Context, pod *corev1.Pod, why *evict.Why) error {
	now := int64(0)
	if why != nil && why.Reason != "" {
		return evict.Delete(ctx, c.env.Client, pod, *why, &now, metav1.NewTime(c.env.Clock.Now()))
	}
	err := c.env.Client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(pod.UID)),
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
