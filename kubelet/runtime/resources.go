package runtime

import (
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/yare-io/yare/kubelet/qos"
)

// resources converts a container's requests and limits to what the kernel enforces.
func (r *Runtime) resources(pod *v1.Pod, c *v1.Container) *runtimeapi.LinuxContainerResources {
	cpuRequest, ok := c.Resources.Requests[v1.ResourceCPU]
	if !ok {
		cpuRequest = c.Resources.Limits[v1.ResourceCPU]
	}
	out := &runtimeapi.LinuxContainerResources{
		CpuShares:          int64(qos.Shares(cpuRequest.MilliValue())),
		MemoryLimitInBytes: c.Resources.Limits.Memory().Value(),
		OomScoreAdj:        max(qos.OOMScoreAdj(pod, c, r.MemoryCapacity), r.LowestOOMScore),
	}
	if limit := c.Resources.Limits.Cpu().MilliValue(); r.CFSQuota && limit > 0 {
		out.CpuPeriod = int64(qos.QuotaPeriod)
		if r.CFSPeriod > 0 {
			out.CpuPeriod = r.CFSPeriod.Microseconds()
		}
		out.CpuQuota = qos.Quota(limit, out.CpuPeriod)
	}
	return out
}
