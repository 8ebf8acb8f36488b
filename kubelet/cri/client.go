// Package cri is the node's view of the container runtime: a thin typed client over CRI v1, the pods
// that are found there, and a watcher that says which of them changed. It knows sandboxes, containers and images
// and the labels that tie them to pods; it refuses to know pod specs, the API server or what should run.
package cri

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	// DefaultEndpoint is where containerd listens unless told otherwise.
	DefaultEndpoint = "unix:///run/containerd/containerd.sock"
	// DefaultTimeout bounds a call that is not known to take long.
	DefaultTimeout = 2 * time.Minute

	maxMessage = 16 << 20
)

// Client calls one runtime. It is safe for concurrent use.
type Client struct {
	runtime runtimeapi.RuntimeServiceClient
	images  runtimeapi.ImageServiceClient
	timeout time.Duration
	conn    *grpc.ClientConn
}

// Dial makes a client for the runtime at endpoint ("unix:///path" or a bare path). It does not wait for the
// runtime to answer. A timeout of 0 means DefaultTimeout.
func Dial(endpoint string, timeout time.Duration) (*Client, error) {
	if strings.HasPrefix(endpoint, "/") {
		endpoint = "unix://" + endpoint
	}
	if !strings.HasPrefix(endpoint, "unix://") {
		return nil, fmt.Errorf("runtime endpoint %q: only unix sockets are supported", endpoint)
	}
	conn, err := grpc.NewClient(endpoint,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, fmt.Errorf("runtime endpoint %q: %w", endpoint, err)
	}
	client := New(runtimeapi.NewRuntimeServiceClient(conn), runtimeapi.NewImageServiceClient(conn), timeout)
	client.conn = conn
	return client, nil
}

// New makes a client over generated stubs, such as those of an in-memory runtime. A timeout of 0 means DefaultTimeout.
func New(runtime runtimeapi.RuntimeServiceClient, images runtimeapi.ImageServiceClient, timeout time.Duration) *Client {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	return &Client{runtime: runtime, images: images, timeout: timeout}
}

// Close drops the connection, if the client dialled one.
func (c *Client) Close() error {
	if c.conn == nil {
		return nil
	}
	return c.conn.Close()
}

// Runtime returns the raw runtime stub, for streaming calls that are passed through.
func (c *Client) Runtime() runtimeapi.RuntimeServiceClient { return c.runtime }

func (c *Client) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.timeout)
}

// Version returns the runtime's name and version.
func (c *Client) Version(ctx context.Context) (*runtimeapi.VersionResponse, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	return c.runtime.Version(ctx, &runtimeapi.VersionRequest{Version: "v1"})
}

// Conditions returns the runtime's own conditions (RuntimeReady, NetworkReady) and its handlers.
func (c *Client) Conditions(ctx context.Context) (*runtimeapi.StatusResponse, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	return c.runtime.Status(ctx, &runtimeapi.StatusRequest{})
}
