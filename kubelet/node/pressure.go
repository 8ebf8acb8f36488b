package node

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// MemoryLeft returns how many bytes of memory can be had without pushing anything out, and how many there are.
func MemoryLeft() (left, all int64, err error) {
	if all, err = meminfo("MemTotal"); err != nil {
		return 0, 0, err
	}
	left, err = meminfo("MemAvailable")
	return left, all, err
}

// DiskLeft returns how many bytes of the file system at a path are free, and how many it has.
func DiskLeft(path string) (left, all int64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return 0, 0, err
	}
	return int64(fs.Bavail) * fs.Bsize, int64(fs.Blocks) * fs.Bsize, nil
}

// InodesLeft does the same for inodes. A file system without a fixed number of them has 0 of 0.
func InodesLeft(path string) (left, all int64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return 0, 0, err
	}
	return int64(fs.Ffree), int64(fs.Files), nil
}

// PIDsLeft returns how many processes may still be started, and how many there may be.
func PIDsLeft() (left, all int64, err error) {
	if all, err = strconv.ParseInt(readFirst("/proc/sys/kernel/pid_max"), 10, 64); err != nil {
		return 0, 0, err
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, 0, err
	}
	return all - int64(info.Procs), all, nil
}
