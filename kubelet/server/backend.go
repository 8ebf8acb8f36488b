package server

import (
	"context"
	"errors"
	"net/url"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// ErrNotFound says that the pod, container or sandbox asked for is not on this
// node (any more). Backends wrap it.
var ErrNotFound = errors.New("not found")

// Backend is the node behind the server. All methods may be called at the same
// time from many goroutines and must honour ctx.
//
// An error that wraps ErrNotFound is answered with 404, an apimachinery
// StatusError with its own code, any other with 500.
type Backend interface {
	// Pods returns the pods bound to this node, static pods included, each with
	// the newest status this node has worked out (which the API server may not
	// have yet). The slice is the caller's; the pods are shared and are not
	// changed.
	Pods() []*corev1.Pod

	// ContainerID returns the runtime's id (without "containerd://") of the
	// newest container of that name in the pod, whatever its state; previous
	// asks for the one before it. Init and ephemeral containers count.
	ContainerID(ctx context.Context, pod types.UID, container string, previous bool) (string, error)
	// Container returns the current state of a container by its runtime id.
	Container(ctx context.Context, id string) (ContainerState, error)

	// Exec, Attach and PortForward ask the runtime for a streaming session and
	// return the address of it on the runtime's streaming server; it is used
	// once, at once. PortForward's pod must have a ready sandbox.
	Exec(ctx context.Context, id string, command []string, streams Streams) (*url.URL, error)
	Attach(ctx context.Context, id string, streams Streams) (*url.URL, error)
	PortForward(ctx context.Context, pod types.UID, ports []int32) (*url.URL, error)
	// Run runs a command in a container to its end, at most for timeout. A
	// command that ran and failed is not an error.
	Run(ctx context.Context, id string, command []string, timeout time.Duration) (RunResult, error)

	// Summary returns the resource use of the node and of its pods.
	Summary(ctx context.Context) (*stats.Summary, error)
	// Healthy returns why the node's main loop is not making progress, or nil.
	Healthy() error
}

// ContainerState is what the runtime says of one container.
type ContainerState struct {
	// LogPath is the file that the runtime writes the container's output to, in
	// the CRI log format. Empty: the runtime keeps no file.
	LogPath string
	// Running is true until the container has ended; only then is its log
	// complete.
	Running bool
}

// Streams says which streams a client wants. With TTY there is no Stderr.
type Streams struct {
	Stdin, Stdout, Stderr, TTY bool
}

// RunResult is what a command that ran left behind.
type RunResult struct {
	Stdout, Stderr []byte
	ExitCode       int
}
