package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// endPredecessors ends every containerd that runs with this configuration file
// and waits until it is gone. One is there when the process that had started
// it was killed a moment ago: it would still answer at the socket, and then
// take the socket's name away with it. Nobody else can have started one,
// because whoever calls this owns the data dir.
func endPredecessors(ctx context.Context, file string) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	told := map[int]bool{}
	for {
		left, err := running(file)
		if err != nil || len(left) == 0 {
			return err
		}
		for _, pid := range left {
			if told[pid] {
				continue
			}
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("end the containerd before this one, process %d: %w", pid, err)
			}
			told[pid] = true
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the containerd before this one, process %d, did not end: %w", left[0], ctx.Err())
		case <-tick.C:
		}
	}
}

// running lists the processes that were called with --config and the file. A
// process that has ended and was not reaped has no arguments any more.
func running(file string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		arguments, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if err != nil {
			continue // it has ended meanwhile
		}
		list := strings.Split(strings.TrimSuffix(string(arguments), "\x00"), "\x00")
		if slices.Equal(list[1:], []string{"--config", file}) && filepath.Base(list[0]) == "containerd" {
			found = append(found, pid)
		}
	}
	return found, nil
}
