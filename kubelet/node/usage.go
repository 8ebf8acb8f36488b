package node

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what of the machine is in use; bytes, but for CPUNanos, the CPU time spent since boot.
type Usage struct {
	Booted                                time.Time
	CPUNanos                              uint64
	MemoryUsed, MemoryAvailable           uint64
	DiskCapacity, DiskAvailable, DiskUsed uint64
}

// clockTick is the unit of /proc/stat: a hundredth of a second on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// ReadUsage asks the kernel. The disk is the one that holds rootDir.
func ReadUsage(rootDir string) (Usage, error) {
	u := Usage{}
	available, all, err := MemoryLeft()
	if err != nil {
		return u, err
	}
	u.MemoryAvailable, u.MemoryUsed = uint64(available), uint64(all-available)
	left, capacity, err := DiskLeft(rootDir)
	if err != nil {
		return u, err
	}
	u.DiskAvailable, u.DiskCapacity, u.DiskUsed = uint64(left), uint64(capacity), uint64(capacity-left)
	return u, u.readStat("/proc/stat")
}

func (u *Usage) readStat(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "cpu":
			u.CPUNanos = busy(fields[1:])
		case "btime":
			seconds, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				return fmt.Errorf("parse btime of %s: %w", path, err)
			}
			u.Booted = time.Unix(seconds, 0)
		}
	}
	return nil
}

// busy sums what the processors did, without idling (field 3) and waiting (4), and without guests (from 8), who are in user time.
func busy(fields []string) uint64 {
	ticks := uint64(0)
	for i, field := range fields[:min(len(fields), 8)] {
		if n, err := strconv.ParseUint(field, 10, 64); err == nil && i != 3 && i != 4 {
			ticks += n
		}
	}
	return ticks * uint64(clockTick)
}
