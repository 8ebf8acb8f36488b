package hollow

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Serve answers CRI calls on a listener (a unix socket, usually) until ctx is
// done, and returns when the last call has been answered. It closes the
// listener and the runtime.
func (r *Runtime) Serve(ctx context.Context, listener net.Listener) error {
	server := grpc.NewServer()
	runtimeapi.RegisterRuntimeServiceServer(server, r)
	runtimeapi.RegisterImageServiceServer(server, r)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		r.Close()
		return fmt.Errorf("serve the hollow runtime: %w", err)
	case <-ctx.Done():
	}
	r.Close() // ends the watches, for which GracefulStop would wait
	server.GracefulStop()
	<-served
	return nil
}
