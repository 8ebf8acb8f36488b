package node

import (
	"strconv"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Measure compares what is left of memory, disk and process ids with the eviction thresholds. What cannot be measured is not
// short.
func Measure(rootDir string, thresholds map[string]string) Pressure {
	return Pressure{
		Memory: below(thresholds["memory.available"], memoryLeft),
		Disk:   below(thresholds["nodefs.available"], func() (int64, int64, error) { return diskLeft(rootDir) }),
		PID:    below(thresholds["pid.available"], pidsLeft),
	}
}

func below(threshold string, measure func() (left, all int64, err error)) bool {
	if threshold == "" {
		return false
	}
	left, all, err := measure()
	if err != nil {
		return false
	}
	limit, err := Threshold(threshold, *resource.NewQuantity(all, resource.BinarySI))
	return err == nil && left < limit.Value()
}

func memoryLeft() (int64, int64, error) {
	all, err := meminfo("MemTotal")
	if err != nil {
		return 0, 0, err
	}
	left, err := meminfo("MemAvailable")
	return left, all, err
}

func diskLeft(path string) (int64, int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return 0, 0, err
	}
	return int64(fs.Bavail) * fs.Bsize, int64(fs.Blocks) * fs.Bsize, nil
}

func pidsLeft() (int64, int64, error) {
	most, err := strconv.ParseInt(readFirst("/proc/sys/kernel/pid_max"), 10, 64)
	if err != nil {
		return 0, 0, err
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, 0, err
	}
	return most - int64(info.Procs), most, nil
}
