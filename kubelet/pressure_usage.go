package kubelet

import (
	"context"
	"io/fs"
	"path/filepath"
	"syscall"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/eviction"
)

// candidates are the pods that may be evicted, with what they use. Their disk is only measured if asked for.
func (k *Kubelet) candidates(ctx context.Context, disk bool) ([]eviction.Candidate, error) {
	measured, err := k.cri.ListContainerStats(ctx, nil)
	if err != nil {
		return nil, err
	}
	byPod := map[string][]*runtimeapi.ContainerStats{}
	for _, m := range measured {
		uid := m.GetAttributes().GetLabels()[cri.LabelPodUID]
		byPod[uid] = append(byPod[uid], m)
	}
	var out []eviction.Candidate
	for _, pod := range k.sources.all() {
		if eviction.Critical(pod) || !k.workers.Holds(pod.UID) {
			continue
		}
		usage := usageOf(byPod[string(pod.UID)])
		if disk {
			k.addFiles(&usage, pod)
		}
		out = append(out, eviction.Candidate{Pod: pod, Usage: usage})
	}
	return out, nil
}

func usageOf(measured []*runtimeapi.ContainerStats) eviction.Usage {
	sum := eviction.Usage{Containers: map[string]eviction.Usage{}}
	for _, m := range measured {
		one := eviction.Usage{
			Memory: int64(m.GetMemory().GetWorkingSetBytes().GetValue()),
			Disk:   int64(m.GetWritableLayer().GetUsedBytes().GetValue()),
			Inodes: int64(m.GetWritableLayer().GetInodesUsed().GetValue()),
		}
		sum.Containers[m.GetAttributes().GetMetadata().GetName()] = one
		sum.Memory, sum.Disk, sum.Inodes = sum.Memory+one.Memory, sum.Disk+one.Disk, sum.Inodes+one.Inodes
	}
	return sum
}

// addFiles adds the pod's logs and the volumes that are on the node's own disk.
func (k *Kubelet) addFiles(usage *eviction.Usage, pod *v1.Pod) {
	logs := filepath.Join(k.config.Settings.PodLogsDir, pod.Namespace+"_"+pod.Name+"_"+string(pod.UID))
	for _, dir := range []string{logs, filepath.Join(k.podsDir(), string(pod.UID), "volumes")} {
		bytes, files := sizeOf(dir)
		usage.Disk, usage.Inodes = usage.Disk+bytes, usage.Inodes+files
	}
}

// sizeOf sums up what a directory holds on its own file system. What goes away meanwhile does not count.
func sizeOf(dir string) (bytes, files int64) {
	var device uint64
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return nil
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		if path == dir {
			device = stat.Dev
		}
		if stat.Dev != device {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		bytes, files = bytes+stat.Blocks*512, files+1
		return nil
	})
	return bytes, files
}
