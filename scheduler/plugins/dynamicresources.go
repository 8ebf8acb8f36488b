package plugins

import (
	"github.com/yare-io/yare/scheduler/framework"
)

// DynamicResources rejects pods with resource claims, which nothing here can
// allocate: to start them without their devices would be worse.
type DynamicResources struct{}

// Name returns the plugin's name in configurations.
func (DynamicResources) Name() string { return "DynamicResources" }

// Scope says that it is asked for every pod.
func (DynamicResources) Scope() framework.Scope { return framework.ClusterScope }

// PrepareFilter implements framework.FilterPlugin.
func (p DynamicResources) PrepareFilter(pod *framework.PodInfo, _ *framework.Snapshot) (framework.NodeFilter, *framework.Status) {
	if len(pod.Pod.Spec.ResourceClaims) == 0 {
		return nil, nil
	}
	return nil, framework.RejectForGood(p.Name(), "dynamic resource allocation is not supported")
}

// Wakes implements framework.Requeuer: nothing helps but the pod's own change.
func (DynamicResources) Wakes() []framework.Wake { return []framework.Wake{{On: framework.PodUpdate}} }
