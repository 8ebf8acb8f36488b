// Package node tells the cluster about the machine: it registers the Node, keeps its lease and its status fresh, and
// says whether the node is ready. It owns what is read from the machine and refuses to know pods.
package node

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Machine is what does not change while the kubelet runs.
type Machine struct {
	Capacity v1.ResourceList
	Info     v1.NodeSystemInfo // without the runtime's and the kubelet's own versions
}

// ReadMachine asks the kernel and the system. RootDir is the directory whose file system holds the pods' local storage.
func ReadMachine(rootDir string) (Machine, error) {
	memory, err := meminfo("MemTotal")
	if err != nil {
		return Machine{}, err
	}
	machine := Machine{
		Capacity: v1.ResourceList{
			v1.ResourceCPU:    *resource.NewQuantity(int64(runtime.NumCPU()), resource.DecimalSI),
			v1.ResourceMemory: *resource.NewQuantity(memory, resource.BinarySI),
		},
		Info: v1.NodeSystemInfo{
			OperatingSystem: runtime.GOOS,
			Architecture:    runtime.GOARCH,
			MachineID:       readFirst("/etc/machine-id", "/var/lib/dbus/machine-id"),
			SystemUUID:      readFirst("/sys/class/dmi/id/product_uuid", "/etc/machine-id"),
			BootID:          readFirst("/proc/sys/kernel/random/boot_id"),
			OSImage:         osImage(),
		},
	}
	var uname unix.Utsname
	if err := unix.Uname(&uname); err == nil {
		machine.Info.KernelVersion = unix.ByteSliceToString(uname.Release[:])
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(rootDir, &fs); err == nil {
		machine.Capacity[v1.ResourceEphemeralStorage] = *resource.NewQuantity(int64(fs.Blocks)*fs.Bsize, resource.BinarySI)
	}
	addHugePages(machine.Capacity)
	return machine, nil
}

// meminfo returns a field of /proc/meminfo in bytes.
func meminfo(field string) (int64, error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		name, rest, _ := strings.Cut(line, ":")
		if name != field {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("parse %s of /proc/meminfo: %w", field, err)
		}
		return kib << 10, nil
	}
	return 0, fmt.Errorf("/proc/meminfo has no %s", field)
}

func readFirst(paths ...string) string {
	for _, path := range paths {
		if data, err := os.ReadFile(path); err == nil {
			return strings.TrimSpace(string(data))
		}
	}
	return ""
}

func osImage() string {
	for line := range strings.Lines(readFirst("/etc/os-release", "/usr/lib/os-release")) {
		if value, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	return "Unknown"
}

// addHugePages adds the pre-allocated huge pages of each size.
func addHugePages(capacity v1.ResourceList) {
	sizes, err := filepath.Glob("/sys/kernel/mm/hugepages/hugepages-*kB")
	if err != nil {
		return
	}
	for _, dir := range sizes {
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(dir), "hugepages-"), "kB"), 10, 64)
		if err != nil {
			continue
		}
		pages, err := strconv.ParseInt(readFirst(filepath.Join(dir, "nr_hugepages")), 10, 64)
		if err != nil {
			continue
		}
		size := resource.NewQuantity(kib<<10, resource.BinarySI)
		capacity[v1.ResourceName(v1.ResourceHugePagesPrefix+size.String())] = *resource.NewQuantity(pages*kib<<10, resource.BinarySI)
	}
}
