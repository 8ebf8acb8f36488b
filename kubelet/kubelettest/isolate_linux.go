// Package kubelettest gives tests a real container runtime of their own: a containerd in private network, mount and process
// namespaces, with images made on the spot. When the test process ends the kernel takes everything with it.
package kubelettest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	insideVar = "YARE_KUBELETTEST_INSIDE"
	cgroupVar = "YARE_KUBELETTEST_CGROUP"
)

// Main runs a package's tests, as root inside namespaces of their own, with a containerd that the tests reach by
// Runtime. Call it from TestMain and exit with what it returns.
func Main(m *testing.M) int {
	if os.Getuid() != 0 {
		missing = "needs root, to start a container runtime of its own"
		return m.Run()
	}
	for _, program := range []string{"containerd", "ctr", "runc"} {
		if _, err := exec.LookPath(program); err != nil {
			missing = "needs " + program + " installed"
			return m.Run()
		}
	}
	if os.Getenv(insideVar) == "" {
		return reenter()
	}
	if err := furnish(); err != nil {
		fmt.Fprintln(os.Stderr, "kubelettest:", err)
		return 1
	}
	stop, err := startContainerd()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubelettest:", err)
		return 1
	}
	defer stop()
	return m.Run()
}

// reenter runs this test binary again in new namespaces and passes its exit code on.
func reenter() int {
	cgroup := fmt.Sprintf("kubelettest-%d", os.Getpid())
	defer removeCgroups(cgroup)
	dir, err := os.MkdirTemp("", "ykt")
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubelettest:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	self := exec.Command("/proc/self/exe", os.Args[1:]...)
	self.Stdin, self.Stdout, self.Stderr = os.Stdin, os.Stdout, os.Stderr
	self.Env = append(os.Environ(), insideVar+"="+dir, cgroupVar+"="+cgroup)
	self.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	err = self.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubelettest:", err)
		return 1
	}
	return 0
}

// furnish makes the namespaces usable: an own /proc, private run directories, a loopback that is up.
func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	if err := os.MkdirAll("/var/lib/cni", 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "/var/lib/cni", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount /var/lib/cni: %w", err)
	}
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return fmt.Errorf("set loopback up: %w", err)
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}

// removeCgroups removes the groups that killed containers left behind.
func removeCgroups(name string) {
	for _, pattern := range []string{"/sys/fs/cgroup/" + name, "/sys/fs/cgroup/*/" + name} {
		roots, err := filepath.Glob(pattern)
		if err != nil {
			continue
		}
		for _, root := range roots {
			removeTree(root)
		}
	}
}

func removeTree(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if entry.IsDir() {
			removeTree(filepath.Join(dir, entry.Name()))
		}
	}
	_ = unix.Rmdir(dir) // what is still in use shows up in the next run
}
