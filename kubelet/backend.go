package kubelet

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/server"
)

// backend is the node as its own HTTP API sees it.
type backend struct{ *Kubelet }

var _ server.Backend = backend{}

// Backend returns the node as its own HTTP API sees it. It is safe for concurrent use.
func (k *Kubelet) Backend() server.Backend { return backend{k} }

// Pods implements server.Backend.
func (k backend) Pods() []*v1.Pod {
	pods := k.sources.all()
	for i, pod := range pods {
		if status, ok := k.statuses.Get(pod.UID); ok {
			shown := *pod
			shown.Status = status
			pods[i] = &shown
		}
	}
	return pods
}

// ContainerID implements server.Backend. A mirror pod's UID finds the containers of the static pod it shows.
func (k backend) ContainerID(ctx context.Context, pod types.UID, container string, previous bool) (string, error) {
	found, err := k.cri.Pod(ctx, k.sources.runningUID(pod), nil)
	if err != nil {
		return "", err
	}
	skip := previous
	for _, c := range found.Containers {
		if c.Name != container {
			continue
		}
		if !skip {
			return c.ID, nil
		}
		skip = false
	}
	if previous {
		return "", fmt.Errorf("previous terminated container %q in pod %q: %w", container, pod, server.ErrNotFound)
	}
	return "", fmt.Errorf("container %q in pod %q: %w", container, pod, server.ErrNotFound)
}

// Container implements server.Backend.
func (k backend) Container(ctx context.Context, id string) (server.ContainerState, error) {
	status, err := k.cri.ContainerStatus(ctx, id)
	if err != nil {
		return server.ContainerState{}, notFound(err)
	}
	return server.ContainerState{
		LogPath: status.LogPath,
		Running: status.State == runtimeapi.ContainerState_CONTAINER_RUNNING || status.State == runtimeapi.ContainerState_CONTAINER_CREATED,
	}, nil
}

// notFound marks the runtime's way of saying so.
func notFound(err error) error {
	if cri.IsNotFound(err) {
		return fmt.Errorf("%w: %w", server.ErrNotFound, err)
	}
	return err
}

// Exec implements server.Backend.
func (k backend) Exec(ctx context.Context, id string, command []string, s server.Streams) (*url.URL, error) {
	response, err := k.cri.Runtime().Exec(ctx, &runtimeapi.ExecRequest{
		ContainerId: id, Cmd: command, Tty: s.TTY, Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr,
	})
	if err != nil {
		return nil, notFound(err)
	}
	return url.Parse(response.Url)
}

// Attach implements server.Backend.
func (k backend) Attach(ctx context.Context, id string, s server.Streams) (*url.URL, error) {
	response, err := k.cri.Runtime().Attach(ctx, &runtimeapi.AttachRequest{
		ContainerId: id, Tty: s.TTY, Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr,
	})
	if err != nil {
		return nil, notFound(err)
	}
	return url.Parse(response.Url)
}

// PortForward implements server.Backend.
func (k backend) PortForward(ctx context.Context, pod types.UID, ports []int32) (*url.URL, error) {
	found, err := k.cri.Pod(ctx, k.sources.runningUID(pod), nil)
	if err != nil {
		return nil, err
	}
	sandbox := found.ReadySandbox()
	if sandbox == nil {
		return nil, fmt.Errorf("a ready sandbox of pod %q: %w", pod, server.ErrNotFound)
	}
	response, err := k.cri.Runtime().PortForward(ctx, &runtimeapi.PortForwardRequest{PodSandboxId: sandbox.ID, Port: ports})
	if err != nil {
		return nil, notFound(err)
	}
	return url.Parse(response.Url)
}

// Run implements server.Backend.
func (k backend) Run(ctx context.Context, id string, command []string, timeout time.Duration) (server.RunResult, error) {
	result, err := k.cri.ExecSync(ctx, id, command, timeout)
	if err != nil {
		return server.RunResult{}, notFound(err)
	}
	return server.RunResult{Stdout: result.Stdout, Stderr: result.Stderr, ExitCode: int(result.ExitCode)}, nil
}

// Healthy implements server.Backend.
func (k backend) Healthy() error {
	if k.runtime() == "" {
		return errors.New("the container runtime has not answered yet")
	}
	return k.watcher.Healthy(silenceLimit)
}

// silenceLimit is how long the runtime may stay silent before the node is unhealthy.
const silenceLimit = 3 * time.Minute
