package plugins

import (
	v1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/scheduler/framework"
)

// NodeName rejects every node but the one that spec.nodeName names.
type NodeName struct{}

var nodeNameMismatch = framework.RejectForGood("NodeName", "node(s) didn't match the requested node name")

// Name returns the plugin's name in configurations.
func (NodeName) Name() string { return "NodeName" }

// Scope says that answers hold for a class of pods.
func (NodeName) Scope() framework.Scope { return framework.NodeScope }

// PrepareFilter implements framework.FilterPlugin.
func (NodeName) PrepareFilter(pod *framework.PodInfo, _ *framework.Snapshot) (framework.NodeFilter, *framework.Status) {
	if pod.Pod.Spec.NodeName == "" {
		return nil, nil
	}
	return nodeNameFilter(pod.Pod.Spec.NodeName), nil
}

// Wakes implements framework.Requeuer: only a new node can have the name.
func (NodeName) Wakes() []framework.Wake {
	return []framework.Wake{{On: framework.NodeAdd, Hint: func(pod *v1.Pod, _, newObj any) bool {
		node, ok := newObj.(*v1.Node)
		return ok && node.Name == pod.Spec.NodeName
	}}}
}

type nodeNameFilter string

func (f nodeNameFilter) Filter(node *framework.NodeInfo) *framework.Status {
	if node.Name() != string(f) {
		return nodeNameMismatch
	}
	return nil
}
