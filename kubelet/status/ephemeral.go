package status

import v1 "k8s.io/api/core/v1"

// ephemeral computes the statuses of ephemeral containers. They are started once, count for neither phase nor
// readiness, and keep the state they had when the runtime has lost them.
func (in *Input) ephemeral(hasInit bool) []v1.ContainerStatus {
	var statuses []v1.ContainerStatus
	for i := range in.Pod.Spec.EphemeralContainers {
		spec := (*v1.Container)(&in.Pod.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		old := find(in.Pod.Status.EphemeralContainerStatuses, spec.Name)
		if old != nil && old.ContainerID != "" && in.Runtime.Newest(spec.Name) == nil {
			statuses = append(statuses, lost(old))
			continue
		}
		s := in.container(spec, old, hasInit, false)
		s.Ready, s.Started = false, nil
		statuses = append(statuses, s)
	}
	return statuses
}

func lost(old *v1.ContainerStatus) v1.ContainerStatus {
	s := *old.DeepCopy()
	if s.State.Terminated == nil {
		s.State = v1.ContainerState{Terminated: vanished()}
	}
	return s
}
