package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/yare-io/yare/storage"
)

var errClosed = fmt.Errorf("store closed: %w", storage.ErrUnavailable)

// kinds are etcd's errors as the contract names them.
var kinds = []struct{ from, to error }{
	{rpctypes.ErrCompacted, storage.ErrCompacted},
	{rpctypes.ErrFutureRev, storage.ErrFutureRevision},
	{rpctypes.ErrNoSpace, storage.ErrNoSpace},
	{rpctypes.ErrRequestTooLarge, storage.ErrTooLarge},
	{rpctypes.ErrTooManyRequests, storage.ErrUnavailable},
}

// translate names an error of etcd or of the way to it as the contract does. A
// cancelled request is both unavailable and cancelled.
func (s *store) translate(err error) error {
	if err == nil {
		return nil
	}
	if s.ctx.Err() != nil {
		return errClosed
	}
	err = rpctypes.Error(err)
	for _, kind := range kinds {
		if errors.Is(err, kind.from) {
			return fmt.Errorf("%w: %w", kind.to, err)
		}
	}
	switch code(err) {
	case codes.Unavailable, codes.Internal, codes.Unknown, codes.Aborted, codes.FailedPrecondition:
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	case codes.DeadlineExceeded:
		return fmt.Errorf("%w: %w: %w", storage.ErrUnavailable, context.DeadlineExceeded, err)
	case codes.Canceled:
		return fmt.Errorf("%w: %w: %w", storage.ErrUnavailable, context.Canceled, err)
	case codes.ResourceExhausted:
		// What is left of this code is gRPC refusing a message.
		return fmt.Errorf("%w: %w", storage.ErrTooLarge, err)
	}
	return err
}

func code(err error) codes.Code {
	var etcdError rpctypes.EtcdError
	switch {
	case errors.As(err, &etcdError):
		return etcdError.Code()
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	}
	return status.Code(err)
}
