package plugins

import (
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/scheduler/framework"
)

// NodePorts rejects nodes on which a host port of the pod is taken.
type NodePorts struct{}

var portsTaken = framework.Reject("NodePorts", "node(s) didn't have free ports for the requested pod ports")

// Name returns the plugin's name in configurations.
func (NodePorts) Name() string { return "NodePorts" }

// Scope says that answers hold for a class of pods.
func (NodePorts) Scope() framework.Scope { return framework.NodeScope }

// PrepareFilter implements framework.FilterPlugin.
func (NodePorts) PrepareFilter(pod *framework.PodInfo, _ *framework.Snapshot) (framework.NodeFilter, *framework.Status) {
	if len(pod.Ports) == 0 {
		return nil, nil
	}
	return portFilter(pod.Ports), nil
}

// Wakes implements framework.Requeuer: a new node, or the end of a pod that
// held a port which the waiting one wants.
func (NodePorts) Wakes() []framework.Wake {
	return []framework.Wake{{On: framework.NodeAdd}, {On: framework.AssignedPodDelete, Hint: func(pod *v1.Pod, oldObj, _ any) bool {
		gone, ok := oldObj.(*v1.Pod)
		if !ok {
			return true
		}
		freed := framework.PodHostPorts(gone)
		return slices.ContainsFunc(framework.PodHostPorts(pod), func(p framework.HostPort) bool {
			return slices.ContainsFunc(freed, func(f framework.HostPort) bool {
				return f.Port == p.Port && f.Protocol == p.Protocol
			})
		})
	}}}
}

type portFilter []framework.HostPort

func (f portFilter) Filter(node *framework.NodeInfo) *framework.Status {
	if slices.ContainsFunc(f, node.PortTaken) {
		return portsTaken
	}
	return nil
}
