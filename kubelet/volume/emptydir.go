package volume

import (
	"fmt"
	"os"
	"strconv"

	v1 "k8s.io/api/core/v1"
)

// emptyDir makes a directory on the node's disk or in memory.
func (m *Manager) emptyDir(r Request, v *v1.Volume) (Mounted, error) {
	path := m.dir(r.Pod, "empty-dir", v.Name)
	if err := os.MkdirAll(path, 0o750); err != nil {
		return Mounted{}, err
	}
	switch v.EmptyDir.Medium {
	case v1.StorageMediumDefault:
	case v1.StorageMediumMemory:
		if !m.Tmpfs {
			return Mounted{}, fmt.Errorf("emptyDir: memory-backed volumes need a kubelet that may mount")
		}
		if err := m.tmpfs(path, memoryOptions(r.Pod, v.EmptyDir)...); err != nil {
			return Mounted{}, err
		}
	default:
		return Mounted{}, fmt.Errorf("emptyDir: medium %q is not supported on this node", v.EmptyDir.Medium)
	}
	if err := openUp(path); err != nil {
		return Mounted{}, err
	}
	return Mounted{Path: path}, own(path, fsGroup(r.Pod))
}

// openUp lets everyone in the pod use the directory, keeping the marks of an earlier hand-over to a group.
func openUp(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() == 0o777 {
		return err
	}
	return os.Chmod(path, 0o777|info.Mode()&os.ModeSetgid)
}

// memoryOptions bounds the file system by its size limit and by the memory the pod may use.
func memoryOptions(pod *v1.Pod, source *v1.EmptyDirVolumeSource) []string {
	size := podMemoryLimit(pod)
	if limit := source.SizeLimit; limit != nil && limit.Value() > 0 && (size == 0 || limit.Value() < size) {
		size = limit.Value()
	}
	if size == 0 {
		return nil
	}
	return []string{"size=" + strconv.FormatInt(size, 10)}
}

// podMemoryLimit sums the containers' limits; 0 if one of them has none.
func podMemoryLimit(pod *v1.Pod) int64 {
	total := int64(0)
	for i := range pod.Spec.Containers {
		limit, ok := pod.Spec.Containers[i].Resources.Limits[v1.ResourceMemory]
		if !ok {
			return 0
		}
		total += limit.Value()
	}
	return total
}
