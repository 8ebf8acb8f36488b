package plugins

import (
	v1 "k8s.io/api/core/v1"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/klog/v2"

	"github.com/yare-io/yare/scheduler/framework"
)

// NodeUnschedulable rejects cordoned nodes for pods that do not tolerate the
// taint that stands for it.
type NodeUnschedulable struct{}

var (
	nodeUnschedulable  = framework.RejectForGood("NodeUnschedulable", "node(s) were unschedulable")
	unschedulableTaint = v1.Taint{Key: v1.TaintNodeUnschedulable, Effect: v1.TaintEffectNoSchedule}
)

// Name returns the plugin's name in configurations.
func (NodeUnschedulable) Name() string { return "NodeUnschedulable" }

// Scope says that answers hold for a class of pods.
func (NodeUnschedulable) Scope() framework.Scope { return framework.NodeScope }

// PrepareFilter implements framework.FilterPlugin.
func (NodeUnschedulable) PrepareFilter(pod *framework.PodInfo, _ *framework.Snapshot) (framework.NodeFilter, *framework.Status) {
	if corev1helpers.TolerationsTolerateTaint(klog.Background(), pod.Pod.Spec.Tolerations, &unschedulableTaint, true) {
		return nil, nil
	}
	return cordonFilter{}, nil
}

// Wakes implements framework.Requeuer.
func (NodeUnschedulable) Wakes() []framework.Wake {
	return []framework.Wake{{On: framework.NodeAdd | framework.NodeUnschedulable, Hint: func(_ *v1.Pod, _, newObj any) bool {
		node, ok := newObj.(*v1.Node)
		return ok && !node.Spec.Unschedulable
	}}}
}

type cordonFilter struct{}

func (cordonFilter) Filter(node *framework.NodeInfo) *framework.Status {
	if node.Node.Spec.Unschedulable {
		return nodeUnschedulable
	}
	return nil
}
