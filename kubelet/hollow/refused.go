package hollow

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// refuse says why something that needs a process cannot be done. Whatever CRI
// has beyond this package is answered with codes.Unimplemented as well.
func refuse(what string) error {
	return status.Errorf(codes.Unimplemented, "%s: hollow containers have no processes", what)
}

// ExecSync implements RuntimeServiceServer.
func (r *Runtime) ExecSync(context.Context, *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error) {
	return nil, refuse("exec is not possible")
}

// Exec implements RuntimeServiceServer.
func (r *Runtime) Exec(context.Context, *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error) {
	return nil, refuse("exec is not possible")
}

// Attach implements RuntimeServiceServer.
func (r *Runtime) Attach(context.Context, *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error) {
	return nil, refuse("attach is not possible")
}

// PortForward implements RuntimeServiceServer.
func (r *Runtime) PortForward(context.Context, *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error) {
	return nil, refuse("port-forward is not possible")
}

// CheckpointContainer implements RuntimeServiceServer.
func (r *Runtime) CheckpointContainer(context.Context, *runtimeapi.CheckpointContainerRequest) (*runtimeapi.CheckpointContainerResponse, error) {
	return nil, refuse("there is nothing to checkpoint")
}
