package encrypted

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/yare-io/yare/storage"
)

// load reads the file and makes its keys; sum tells one content from another.
func (s *Store) load() (keys *keyring, sum [sha256.Size]byte, err error) {
	data, err := os.ReadFile(s.config.File)
	if err != nil {
		return nil, sum, fmt.Errorf("encryption configuration: %w", err)
	}
	sum = sha256.Sum256(data)
	config, err := parse(data)
	if err != nil {
		return nil, sum, fmt.Errorf("encryption configuration %s: %w", s.config.File, err)
	}
	if keys, err = newKeyring(s.ctx, config, s.config.Logger); err != nil {
		return nil, sum, fmt.Errorf("encryption configuration %s: %w", s.config.File, err)
	}
	return keys, sum, nil
}

// reloadForever puts changes of the file in force until the store closes. One
// that cannot be used, or whose key services do not answer, changes nothing.
func (s *Store) reloadForever(sum [sha256.Size]byte) {
	for s.pause(s.config.ReloadInterval) {
		data, err := os.ReadFile(s.config.File)
		if err == nil && sha256.Sum256(data) == sum {
			continue
		}
		keys, next, err := s.load()
		if err == nil {
			if err = keys.health(); err != nil {
				keys.close()
			}
		}
		if err != nil {
			s.config.Logger.Error("the encryption configuration stays as it was", "err", err)
			continue
		}
		sum = next
		s.keys.Swap(keys).close()
		s.config.Logger.Info("the encryption configuration has changed", "file", s.config.File)
	}
}

func (s *Store) pause(d time.Duration) bool {
	timer := s.config.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-s.ctx.Done():
		return false
	}
}

// rewritePage is how many values are read together.
const rewritePage = 500

// Rewrite writes the values below a prefix again that are not as they would be
// written now: in clear, or with a key that is no longer the first. Whoever
// writes meanwhile is not in the way. Keys of events, which expire, are left to
// do so: to write them would make them stay.
func (s *Store) Rewrite(ctx context.Context, prefix string) (rewritten int, err error) {
	request := storage.ListRequest{Prefix: prefix, Limit: rewritePage}
	for {
		page, err := s.Store.List(ctx, request)
		if err != nil {
			return rewritten, err
		}
		for _, kv := range page.KVs {
			done, err := s.rewrite(ctx, kv)
			if err != nil {
				return rewritten, err
			}
			if done {
				rewritten++
			}
		}
		if page.Remaining == 0 || len(page.KVs) == 0 {
			return rewritten, nil
		}
		request.From = page.KVs[len(page.KVs)-1].Key + "\x00"
	}
}

func (s *Store) rewrite(ctx context.Context, kv storage.KV) (bool, error) {
	if resource, ok := s.config.ResourceOf(kv.Key); !ok || resource.Resource == "events" {
		return false, nil
	}
	clear, stale, err := s.decrypt(ctx, kv)
	if err != nil || !stale {
		return false, err
	}
	_, err = s.Update(ctx, kv.Key, clear.Value, kv.Revision, 0)
	if errors.Is(err, storage.ErrConflict) {
		// Somebody else wrote it, and so with the key of now.
		return false, nil
	}
	return err == nil, err
}
