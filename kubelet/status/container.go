package status

import (
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/plan"
)

func (in *Input) containers(specs []v1.Container, old []v1.ContainerStatus, hasInit, init bool) []v1.ContainerStatus {
	if len(specs) == 0 {
		return nil
	}
	statuses := make([]v1.ContainerStatus, 0, len(specs))
	for i := range specs {
		statuses = append(statuses, in.container(&specs[i], find(old, specs[i].Name), hasInit, init))
	}
	return statuses
}

func find(statuses []v1.ContainerStatus, name string) *v1.ContainerStatus {
	for i := range statuses {
		if statuses[i].Name == name {
			return &statuses[i]
		}
	}
	return nil
}

// container computes the status of one container from its latest instances.
func (in *Input) container(spec *v1.Container, old *v1.ContainerStatus, hasInit, init bool) v1.ContainerStatus {
	newest, previous := in.instances(spec.Name)
	if newest == nil {
		return in.absent(spec, old, hasInit)
	}
	s := v1.ContainerStatus{
		Name:         spec.Name,
		Image:        newest.Image,
		ImageID:      newest.ImageRef,
		ContainerID:  in.RuntimeName + "://" + newest.ID,
		RestartCount: int32(newest.RestartCount),
		VolumeMounts: volumeMounts(spec),
	}
	if s.Image == "" {
		s.Image = spec.Image
	}
	if previous != nil {
		s.LastTerminationState.Terminated = in.terminated(previous)
	}
	in.state(&s, spec, newest, hasInit)
	started := newest.Running() && in.Started[newest.ID]
	s.Started = &started
	s.Ready = newest.Running() && in.Ready[newest.ID]
	if init && !plan.IsSidecar(spec) {
		s.Ready = newest.Exited() && newest.ExitCode == 0
	}
	if newest.Running() {
		s.AllocatedResources = spec.Resources.Requests.DeepCopy()
		s.Resources = spec.Resources.DeepCopy()
		s.User = user(newest)
	}
	return s
}

// instances returns the newest instance of the container and the newest dead one before it.
func (in *Input) instances(name string) (newest, previous *cri.Container) {
	for _, c := range in.Runtime.Containers {
		switch {
		case c.Name != name:
		case newest == nil:
			newest = c
		case c.Exited():
			return newest, c
		}
	}
	return newest, nil
}

func (in *Input) state(s *v1.ContainerStatus, spec *v1.Container, c *cri.Container, hasInit bool) {
	waiting, held := in.Waiting[spec.Name]
	switch {
	case c.Running():
		s.State.Running = &v1.ContainerStateRunning{StartedAt: metav1.NewTime(c.StartedAt)}
	case c.Exited() && held && !in.Stopped:
		s.State.Waiting = &v1.ContainerStateWaiting{Reason: waiting.Reason, Message: waiting.Message}
		s.LastTerminationState.Terminated = in.terminated(c)
	case c.Exited():
		s.State.Terminated = in.terminated(c)
	case c.State == runtimeapi.ContainerState_CONTAINER_UNKNOWN:
		s.State.Terminated = &v1.ContainerStateTerminated{
			Reason: "ContainerStatusUnknown", ExitCode: 137, ContainerID: s.ContainerID,
			Message: "The container could not be located when the pod was terminated",
		}
	default:
		s.State.Waiting = in.waiting(spec.Name, hasInit)
	}
}

func (in *Input) waiting(name string, hasInit bool) *v1.ContainerStateWaiting {
	if w, ok := in.Waiting[name]; ok {
		return &v1.ContainerStateWaiting{Reason: w.Reason, Message: w.Message}
	}
	if hasInit {
		return &v1.ContainerStateWaiting{Reason: "PodInitializing"}
	}
	return &v1.ContainerStateWaiting{Reason: "ContainerCreating"}
}

// absent is the status of a container of which the runtime has no trace.
func (in *Input) absent(spec *v1.Container, old *v1.ContainerStatus, hasInit bool) v1.ContainerStatus {
	s := v1.ContainerStatus{Name: spec.Name, Image: spec.Image, Started: new(false), VolumeMounts: volumeMounts(spec)}
	s.State.Waiting = in.waiting(spec.Name, hasInit)
	if old == nil {
		return s
	}
	s.RestartCount, s.LastTerminationState = old.RestartCount, old.LastTerminationState
	if old.State.Terminated != nil {
		kept := *old.DeepCopy()
		return kept
	}
	if old.State.Running != nil {
		s.RestartCount++
		s.LastTerminationState = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
			Reason:      "ContainerStatusUnknown",
			Message:     "The container could not be located when the pod was deleted.  The container used to be Running",
			ExitCode:    137,
			ContainerID: old.ContainerID,
		}}
	}
	return s
}

func (in *Input) terminated(c *cri.Container) *v1.ContainerStateTerminated {
	t := &v1.ContainerStateTerminated{
		ExitCode:    c.ExitCode,
		Reason:      c.Reason,
		Message:     c.Message,
		StartedAt:   metav1.NewTime(c.StartedAt),
		FinishedAt:  metav1.NewTime(c.FinishedAt),
		ContainerID: in.RuntimeName + "://" + c.ID,
	}
	if t.Reason == "" && c.ExitCode == 0 {
		t.Reason = "Completed"
	} else if t.Reason == "" {
		t.Reason = "Error"
	}
	if in.Message != nil {
		if text := in.Message(c); text != "" {
			t.Message = text
		}
	}
	return t
}

func volumeMounts(spec *v1.Container) []v1.VolumeMountStatus {
	var mounts []v1.VolumeMountStatus
	for _, m := range spec.VolumeMounts {
		status := v1.VolumeMountStatus{Name: m.Name, MountPath: m.MountPath, ReadOnly: m.ReadOnly}
		if m.ReadOnly {
			mode := v1.RecursiveReadOnlyDisabled
			if m.RecursiveReadOnly != nil {
				mode = *m.RecursiveReadOnly
			}
			status.RecursiveReadOnly = &mode
		}
		mounts = append(mounts, status)
	}
	return mounts
}

func user(c *cri.Container) *v1.ContainerUser {
	linux := c.User.GetLinux()
	if linux == nil {
		return nil
	}
	return &v1.ContainerUser{Linux: &v1.LinuxContainerUser{
		UID: linux.Uid, GID: linux.Gid, SupplementalGroups: linux.SupplementalGroups,
	}}
}
