// Package tainteviction deletes pods from nodes with NoExecute taints: at once
// those that do not tolerate them, and those that tolerate them for a time when
// that is over. When a taint goes, so does the sentence.
package tainteviction

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/yare-io/yare/controllers/evict"
	"github.com/yare-io/yare/controllers/podstatus"
	"github.com/yare-io/yare/controllers/worker"
)

type controller struct {
	env   *worker.Env
	loop  *worker.Loop[worker.Key]
	pods  corelisters.PodLister
	index cache.Indexer
	nodes corelisters.NodeLister

	mu sync.Mutex
	// sentenced are the pods that were told to go later, and since when.
	sentenced map[types.UID]time.Time
}

// New makes the taint eviction controller.
func New(env *worker.Env) (worker.Runner, error) {
	core := env.Informers.Core().V1()
	if err := podstatus.AddIndexes(core.Pods().Informer()); err != nil {
		return nil, err
	}
	c := &controller{
		env: env, pods: core.Pods().Lister(), index: core.Pods().Informer().GetIndexer(),
		nodes: core.Nodes().Lister(), sentenced: map[types.UID]time.Time{},
	}
	c.loop = worker.NewLoop(env, worker.Options[worker.Key]{Queue: "noexec_taint_pod", Workers: env.Workers, Reconcile: c.reconcile})
	worker.Watch(c.loop, core.Pods().Informer(), c.podChanged)
	worker.Watch(c.loop, core.Nodes().Informer(), c.nodeChanged)
	return c.loop, nil
}

func (c *controller) podChanged(old, now *corev1.Pod) {
	if now == nil {
		c.pardon(old.UID)
		return
	}
	if now.Spec.NodeName == "" {
		return
	}
	if old == nil || old.Spec.NodeName != now.Spec.NodeName || !equality.Semantic.DeepEqual(old.Spec.Tolerations, now.Spec.Tolerations) {
		c.loop.Add(worker.KeyOf(now))
	}
}

func (c *controller) nodeChanged(old, now *corev1.Node) {
	if now == nil || old != nil && equality.Semantic.DeepEqual(noExecute(old), noExecute(now)) {
		return
	}
	if old == nil && len(noExecute(now)) == 0 {
		return
	}
	pods, err := podstatus.OnNode(c.index, now.Name)
	if err != nil {
		return
	}
	for _, pod := range pods {
		c.loop.Add(worker.KeyOf(pod))
	}
}

func noExecute(node *corev1.Node) []corev1.Taint {
	var taints []corev1.Taint
	for _, taint := range node.Spec.Taints {
		if taint.Effect == corev1.TaintEffectNoExecute {
			taints = append(taints, taint)
		}
	}
	return taints
}

// tolerance is how long a pod stays on a node with these taints: for ever, or
// for the shortest of the times it tolerates one of them. A taint that nothing
// tolerates means not at all.
func tolerance(taints []corev1.Taint, tolerations []corev1.Toleration) (stay time.Duration, forever bool) {
	forever = true
	for i := range taints {
		tolerated := false
		for j := range tolerations {
			if !tolerations[j].ToleratesTaint(klog.Background(), &taints[i], true) {
				continue
			}
			tolerated = true
			if seconds := tolerations[j].TolerationSeconds; seconds != nil {
				limit := time.Duration(max(0, *seconds)) * time.Second
				if forever || limit < stay {
					stay, forever = limit, false
				}
			}
		}
		if !tolerated {
			return 0, false
		}
	}
	return stay, forever
}

func (c *controller) reconcile(ctx context.Context, key worker.Key) error {
	pod, err := c.pods.Pods(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) || err == nil && pod.DeletionTimestamp != nil {
		return nil
	}
	if err != nil {
		return err
	}
	node, err := c.nodes.Get(pod.Spec.NodeName)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	stay, forever := tolerance(noExecute(node), pod.Spec.Tolerations)
	if forever {
		if c.pardon(pod.UID) {
			c.env.Events.Eventf(pod, corev1.EventTypeNormal, "TaintManagerEviction", "Cancelling deletion of Pod %s", key)
		}
		return nil
	}
	now := c.env.Clock.Now()
	if left := c.sentence(pod.UID, now).Add(stay).Sub(now); left > 0 {
		c.loop.AddAfter(key, left)
		return nil
	}
	c.env.Events.Eventf(pod, corev1.EventTypeNormal, "TaintManagerEviction", "Marking for deletion Pod %s", key)
	return evict.Delete(ctx, c.env.Client, pod, evict.Why{
		Reason: "DeletionByTaintManager", Message: "Taint manager: deleting due to NoExecute taint",
	}, nil, metav1.NewTime(now))
}

// sentence notes that the pod has to go, and returns since when it has.
func (c *controller) sentence(pod types.UID, now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	since, ok := c.sentenced[pod]
	if !ok {
		since = now
		c.sentenced[pod] = now
	}
	return since
}

// pardon notes that the pod may stay, and says whether it had to go before.
func (c *controller) pardon(pod types.UID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, sentenced := c.sentenced[pod]
	delete(c.sentenced, pod)
	return sentenced
}
