package kubelet

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/node"
)

// Summary implements server.Backend: what the runtime measures of each container, summed up by pod, and what the kernel says of
// the node.
func (k backend) Summary(ctx context.Context) (*stats.Summary, error) {
	measured, err := k.cri.ListContainerStats(ctx, nil)
	if err != nil {
		return nil, err
	}
	byPod := map[string][]*runtimeapi.ContainerStats{}
	for _, m := range measured {
		uid := m.GetAttributes().GetLabels()[cri.LabelPodUID]
		byPod[uid] = append(byPod[uid], m)
	}
	summary := &stats.Summary{Node: k.nodeStats()}
	for _, pod := range k.Pods() {
		if found := byPod[string(pod.UID)]; len(found) > 0 {
			summary.Pods = append(summary.Pods, podStats(pod, found))
		}
	}
	return summary, nil
}

func (k backend) nodeStats() stats.NodeStats {
	s := stats.NodeStats{NodeName: k.config.NodeName}
	usage, err := node.ReadUsage(k.config.RootDir)
	if err != nil {
		return s
	}
	now := metav1.NewTime(k.config.Clock.Now())
	s.StartTime = metav1.NewTime(usage.Booted)
	s.CPU = &stats.CPUStats{Time: now, UsageCoreNanoSeconds: &usage.CPUNanos}
	s.Memory = &stats.MemoryStats{Time: now, AvailableBytes: &usage.MemoryAvailable, UsageBytes: &usage.MemoryUsed, WorkingSetBytes: &usage.MemoryUsed}
	s.Fs = &stats.FsStats{Time: now, AvailableBytes: &usage.DiskAvailable, CapacityBytes: &usage.DiskCapacity, UsedBytes: &usage.DiskUsed}
	return s
}

func podStats(pod *v1.Pod, measured []*runtimeapi.ContainerStats) stats.PodStats {
	s := stats.PodStats{PodRef: stats.PodReference{Name: pod.Name, Namespace: pod.Namespace, UID: string(pod.UID)}}
	if pod.Status.StartTime != nil {
		s.StartTime = *pod.Status.StartTime
	}
	var nanos, cores, used, working uint64
	var at metav1.Time
	for _, m := range measured {
		c := containerStats(m)
		s.Containers = append(s.Containers, c)
		if c.CPU != nil {
			at = c.CPU.Time
			nanos, cores = nanos+value(c.CPU.UsageCoreNanoSeconds), cores+value(c.CPU.UsageNanoCores)
		}
		if c.Memory != nil {
			used, working = used+value(c.Memory.UsageBytes), working+value(c.Memory.WorkingSetBytes)
		}
	}
	s.CPU = &stats.CPUStats{Time: at, UsageCoreNanoSeconds: &nanos, UsageNanoCores: &cores}
	s.Memory = &stats.MemoryStats{Time: at, UsageBytes: &used, WorkingSetBytes: &working}
	return s
}

func value(n *uint64) uint64 {
	if n == nil {
		return 0
	}
	return *n
}

func containerStats(m *runtimeapi.ContainerStats) stats.ContainerStats {
	c := stats.ContainerStats{Name: m.GetAttributes().GetMetadata().GetName()}
	if cpu := m.GetCpu(); cpu != nil {
		c.CPU = &stats.CPUStats{Time: nanoTime(cpu.Timestamp), UsageCoreNanoSeconds: unwrap(cpu.UsageCoreNanoSeconds), UsageNanoCores: unwrap(cpu.UsageNanoCores)}
	}
	if memory := m.GetMemory(); memory != nil {
		c.Memory = &stats.MemoryStats{
			Time: nanoTime(memory.Timestamp), UsageBytes: unwrap(memory.UsageBytes), WorkingSetBytes: unwrap(memory.WorkingSetBytes),
			AvailableBytes: unwrap(memory.AvailableBytes), RSSBytes: unwrap(memory.RssBytes),
			PageFaults: unwrap(memory.PageFaults), MajorPageFaults: unwrap(memory.MajorPageFaults),
		}
	}
	if layer := m.GetWritableLayer(); layer != nil {
		c.Rootfs = &stats.FsStats{Time: nanoTime(layer.Timestamp), UsedBytes: unwrap(layer.UsedBytes), InodesUsed: unwrap(layer.InodesUsed)}
	}
	return c
}

func unwrap(v *runtimeapi.UInt64Value) *uint64 {
	if v == nil {
		return nil
	}
	return &v.Value
}

func nanoTime(n int64) metav1.Time { return metav1.NewTime(time.Unix(0, n)) }
