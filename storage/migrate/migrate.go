// Package migrate copies what is in one storage.Store to another, of any kind.
// Nobody else may write to either meanwhile. A copy that stops half-way goes on
// when it is started again, and it ends with a comparison of both. Revisions are
// not copied: the target has its own.
package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/yare-io/yare/storage"
)

// Config says what to copy.
type Config struct {
	From, To storage.Store
	// Source names what is copied; a copy that was begun from another source is
	// not taken up.
	Source string
	// Keep tells whether a key is copied and, if it is to expire, when: a store
	// does not tell how long its keys have left. Default: all, for ever.
	Keep func(key string) (ttl time.Duration, ok bool)
	// Progress is called now and then. Default: nobody is told.
	Progress func(Progress)
}

// Progress of a copy.
type Progress struct {
	// Step is "copy", then "compare".
	Step string
	// Done is how many keys the step has seen, Total how many there are.
	Done, Total int64
}

const (
	// marker is a key of the target while a copy into it is not complete.
	marker = "yare_migration"
	// pageSize is how many keys are read together, writers how many are written
	// at once.
	pageSize = 500
	writers  = 32
)

// Errors that say why nothing was copied, or not for good.
var (
	ErrNotEmpty = errors.New("the target has data already, and not of an unfinished copy from this source")
	ErrChanged  = errors.New("the source was written to while it was copied: stop what uses it and start again")
	ErrDiffers  = errors.New("the target is not a copy of the source")
)

// Run copies and compares. It returns how many keys the target has of the
// source.
func Run(ctx context.Context, config Config) (int64, error) {
	if config.Keep == nil {
		config.Keep = func(string) (time.Duration, bool) { return 0, true }
	}
	if config.Progress == nil {
		config.Progress = func(Progress) {}
	}
	began, err := config.From.Revision(ctx)
	if err != nil {
		return 0, err
	}
	if err := config.claim(ctx); err != nil {
		return 0, err
	}
	if err := config.copyAll(ctx, began); err != nil {
		return 0, err
	}
	count, err := config.compare(ctx, began)
	if err != nil {
		return 0, err
	}
	if now, err := config.From.Revision(ctx); err != nil || now != began {
		return 0, errors.Join(err, ErrChanged)
	}
	return count, config.release(ctx)
}

// claim marks the target, which must be empty or marked by the same source.
func (c *Config) claim(ctx context.Context) error {
	there, err := c.To.Get(ctx, marker)
	switch {
	case err == nil && string(there.Value) == c.Source:
		return nil
	case err == nil:
		return fmt.Errorf("%w: it has a part of %q", ErrNotEmpty, there.Value)
	case !errors.Is(err, storage.ErrNotFound):
		return err
	}
	found, err := c.To.List(ctx, storage.ListRequest{Prefix: "/", CountOnly: true})
	if err != nil {
		return err
	}
	if found.Remaining > 0 {
		return fmt.Errorf("%w: it has %d keys", ErrNotEmpty, found.Remaining)
	}
	_, err = c.To.Create(ctx, marker, []byte(c.Source), 0)
	return err
}

func (c *Config) release(ctx context.Context) error {
	there, err := c.To.Get(ctx, marker)
	if err != nil {
		return err
	}
	_, err = c.To.Delete(ctx, marker, there.Revision)
	return err
}

// pages calls use with the keys of a store that are to be copied, in order, as
// they were at a revision; zero means whatever each page finds.
func (c *Config) pages(ctx context.Context, store storage.Store, revision int64, step string, use func([]storage.KV) error) error {
	request := storage.ListRequest{Prefix: "/", Limit: pageSize, Revision: revision}
	var done int64
	for {
		page, err := store.List(ctx, request)
		if err != nil {
			return err
		}
		var kept []storage.KV
		for _, kv := range page.KVs {
			if _, ok := c.Keep(kv.Key); ok {
				kept = append(kept, kv)
			}
		}
		if err := use(kept); err != nil {
			return err
		}
		done += int64(len(page.KVs))
		c.Progress(Progress{Step: step, Done: done, Total: done + page.Remaining})
		if page.Remaining == 0 || len(page.KVs) == 0 {
			return nil
		}
		request.From = page.KVs[len(page.KVs)-1].Key + "\x00"
	}
}

func (c *Config) copyAll(ctx context.Context, revision int64) error {
	return c.pages(ctx, c.From, revision, "copy", func(kvs []storage.KV) error {
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(writers)
		for _, kv := range kvs {
			group.Go(func() error { return c.copyOne(ctx, kv) })
		}
		return group.Wait()
	})
}

// copyOne writes a key unless an earlier run has.
func (c *Config) copyOne(ctx context.Context, kv storage.KV) error {
	ttl, _ := c.Keep(kv.Key)
	_, err := c.To.Create(ctx, kv.Key, kv.Value, ttl)
	if !errors.Is(err, storage.ErrExists) {
		return err
	}
	there, err := c.To.Get(ctx, kv.Key)
	if err != nil || bytes.Equal(there.Value, kv.Value) {
		return err
	}
	_, err = c.To.Update(ctx, kv.Key, kv.Value, there.Revision, ttl)
	return err
}

// compare goes through both in step.
func (c *Config) compare(ctx context.Context, revision int64) (count int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	copied := make(chan storage.KV, pageSize)
	var reading errgroup.Group
	reading.Go(func() error {
		defer close(copied)
		return c.pages(ctx, c.To, 0, "compare", func(kvs []storage.KV) error { return send(ctx, copied, kvs) })
	})
	silent := *c
	silent.Progress = func(Progress) {}
	err = silent.pages(ctx, c.From, revision, "compare", func(kvs []storage.KV) error {
		for _, want := range kvs {
			got, ok := <-copied
			if !ok || got.Key != want.Key || !bytes.Equal(got.Value, want.Value) {
				return fmt.Errorf("%w: at key %q", ErrDiffers, want.Key)
			}
			count++
		}
		return nil
	})
	if err == nil {
		if more, ok := <-copied; ok {
			err = fmt.Errorf("%w: it also has key %q", ErrDiffers, more.Key)
		}
	}
	cancel()
	if readErr := reading.Wait(); err == nil && !errors.Is(readErr, context.Canceled) {
		err = readErr
	}
	return count, err
}

func send(ctx context.Context, to chan<- storage.KV, kvs []storage.KV) error {
	for _, kv := range kvs {
		select {
		case to <- kv:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
