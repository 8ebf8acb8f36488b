// Package cgroup keeps the tree of control groups that pods run in: kubepods, below it one group for each class of
// service, below those one for each pod. It knows cgroup v1 and v2 and drives their files itself; groups of containers are
// the runtime's business.
package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// defaultMount is where control groups are mounted.
const defaultMount = "/sys/fs/cgroup"

// hierarchy is the mounted control group file systems: one (v2) or one for each controller (v1).
type hierarchy struct {
	unified     string            // the mount point of v2; empty on v1
	controllers map[string]string // the mount points of v1, by controller
	all         []string          // every mount point, for removal
}

func detect(mount string) (*hierarchy, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(mount, &stat); err != nil {
		return nil, fmt.Errorf("%s: %w", mount, err)
	}
	if stat.Type == unix.CGROUP2_SUPER_MAGIC {
		return &hierarchy{unified: mount, all: []string{mount}}, nil
	}
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	h := &hierarchy{controllers: map[string]string{}}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		h.addMount(lines.Text(), mount)
	}
	for _, name := range []string{"cpu", "memory"} {
		if h.controllers[name] == "" {
			return nil, fmt.Errorf("the %s controller is not mounted", name)
		}
	}
	return h, nil
}

// addMount notes the mount of one line of mountinfo, if it is a hierarchy under root: a v1 controller's, or the v2 one beside
// them in which the runtime makes groups too.
func (h *hierarchy) addMount(line, root string) {
	before, after, ok := strings.Cut(line, " - ")
	fields, super := strings.Fields(before), strings.Fields(after)
	if !ok || len(fields) < 5 || len(super) < 3 || !strings.HasPrefix(super[0], "cgroup") || !strings.HasPrefix(fields[4], root+"/") {
		return
	}
	h.all = append(h.all, fields[4])
	for _, option := range strings.Split(super[2], ",") {
		if option == "cpu" || option == "memory" || option == "pids" {
			h.controllers[option] = fields[4]
		}
	}
}

// limits are what a group is held to. Zero values leave things as they are.
type limits struct {
	shares, weight uint64
	quota, period  int64
	memory, pids   int64
}

// apply makes the group and sets its limits.
func (h *hierarchy) apply(path string, l limits) error {
	if h.unified != "" {
		return h.applyUnified(path, l)
	}
	settings := []struct {
		controller, file string
		value            int64
	}{
		{"cpu", "cpu.shares", int64(l.shares)},
		{"cpu", "cpu.cfs_period_us", l.period},
		{"cpu", "cpu.cfs_quota_us", l.quota},
		{"memory", "memory.limit_in_bytes", l.memory},
		{"pids", "pids.max", l.pids},
	}
	for _, mount := range h.controllers {
		if err := os.MkdirAll(filepath.Join(mount, path), 0o755); err != nil {
			return err
		}
	}
	for _, s := range settings {
		mount := h.controllers[s.controller]
		if s.value == 0 || mount == "" {
			continue
		}
		if err := write(filepath.Join(mount, path, s.file), strconv.FormatInt(s.value, 10)); err != nil {
			return err
		}
	}
	return nil
}

func (h *hierarchy) applyUnified(path string, l limits) error {
	if err := os.MkdirAll(filepath.Join(h.unified, path), 0o755); err != nil {
		return err
	}
	for parent := filepath.Dir(path); ; parent = filepath.Dir(parent) {
		if err := h.delegate(parent); err != nil {
			return err
		}
		if parent == "/" || parent == "." {
			break
		}
	}
	settings := []struct{ file, value string }{
		{"cpu.weight", number(int64(l.weight))},
		{"cpu.max", cpuMax(l)},
		{"memory.max", number(l.memory)},
		{"pids.max", number(l.pids)},
	}
	for _, s := range settings {
		if s.value == "" {
			continue
		}
		if err := write(filepath.Join(h.unified, path, s.file), s.value); err != nil {
			return err
		}
	}
	return nil
}

func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func cpuMax(l limits) string {
	if l.quota == 0 {
		return ""
	}
	return fmt.Sprintf("%d %d", l.quota, l.period)
}

// delegate lets the children of a v2 group use the controllers it has.
func (h *hierarchy) delegate(path string) error {
	dir := filepath.Join(h.unified, path)
	available, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	enabled, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	if err != nil {
		return err
	}
	on := strings.Fields(string(enabled))
	for _, name := range strings.Fields(string(available)) {
		if slices.Contains(on, name) {
			continue
		}
		if err := write(filepath.Join(dir, "cgroup.subtree_control"), "+"+name); err != nil && name != "rdma" && name != "misc" {
			return err
		}
	}
	return nil
}

// write sets a value unless it is set already: some values may not be rewritten while the group is in use.
func write(path, value string) error {
	if now, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(now)) == value {
		return nil
	}
	return os.WriteFile(path, []byte(value), 0o644)
}

// remove kills what runs in the group and removes it, with the groups below it, from every hierarchy.
func (h *hierarchy) remove(path string) error {
	for _, mount := range h.all {
		if err := removeTree(filepath.Join(mount, path)); err != nil {
			return err
		}
	}
	return nil
}

// removeTree removes groups from the leaves up. A killed process needs a moment to leave its group.
func removeTree(root string) error {
	var err error
	for range 20 {
		if err = tryRemove(root); err == nil {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return err
}

func tryRemove(root string) error {
	var dirs []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if entry.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, dir := range slices.Backward(dirs) {
		killAll(dir)
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove cgroup %s: %w", dir, err)
		}
	}
	return nil
}

func killAll(dir string) {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return
	}
	for _, field := range strings.Fields(string(data)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have just ended by itself
		}
	}
}
