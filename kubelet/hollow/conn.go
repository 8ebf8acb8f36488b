package hollow

import (
	"context"
	"fmt"
	"io"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Conn returns a connection to the runtime inside the process: no socket and
// no encoding. The generated clients work on it:
//
//	runtimeapi.NewRuntimeServiceClient(r.Conn())
//	runtimeapi.NewImageServiceClient(r.Conn())
//
// Messages are copied on their way, so neither side can change the other's.
func (r *Runtime) Conn() grpc.ClientConnInterface { return conn{r} }

type conn struct{ runtime *Runtime }

// Invoke implements grpc.ClientConnInterface.
func (c conn) Invoke(ctx context.Context, method string, request, reply any, _ ...grpc.CallOption) error {
	for _, service := range []*grpc.ServiceDesc{&runtimeapi.RuntimeService_ServiceDesc, &runtimeapi.ImageService_ServiceDesc} {
		name, ok := strings.CutPrefix(method, "/"+service.ServiceName+"/")
		if !ok {
			continue
		}
		for _, m := range service.Methods {
			if m.MethodName == name {
				return c.call(ctx, m, request, reply)
			}
		}
	}
	return status.Errorf(codes.Unimplemented, "unknown method %s", method)
}

func (c conn) call(ctx context.Context, method grpc.MethodDesc, request, reply any) error {
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	answer, err := method.Handler(c.runtime, ctx, func(into any) error { return copyMessage(into, request) }, nil)
	if err != nil {
		return err
	}
	return copyMessage(reply, answer)
}

func copyMessage(into, from any) error {
	target, ok := into.(proto.Message)
	source, ok2 := from.(proto.Message)
	if !ok || !ok2 {
		return fmt.Errorf("copy %T to %T: not protobuf messages", from, into)
	}
	proto.Reset(target)
	proto.Merge(target, source)
	return nil
}

// NewStream implements grpc.ClientConnInterface for calls whose server sends
// many messages.
func (c conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	for _, service := range []*grpc.ServiceDesc{&runtimeapi.RuntimeService_ServiceDesc, &runtimeapi.ImageService_ServiceDesc} {
		name, ok := strings.CutPrefix(method, "/"+service.ServiceName+"/")
		if !ok {
			continue
		}
		for _, s := range service.Streams {
			if s.StreamName == name {
				return &stream{ctx: ctx, runtime: c.runtime, handler: s.Handler, sent: make(chan any), ended: make(chan struct{})}, nil
			}
		}
	}
	return nil, status.Errorf(codes.Unimplemented, "unknown stream %s", desc.StreamName)
}

// stream is both ends of one call. The handler's goroutine begins with the
// request and ends with the call's context, or when it has sent everything.
type stream struct {
	ctx     context.Context
	runtime *Runtime
	handler grpc.StreamHandler
	request any
	sent    chan any
	// ended is closed when the handler has returned err.
	ended chan struct{}
	err   error
}

// SendMsg takes the request.
func (s *stream) SendMsg(request any) error {
	s.request = request
	go func() {
		defer close(s.ended)
		s.err = s.handler(s.runtime, serverStream{s})
	}()
	return nil
}

// RecvMsg waits for the server's next message.
func (s *stream) RecvMsg(into any) error {
	select {
	case message := <-s.sent:
		return copyMessage(into, message)
	case <-s.ctx.Done():
		return status.FromContextError(s.ctx.Err()).Err()
	case <-s.ended:
		if s.err == nil {
			return io.EOF
		}
		return s.err
	}
}

// Header, Trailer, CloseSend and Context complete grpc.ClientStream.
func (s *stream) Header() (metadata.MD, error) { return nil, nil }

// Trailer implements grpc.ClientStream.
func (s *stream) Trailer() metadata.MD { return nil }

// CloseSend implements grpc.ClientStream.
func (s *stream) CloseSend() error { return nil }

// Context implements grpc.ClientStream.
func (s *stream) Context() context.Context { return s.ctx }

// serverStream is the handler's end of a stream.
type serverStream struct{ *stream }

// SendMsg hands a message to the client, when that asks for it.
func (s serverStream) SendMsg(message any) error {
	select {
	case s.sent <- message:
		return nil
	case <-s.ctx.Done():
		return status.FromContextError(s.ctx.Err()).Err()
	}
}

// RecvMsg returns the request.
func (s serverStream) RecvMsg(into any) error { return copyMessage(into, s.request) }

// SetHeader implements grpc.ServerStream.
func (s serverStream) SetHeader(metadata.MD) error { return nil }

// SendHeader implements grpc.ServerStream.
func (s serverStream) SendHeader(metadata.MD) error { return nil }

// SetTrailer implements grpc.ServerStream.
func (s serverStream) SetTrailer(metadata.MD) {}
