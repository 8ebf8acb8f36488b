package qos_test

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/yare-io/yare/kubelet/qos"
)

func resources(cpuRequest, cpuLimit, memoryRequest, memoryLimit string) v1.ResourceRequirements {
	r := v1.ResourceRequirements{Requests: v1.ResourceList{}, Limits: v1.ResourceList{}}
	set := func(list v1.ResourceList, name v1.ResourceName, text string) {
		if text != "" {
			list[name] = resource.MustParse(text)
		}
	}
	set(r.Requests, v1.ResourceCPU, cpuRequest)
	set(r.Limits, v1.ResourceCPU, cpuLimit)
	set(r.Requests, v1.ResourceMemory, memoryRequest)
	set(r.Limits, v1.ResourceMemory, memoryLimit)
	return r
}

func TestClasses(t *testing.T) {
	cases := []struct {
		want       v1.PodQOSClass
		containers []v1.ResourceRequirements
	}{
		{v1.PodQOSBestEffort, []v1.ResourceRequirements{{}, {}}},
		{v1.PodQOSGuaranteed, []v1.ResourceRequirements{resources("1", "1", "1Gi", "1Gi")}},
		{v1.PodQOSGuaranteed, []v1.ResourceRequirements{resources("", "1", "", "1Gi")}},
		{v1.PodQOSBurstable, []v1.ResourceRequirements{resources("1", "2", "1Gi", "1Gi")}},
		{v1.PodQOSBurstable, []v1.ResourceRequirements{resources("1", "1", "1Gi", "1Gi"), {}}},
		{v1.PodQOSBurstable, []v1.ResourceRequirements{resources("", "1", "", "")}},
		{v1.PodQOSBurstable, []v1.ResourceRequirements{resources("100m", "", "", "")}},
	}
	for i, c := range cases {
		pod := &v1.Pod{}
		for _, r := range c.containers {
			pod.Spec.Containers = append(pod.Spec.Containers, v1.Container{Resources: r})
		}
		if got := qos.Compute(pod); got != c.want {
			t.Errorf("case %d: %s, want %s", i, got, c.want)
		}
	}
}

func TestArithmetic(t *testing.T) {
	for milli, want := range map[int64]uint64{0: 2, 1: 2, 250: 256, 1000: 1024, 1_000_000: 262144} {
		if got := qos.Shares(milli); got != want {
			t.Errorf("shares of %dm: %d, want %d", milli, got, want)
		}
	}
	for shares, want := range map[uint64]uint64{2: 1, 1024: 39, 262144: 10000} {
		if got := qos.Weight(shares); got != want {
			t.Errorf("weight of %d: %d, want %d", shares, got, want)
		}
	}
	for milli, want := range map[int64]int64{0: 0, 1: 1000, 500: 50000, 2000: 200000} {
		if got := qos.Quota(milli, qos.QuotaPeriod); got != want {
			t.Errorf("quota of %dm: %d, want %d", milli, got, want)
		}
	}
}

func TestOOMScores(t *testing.T) {
	const capacity = 8 << 30
	container := v1.Container{Resources: resources("", "", "4Gi", "")}
	for class, want := range map[v1.PodQOSClass]int64{v1.PodQOSGuaranteed: -997, v1.PodQOSBestEffort: 1000, v1.PodQOSBurstable: 500} {
		pod := &v1.Pod{Status: v1.PodStatus{QOSClass: class}}
		if got := qos.OOMScoreAdj(pod, &container, capacity); got != want {
			t.Errorf("%s: %d, want %d", class, got, want)
		}
	}
	critical := &v1.Pod{Spec: v1.PodSpec{Priority: new(int32(2_000_000_000))}}
	if got := qos.OOMScoreAdj(critical, &container, capacity); got != -997 {
		t.Errorf("critical: %d", got)
	}
}
