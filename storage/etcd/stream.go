package etcd

import (
	"context"
	"errors"
	"io"
	"math"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"google.golang.org/grpc"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// streamRange reads a range in parts of a size that etcd chooses, and hands each
// to use until that asks for no more.
type streamRange func(ctx context.Context, request *etcdserverpb.RangeRequest, use func(*etcdserverpb.RangeResponse) (more bool)) error

// overTheWire streams from an external etcd, of version 3.7 or later.
func overTheWire(client *clientv3.Client) streamRange {
	return func(ctx context.Context, request *etcdserverpb.RangeRequest, use func(*etcdserverpb.RangeResponse) bool) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		kv := etcdserverpb.NewKVClient(client.ActiveConnection())
		parts, err := kv.RangeStream(ctx, request, grpc.MaxCallRecvMsgSize(math.MaxInt32))
		if err != nil {
			return err
		}
		for {
			part, err := parts.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if !use(part.RangeResponse) {
				return nil
			}
		}
	}
}

// errEnough ends a stream in this process.
var errEnough = errors.New("no more is wanted")

// inProcess streams from the embedded server, whose own client cannot.
func inProcess(server *etcdserver.EtcdServer) streamRange {
	kv := v3rpc.NewKVServer(server)
	return func(ctx context.Context, request *etcdserverpb.RangeRequest, use func(*etcdserverpb.RangeResponse) bool) error {
		parts := &localStream{ctx: ctx, use: use}
		err := kv.RangeStream(request, parts)
		if parts.left {
			return nil
		}
		return err
	}
}

// localStream is the server's end of a stream that crosses no wire.
type localStream struct {
	grpc.ServerStream
	ctx  context.Context
	use  func(*etcdserverpb.RangeResponse) bool
	left bool
}

var _ etcdserverpb.KV_RangeStreamServer = (*localStream)(nil)

// Context implements grpc.ServerStream.
func (l *localStream) Context() context.Context { return l.ctx }

// Send implements etcdserverpb.KV_RangeStreamServer.
func (l *localStream) Send(part *etcdserverpb.RangeStreamResponse) error {
	if l.use(part.RangeResponse) {
		return nil
	}
	l.left = true
	return errEnough
}
