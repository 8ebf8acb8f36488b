package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/mount-utils"

	"github.com/yare-io/yare/cmd/yare/containerd"
	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/podnetwork"
	"github.com/yare-io/yare/kubeproxy"
)

const resetStopTimeout = 30 * time.Second

// reset removes what a server or an agent left on this machine.
type reset struct {
	dataDir, cgroupRoot string
	data                bool
	progress            *progress
}

func newResetCommand() *cobra.Command {
	r := &reset{}
	command := &cobra.Command{
		Use: "reset", GroupID: "cluster", Args: cobra.NoArgs,
		Short: "Stop a server or agent and remove its containers, rules and mounts",
		Long: `Stops the server or agent that uses the data dir, if one runs, and removes what it
left on this machine: containers, their network namespaces and control groups,
mounts, links and packet rules. What the cluster stores stays, unless --data is given.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r.progress = newProgress(cmd.OutOrStdout())
			return r.run(cmd.Context())
		},
	}
	command.Flags().StringVar(&r.dataDir, "data-dir", defaultDataDir, "data dir of the server or agent")
	command.Flags().StringVar(&r.cgroupRoot, "cgroup-root", "/", "its --cgroup-root")
	command.Flags().BoolVar(&r.data, "data", false, "remove the data too: the whole cluster")
	return command
}

func (r *reset) run(ctx context.Context) error {
	if _, err := os.Stat(r.dataDir); errors.Is(err, fs.ErrNotExist) {
		r.progress.done("Nothing to do: there is no %s", r.dataDir)
		return nil
	}
	unlock, err := r.stopProcess(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = unlock() }()
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"containers removed", r.removeContainers},
		{"mounts removed", r.unmount},
	}
	if os.Getuid() == 0 {
		steps = append(steps, []struct {
			what string
			do   func(context.Context) error
		}{
			{"service rules removed", kubeproxy.Cleanup},
			{"pod network removed", func(ctx context.Context) error {
				config := (&nodeOptions{dataDir: r.dataDir}).podNetwork()
				config.Logger = slog.New(slog.DiscardHandler)
				return podnetwork.Cleanup(ctx, config)
			}},
			{"control groups removed", r.removeCgroups},
		}...)
	}
	steps = append(steps, struct {
		what string
		do   func(context.Context) error
	}{"files removed", r.removeFiles})
	for _, step := range steps {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		r.progress.done("%s", step.what)
	}
	return nil
}

// stopProcess stops the process that holds the data dir and takes its lock.
func (r *reset) stopProcess(ctx context.Context) (unlock func() error, err error) {
	ctx, cancel := context.WithTimeout(ctx, resetStopTimeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	told := false
	for {
		if unlock, err = lockDataDir(r.dataDir); err == nil || !errors.Is(err, errInUse) {
			return unlock, err
		}
		if !told {
			if err := terminateHolder(r.dataDir); err != nil {
				return nil, err
			}
			told = true
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("it did not stop within %s: %w", resetStopTimeout, err)
		case <-tick.C:
		}
	}
}

func (r *reset) removeContainers(ctx context.Context) error {
	options := &nodeOptions{dataDir: r.dataDir}
	config := options.containerd(slog.New(slog.DiscardHandler))
	if _, err := os.Stat(config.Root); err != nil {
		return nil
	}
	process, err := containerd.Start(ctx, config)
	if err != nil {
		return err
	}
	client, err := cri.Dial(process.Endpoint(), time.Minute)
	if err != nil {
		return errors.Join(err, process.Stop())
	}
	defer client.Close()
	return errors.Join(removeSandboxes(ctx, client), process.Stop())
}

func (r *reset) unmount(context.Context) error {
	mounter := mount.New("")
	mounts, err := mounter.List()
	if err != nil {
		return err
	}
	for i := len(mounts) - 1; i >= 0; i-- {
		if path := mounts[i].Path; strings.HasPrefix(path, r.dataDir+"/") {
			if err := mounter.Unmount(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeCgroups removes the pods' groups: those below the root that are called
// kubepods, in every hierarchy.
func (r *reset) removeCgroups(context.Context) error {
	const base = "/sys/fs/cgroup"
	patterns := []string{
		filepath.Join(base, r.cgroupRoot, "kubepods"),
		filepath.Join(base, "*", r.cgroupRoot, "kubepods"),
	}
	for _, pattern := range patterns {
		groups, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, group := range groups {
			if err := removeGroup(group); err != nil {
				return err
			}
			if parent := filepath.Dir(group); r.cgroupRoot != "/" {
				_ = os.Remove(parent) // it may hold what is not ours
			}
		}
	}
	return nil
}

// removeGroup removes a control group and those below it. Only folders can be
// removed there, the deepest first.
func removeGroup(group string) error {
	entries, err := os.ReadDir(group)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			if err := removeGroup(filepath.Join(group, entry.Name())); err != nil {
				return err
			}
		}
	}
	return os.Remove(group)
}

func (r *reset) removeFiles(context.Context) error {
	paths := []string{runDir(r.dataDir), filepath.Join(r.dataDir, "kubelet"), filepath.Join(r.dataDir, "cni"), filepath.Join(r.dataDir, "cni-addresses")}
	if r.data {
		entries, err := os.ReadDir(r.dataDir)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			paths = append(paths, filepath.Join(r.dataDir, entry.Name()))
		}
	}
	for _, path := range paths {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}

// terminateHolder tells the process that wrote the lock to end.
func terminateHolder(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, lockFile))
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 1 {
		return fmt.Errorf("the lock of %s names no process: stop it by hand", dir)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop process %d: %w", pid, err)
	}
	return nil
}

// removeSandboxes ends every pod that the runtime knows, with its containers
// and its network.
func removeSandboxes(ctx context.Context, client *cri.Client) error {
	sandboxes, err := client.ListSandboxes(ctx, nil)
	if err != nil {
		return err
	}
	for _, sandbox := range sandboxes {
		if err := client.StopSandbox(ctx, sandbox.Id); err != nil {
			return err
		}
		if err := client.RemoveSandbox(ctx, sandbox.Id); err != nil {
			return err
		}
	}
	return nil
}
