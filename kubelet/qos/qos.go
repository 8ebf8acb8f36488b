// Package qos sorts pods into quality-of-service classes and says what follows from a class for the kernel:
// cgroup weights, quotas and out-of-memory scores. Pure arithmetic.
package qos

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Of returns the pod's class: the one the API server recorded, else the one its resources give.
func Of(pod *v1.Pod) v1.PodQOSClass {
	if pod.Status.QOSClass != "" {
		return pod.Status.QOSClass
	}
	return Compute(pod)
}

// Compute derives the class from cpu and memory of the pod or, if it states none, of its containers.
func Compute(pod *v1.Pod) v1.PodQOSClass {
	if r := pod.Spec.Resources; r != nil && (stated(r.Requests) || stated(r.Limits)) {
		return class([]v1.ResourceRequirements{*r})
	}
	var all []v1.ResourceRequirements
	for i := range pod.Spec.InitContainers {
		all = append(all, pod.Spec.InitContainers[i].Resources)
	}
	for i := range pod.Spec.Containers {
		all = append(all, pod.Spec.Containers[i].Resources)
	}
	return class(all)
}

func stated(list v1.ResourceList) bool { return !list.Cpu().IsZero() || !list.Memory().IsZero() }

func class(all []v1.ResourceRequirements) v1.PodQOSClass {
	best, guaranteed := true, true
	for _, r := range all {
		if stated(r.Requests) || stated(r.Limits) {
			best = false
		}
		for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
			limit, ok := r.Limits[name]
			if !ok || limit.IsZero() {
				guaranteed = false
				continue
			}
			if request, ok := r.Requests[name]; ok && !request.IsZero() && request.Cmp(limit) != 0 {
				guaranteed = false
			}
		}
	}
	switch {
	case best:
		return v1.PodQOSBestEffort
	case guaranteed:
		return v1.PodQOSGuaranteed
	}
	return v1.PodQOSBurstable
}

const (
	minShares    = 2
	maxShares    = 262144
	sharesPerCPU = 1024
	minQuota     = 1000 // microseconds, the kernel's least

	// QuotaPeriod is the usual length of a CPU accounting period in microseconds.
	QuotaPeriod = 100_000
)

// Shares converts a CPU request to cgroup v1 cpu.shares.
func Shares(milli int64) uint64 {
	if milli == 0 {
		return minShares
	}
	return uint64(min(max(milli*sharesPerCPU/1000, minShares), maxShares))
}

// Weight converts cpu.shares to cgroup v2 cpu.weight.
func Weight(shares uint64) uint64 {
	return 1 + ((min(max(shares, minShares), maxShares)-2)*9999)/262142
}

// Quota converts a CPU limit to the quota of a period of the given microseconds; 0 means none.
func Quota(milli, period int64) int64 {
	if milli == 0 {
		return 0
	}
	return max(milli*period/1000, minQuota)
}

// OOMScoreAdj is the out-of-memory score of a container: the more of the node's memory it asked for, the lower.
func OOMScoreAdj(pod *v1.Pod, c *v1.Container, capacity int64) int64 {
	const guaranteed, bestEffort, critical = -997, 1000, 2_000_000_000
	if pod.Spec.Priority != nil && *pod.Spec.Priority >= critical {
		return guaranteed
	}
	switch Of(pod) {
	case v1.PodQOSGuaranteed:
		return guaranteed
	case v1.PodQOSBestEffort:
		return bestEffort
	}
	request := memoryRequest(c)
	if capacity <= 0 {
		return bestEffort - 1
	}
	score := 1000 - (1000*request.Value())/capacity
	return min(max(score, 1000+guaranteed), bestEffort-1)
}

func memoryRequest(c *v1.Container) resource.Quantity {
	return *c.Resources.Requests.Memory()
}
