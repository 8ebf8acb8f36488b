// Package containerd runs the container runtime of a node that brings none of
// its own: it writes containerd's configuration, starts it, imports images and
// stops it. Containers belong to their shims and outlive it. All else about
// containers goes through CRI and is the kubelet's.
package containerd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 10 * time.Second
)

// Config says where a runtime lives.
type Config struct {
	// Root keeps images and containers, State what does not outlive a boot.
	Root, State string
	// CNIConfDir and CNIBinDir are where the pod network is configured.
	CNIConfDir, CNIBinDir string
	// SandboxImage holds a pod's namespaces open; it is never pulled.
	SandboxImage string
	Logger       *slog.Logger
}

// Socket is the address at which the runtime answers.
func (c Config) Socket() string { return filepath.Join(c.State, "containerd.sock") }

// Endpoint is the socket as the kubelet's flags name it.
func (c Config) Endpoint() string { return "unix://" + c.Socket() }

// Process is a running containerd.
type Process struct {
	Config
	command *exec.Cmd
	ended   chan struct{}
	err     error // why it ended, readable once ended is closed
}

// Start starts containerd and returns when its CRI answers. The process ends
// with Stop, or at the latest with this one. The caller MUST be the only one to
// use config.Root and config.State.
func Start(ctx context.Context, config Config) (*Process, error) {
	binary, err := exec.LookPath("containerd")
	if err != nil {
		return nil, fmt.Errorf("%w: install Debian's containerd, or name a runtime with --container-runtime-endpoint", err)
	}
	for _, dir := range []string{config.Root, config.State, config.CNIConfDir} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, err
		}
	}
	file := filepath.Join(config.Root, "config.toml")
	if err := endPredecessors(ctx, file); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(config.Socket()); err != nil {
		return nil, err
	}
	if err := writeConfiguration(file, config); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(config.Root, "containerd.log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()

	p := &Process{Config: config, ended: make(chan struct{})}
	p.command = exec.Command(binary, "--config", file)
	p.command.Stdout, p.command.Stderr = log, log
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := p.run(); err != nil {
		return nil, fmt.Errorf("start containerd: %w", err)
	}
	if err := p.waitReady(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("containerd does not answer, see %s: %w", log.Name(), err), p.Stop())
	}
	return p, nil
}

// run starts the command on a thread that lives as long as it does, because
// the kernel delivers Pdeathsig when the starting thread ends.
func (p *Process) run() error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer close(p.ended)
		err := p.command.Start()
		started <- err
		if err == nil {
			p.err = p.command.Wait()
		}
	}()
	return <-started
}

func (p *Process) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	conn, err := grpc.NewClient(p.Endpoint(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	client := runtimeapi.NewRuntimeServiceClient(conn)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err = os.Stat(p.Socket()); err == nil {
			if _, err = client.Version(ctx, &runtimeapi.VersionRequest{}); err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-p.ended:
			return fmt.Errorf("it ended: %w", p.err)
		case <-tick.C:
		}
	}
}

// Wait returns when ctx ends or, with an error, when containerd does.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-p.ended:
		return fmt.Errorf("containerd ended: %w", p.err)
	}
}

// Stop ends containerd and waits for it. Containers go on.
func (p *Process) Stop() error {
	err := p.command.Process.Signal(syscall.SIGTERM)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("containerd did not stop within %s and was killed", stopTimeout), p.command.Process.Kill())
	}
}

// Import brings an image archive into the runtime.
func (p *Process) Import(ctx context.Context, archive string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	cmd := exec.CommandContext(ctx, "ctr", "--address", p.Socket(), "--namespace", "k8s.io", "images", "import", "-")
	cmd.Stdin = file
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("import image %s: %w: %s", archive, err, out)
	}
	return nil
}
