package plugins

import (
	v1 "k8s.io/api/core/v1"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/klog/v2"

	"github.com/yare-io/yare/scheduler/framework"
)

// TaintToleration rejects nodes with NoSchedule or NoExecute taints that the
// pod does not tolerate, and prefers nodes with few such PreferNoSchedule taints.
type TaintToleration struct{}

var untoleratedTaint = framework.RejectForGood("TaintToleration", "node(s) had untolerated taint(s)")

// Name returns the plugin's name in configurations.
func (TaintToleration) Name() string { return "TaintToleration" }

// Scope says that answers hold for a class of pods.
func (TaintToleration) Scope() framework.Scope { return framework.NodeScope }

// PrepareFilter implements framework.FilterPlugin.
func (TaintToleration) PrepareFilter(pod *framework.PodInfo, _ *framework.Snapshot) (framework.NodeFilter, *framework.Status) {
	return taintFilter(pod.Pod.Spec.Tolerations), nil
}

// PrepareScore implements framework.ScorePlugin.
func (TaintToleration) PrepareScore(pod *framework.PodInfo, _ *framework.Snapshot, _ []*framework.NodeInfo) (framework.NodeScorer, *framework.Status) {
	var scorer taintScorer
	for _, toleration := range pod.Pod.Spec.Tolerations {
		if toleration.Effect == "" || toleration.Effect == v1.TaintEffectPreferNoSchedule {
			scorer = append(scorer, toleration)
		}
	}
	return scorer, nil
}

// Wakes implements framework.Requeuer.
func (TaintToleration) Wakes() []framework.Wake {
	tolerated := func(pod *v1.Pod, _, newObj any) bool {
		node, ok := newObj.(*v1.Node)
		return ok && tolerates(pod.Spec.Tolerations, node.Spec.Taints)
	}
	return []framework.Wake{
		{On: framework.NodeAdd | framework.NodeTaints, Hint: tolerated},
		{On: framework.PodUpdate},
	}
}

func tolerates(tolerations []v1.Toleration, taints []v1.Taint) bool {
	for i := range taints {
		taint := &taints[i]
		if taint.Effect != v1.TaintEffectNoSchedule && taint.Effect != v1.TaintEffectNoExecute {
			continue
		}
		if !corev1helpers.TolerationsTolerateTaint(klog.Background(), tolerations, taint, true) {
			return false
		}
	}
	return true
}

type taintFilter []v1.Toleration

func (f taintFilter) Filter(node *framework.NodeInfo) *framework.Status {
	if !tolerates(f, node.Node.Spec.Taints) {
		return untoleratedTaint
	}
	return nil
}

// taintScorer counts the soft taints that are not tolerated.
type taintScorer []v1.Toleration

func (s taintScorer) Score(node *framework.NodeInfo) int64 {
	var count int64
	for i := range node.Node.Spec.Taints {
		taint := &node.Node.Spec.Taints[i]
		if taint.Effect != v1.TaintEffectPreferNoSchedule {
			continue
		}
		if !corev1helpers.TolerationsTolerateTaint(klog.Background(), s, taint, true) {
			count++
		}
	}
	return count
}

func (taintScorer) Normalize(scores []int64, _ []*framework.NodeInfo) { scaleToMax(scores, true) }
