package plugins

import (
	v1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/scheduler/framework"
)

// SchedulingGates keeps pods out of the queue while they have scheduling gates.
type SchedulingGates struct{}

// Name returns the plugin's name in configurations.
func (SchedulingGates) Name() string { return "SchedulingGates" }

// Admit implements framework.Gate.
func (p SchedulingGates) Admit(pod *v1.Pod) *framework.Status {
	if len(pod.Spec.SchedulingGates) == 0 {
		return nil
	}
	reason := "waiting for scheduling gates:"
	for _, gate := range pod.Spec.SchedulingGates {
		reason += " " + gate.Name
	}
	return framework.RejectForGood(p.Name(), reason)
}

// Wakes implements framework.Requeuer: only the pod's own change opens a gate.
func (SchedulingGates) Wakes() []framework.Wake { return []framework.Wake{{On: framework.PodUpdate}} }
