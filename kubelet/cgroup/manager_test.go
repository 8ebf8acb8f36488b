package cgroup_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/yare-io/yare/kubelet/cgroup"
)

func pod(uid string, requests, limits v1.ResourceList) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid)},
		Spec:       v1.PodSpec{Containers: []v1.Container{{Resources: v1.ResourceRequirements{Requests: requests, Limits: limits}}}},
	}
}

// TestGroupsOfThisMachine works on the control groups of the machine, below a root of its own.
func TestGroupsOfThisMachine(t *testing.T) {
	root := fmt.Sprintf("yare-cgroup-test-%d", os.Getpid())
	m := cgroup.New(cgroup.Config{
		Root: root, Allocatable: v1.ResourceList{v1.ResourceCPU: resource.MustParse("2"), v1.ResourceMemory: resource.MustParse("1Gi")},
		Enforce: true, PodPids: 100, CFSQuota: true, Logger: slog.New(slog.DiscardHandler),
	})
	cpu, memory := v1.ResourceList{v1.ResourceCPU: resource.MustParse("250m")}, v1.ResourceList{v1.ResourceCPU: resource.MustParse("500m"), v1.ResourceMemory: resource.MustParse("64Mi")}
	burstable, guaranteed, best := pod("burst", cpu, memory), pod("guar", memory, memory), pod("best", nil, nil)
	path, err := m.Prepare(burstable)
	if err != nil {
		t.Fatal(err)
	}
	if path == "" {
		t.Skip("control groups cannot be written here")
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		removeRoots(t, root)
	})
	for p, want := range map[*v1.Pod]string{burstable: "burstable/podburst", guaranteed: "podguar", best: "besteffort/podbest"} {
		if path, err := m.Prepare(p); err != nil || path != "/"+root+"/kubepods/"+want {
			t.Errorf("%s: %q, %v", p.UID, path, err)
		}
	}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		expect(t, path, map[string]string{"cpu.weight": "10", "cpu.max": "50000 100000", "memory.max": "67108864", "pids.max": "100"})
	} else {
		expect(t, "cpu"+path, map[string]string{"cpu.shares": "256", "cpu.cfs_quota_us": "50000"})
		expect(t, "memory"+path, map[string]string{"memory.limit_in_bytes": "67108864"})
		expect(t, "pids"+path, map[string]string{"pids.max": "100"})
		expect(t, "cpu/"+root+"/kubepods/burstable", map[string]string{"cpu.shares": "256"})
	}
	if found := m.Pods(); len(found) != 3 {
		t.Errorf("pods: %v", found)
	}
	for _, p := range []*v1.Pod{burstable, guaranteed, best, best} {
		if err := m.Remove(p.UID); err != nil {
			t.Error(err)
		}
	}
	if found := m.Pods(); len(found) != 0 {
		t.Errorf("left: %v", found)
	}
}

func expect(t *testing.T, path string, files map[string]string) {
	t.Helper()
	for name, want := range files {
		data, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", path, name))
		if got := strings.TrimSpace(string(data)); err != nil || got != want {
			t.Errorf("%s of %s is %q, want %q (%v)", name, path, got, want, err)
		}
	}
}

func removeRoots(t *testing.T, root string) {
	roots, err := filepath.Glob("/sys/fs/cgroup/*/" + root)
	if err != nil {
		t.Error(err)
	}
	for _, dir := range append(roots, "/sys/fs/cgroup/"+root) {
		if err := os.Remove(dir); err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
	}
}

func TestWithoutControlGroupsNothingIsDone(t *testing.T) {
	m := cgroup.New(cgroup.Config{Mount: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if path, err := m.Prepare(pod("u", nil, nil)); err != nil || path != "" {
		t.Errorf("%q, %v", path, err)
	}
	if err := m.Remove("u"); err != nil {
		t.Error(err)
	}
}
