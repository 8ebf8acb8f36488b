package eviction

import (
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var begin = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func thresholds(t *testing.T, hard, soft, grace, reclaim map[string]string) []Threshold {
	t.Helper()
	out, err := Thresholds(hard, soft, grace, reclaim)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func memory(percent int64) map[Signal]Observation {
	return map[Signal]Observation{MemoryAvailable: {Available: percent, Capacity: 100}}
}

func describe(s *State, due []Threshold) string {
	return fmt.Sprint(len(due), s.Conditions())
}

func TestThresholdsAreReadOrRefused(t *testing.T) {
	got := thresholds(t, map[string]string{"nodefs.available": "10%", "memory.available": "100Mi", "pid.available": "0%"}, nil, nil, nil)
	if len(got) != 2 || got[0].Signal != MemoryAvailable || got[1].Signal != NodeFsAvailable {
		t.Errorf("%+v", got)
	}
	for name, c := range map[string]struct{ hard, soft, grace, reclaim map[string]string }{
		"unknown signal":   {hard: map[string]string{"cpu.available": "1"}},
		"no quantity":      {hard: map[string]string{"memory.available": "much"}},
		"negative":         {hard: map[string]string{"memory.available": "-1Mi"}},
		"soft, no grace":   {soft: map[string]string{"memory.available": "1Mi"}},
		"bad grace":        {soft: map[string]string{"memory.available": "1Mi"}, grace: map[string]string{"memory.available": "soon"}},
		"negative grace":   {soft: map[string]string{"memory.available": "1Mi"}, grace: map[string]string{"memory.available": "-1s"}},
		"bad to reclaim":   {hard: map[string]string{"memory.available": "1Mi"}, reclaim: map[string]string{"memory.available": "x"}},
		"percents too big": {hard: map[string]string{"memory.available": "120%"}},
	} {
		if _, err := Thresholds(c.hard, c.soft, c.grace, c.reclaim); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestConditionStaysForTheTransitionPeriod(t *testing.T) {
	s := NewState(thresholds(t, map[string]string{"memory.available": "10%"}, nil, nil, nil), time.Minute)
	for _, step := range []struct {
		at   time.Duration
		left int64
		want string
	}{
		{0, 50, "0 []"},
		{10 * time.Second, 9, "1 [MemoryPressure]"},
		{20 * time.Second, 50, "0 [MemoryPressure]"},
		{69 * time.Second, 50, "0 [MemoryPressure]"},
		{70 * time.Second, 50, "0 []"},
	} {
		if got := describe(s, s.Observe(begin.Add(step.at), memory(step.left))); got != step.want {
			t.Errorf("after %s with %d%%: %s, want %s", step.at, step.left, got, step.want)
		}
	}
}

func TestSoftThresholdWaitsAndReclaimIsAwaited(t *testing.T) {
	name := "memory.available"
	s := NewState(thresholds(t, nil, map[string]string{name: "20%"}, map[string]string{name: "30s"}, map[string]string{name: "10%"}), 0)
	for _, step := range []struct {
		at   time.Duration
		left int64
		want string
	}{
		{0, 15, "0 [MemoryPressure]"},
		{29 * time.Second, 15, "0 [MemoryPressure]"},
		{30 * time.Second, 15, "1 [MemoryPressure]"},
		{40 * time.Second, 25, "1 [MemoryPressure]"}, // not enough reclaimed
		{50 * time.Second, 30, "0 []"},
		{60 * time.Second, 25, "0 []"}, // not met anew
		{70 * time.Second, 15, "0 [MemoryPressure]"},
	} {
		if got := describe(s, s.Observe(begin.Add(step.at), memory(step.left))); got != step.want {
			t.Errorf("after %s with %d%%: %s, want %s", step.at, step.left, got, step.want)
		}
	}
}

func candidate(name string, priority int32, request string, used int64) Candidate {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.PodSpec{Priority: &priority, Containers: []v1.Container{{Name: "web"}}}}
	if request != "" {
		pod.Spec.Containers[0].Resources.Requests = v1.ResourceList{v1.ResourceMemory: resource.MustParse(request)}
	}
	return Candidate{Pod: pod, Usage: Usage{Memory: used, Processes: used >> 20, Containers: map[string]Usage{"web": {Memory: used}}}}
}

func TestRank(t *testing.T) {
	pods := []Candidate{
		candidate("frugal", 0, "500Mi", 400<<20),
		candidate("important-glutton", 100, "10Mi", 900<<20),
		candidate("best-effort", 0, "", 50<<20),
		candidate("glutton", 0, "10Mi", 300<<20),
		candidate("important-frugal", 100, "500Mi", 10<<20),
	}
	for name, want := range map[v1.ResourceName]string{
		v1.ResourceMemory: "glutton best-effort important-glutton frugal important-frugal",
		"pids":            "frugal glutton best-effort important-glutton important-frugal",
	} {
		var got []string
		for _, c := range Rank(pods, name) {
			got = append(got, c.Pod.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", name, got, want)
		}
	}
}

func TestMessage(t *testing.T) {
	threshold := Threshold{Signal: MemoryAvailable, Value: "100Mi"}
	got := Message(threshold, Observation{Available: 50<<20 + 7, Capacity: 1 << 30}, candidate("p", 0, "10Mi", 300<<20))
	want := "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. Container web was using 300Mi, request is 10Mi, has larger consumption of memory. "
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestRefusal(t *testing.T) {
	tolerant, critical := candidate("a", 0, "", 0).Pod, candidate("b", leastCritical, "", 0).Pod
	tolerant.Spec.Tolerations = []v1.Toleration{{Key: v1.TaintNodeMemoryPressure, Operator: v1.TolerationOpExists}}
	memory, disk := []v1.NodeConditionType{v1.NodeMemoryPressure}, []v1.NodeConditionType{v1.NodeDiskPressure}
	plain := candidate("c", 0, "", 0).Pod
	for _, c := range []struct {
		name      string
		pod       *v1.Pod
		class     v1.PodQOSClass
		pressures []v1.NodeConditionType
		want      string
	}{
		{"no pressure", plain, v1.PodQOSBestEffort, nil, ""},
		{"memory", plain, v1.PodQOSBestEffort, memory, "The node had condition: [MemoryPressure]. "},
		{"memory, asked for", plain, v1.PodQOSBurstable, memory, ""},
		{"memory, tolerated", tolerant, v1.PodQOSBestEffort, memory, ""},
		{"disk, asked for", plain, v1.PodQOSGuaranteed, disk, "The node had condition: [DiskPressure]. "},
		{"disk, critical", critical, v1.PodQOSBestEffort, disk, ""},
		{"both, tolerated", tolerant, v1.PodQOSBestEffort, append(disk, memory...), "The node had condition: [DiskPressure MemoryPressure]. "},
	} {
		if got := Refusal(c.pod, c.class, c.pressures); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestCritical(t *testing.T) {
	for name, c := range map[string]struct {
		pod  Candidate
		want bool
	}{
		"ordinary": {candidate("a", 1000, "", 0), false},
		"system":   {candidate("b", 2_000_001_000, "", 0), true},
	} {
		if got := Critical(c.pod.Pod); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	static := candidate("c", 0, "", 0).Pod
	static.Annotations = map[string]string{"kubernetes.io/config.source": "file"}
	if !Critical(static) {
		t.Error("a static pod is not critical")
	}
}
