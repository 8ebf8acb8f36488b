package scheduler

import (
	"context"

	"github.com/yare-io/yare/scheduler/framework"
)

// preempt returns the node that the pod is promised.
func (s *Scheduler) preempt(_ context.Context, _ *profile, pod *framework.PodInfo, _ *Diagnosis, _ *framework.Snapshot) string {
	return s.nominated.Node(pod.Pod.UID)
}
