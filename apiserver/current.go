package apiserver

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/storage"
)

// current is an object as a write finds it.
type current struct {
	// obj is shared and must not be changed.
	obj      runtime.Object
	encoded  encodable
	revision int64
	// live: read from the store itself, which keeps value. What the cache has
	// may be older, so that nothing may be refused because of it.
	live  bool
	value []byte
}

// errStale ends an attempt whose outcome hangs on whether the object is as the
// cache has it.
var errStale = errors.New("the cache cannot decide this")

// cached reads an object from the cache.
func (s *Server) cached(ctx context.Context, wr *write) (*current, error) {
	object, err := wr.res.objects().Get(ctx, wr.res.key(wr.namespace, wr.name), 0)
	if err != nil {
		return nil, err
	}
	found, err := wr.res.presentOne(ctx, object)
	if err != nil {
		return nil, err
	}
	obj, err := found.Decoded()
	if err != nil {
		return nil, err
	}
	return &current{obj: obj, encoded: found, revision: object.Revision}, nil
}

// live reads an object from the store.
func (s *Server) live(ctx context.Context, wr *write) (*current, error) {
	kv, err := s.config.Store.Get(ctx, wr.res.key(wr.namespace, wr.name))
	if err != nil {
		return nil, err
	}
	return s.found(ctx, wr, kv)
}

func (s *Server) found(ctx context.Context, wr *write, kv storage.KV) (*current, error) {
	obj, err := s.set().decode(wr.res.row, kv)
	if err != nil {
		return nil, err
	}
	if c := wr.res.row.Codec; c != nil && c.Present != nil {
		presented, err := c.Present(ctx, []runtime.Object{obj})
		if err != nil {
			return nil, err
		}
		obj = presented[0]
	}
	return &current{obj: obj, encoded: fresh{obj}, revision: kv.Revision, live: true, value: kv.Value}, nil
}

// maxAttempts bounds how often a write that does not insist on a version
// starts again because others were faster.
const maxAttempts = 100

// attempt runs a write against the current object until it succeeds or fails
// for good: first against the cache's copy, then, if that fails for whatever
// reason, against the store's, and again when another write came in between.
func (s *Server) attempt(ctx context.Context, wr *write, try func(*current) error) error {
	cur, err := s.cached(ctx, wr)
	isLive := false
	for range maxAttempts {
		if err == nil {
			err = try(cur)
		}
		var conflict *storage.ConflictError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return err
		case errors.As(err, &conflict) && conflict.Current != nil:
			isLive = true
			cur, err = s.found(ctx, wr, *conflict.Current)
		case !isLive:
			isLive = true
			cur, err = s.live(ctx, wr)
		case errors.As(err, &conflict):
			return storage.ErrNotFound
		default:
			return err
		}
	}
	return errModified(wr.res.row.GroupResource(), wr.name)
}
