package apiserver

import (
	"context"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/cache"
)

// part is a resource's part of the cache. It is registered there when it is
// first asked for, and may outlive the row that it was made for.
type part struct {
	cache  *cache.Cache
	config cache.Config
	// row says how objects are decoded now.
	row atomic.Pointer[registry.Resource]

	mu         sync.Mutex
	registered *cache.Resource
	closed     bool
}

func (s *Server) newPart(res *resource) *part {
	p := &part{cache: s.cache}
	p.row.Store(res.row)
	p.config = cache.Config{
		Prefix:  res.prefix,
		Decode:  func(kv storage.KV) (runtime.Object, error) { return s.set().decode(p.row.Load(), kv) },
		Indexed: res.row.Indexed,
	}
	if res.row.Fields != nil {
		p.config.Fields = func(obj runtime.Object) fields.Set { return p.row.Load().Fields(obj) }
	}
	return p
}

// objects returns the place in the cache. That of a closed part fails every
// read.
func (p *part) objects() *cache.Resource {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.registered == nil {
		p.registered = p.cache.Register(p.config)
		if codec := p.row.Load().Codec; codec != nil && codec.Present != nil {
			p.registered.KeepDecoded()
		}
		if p.closed {
			p.cache.Remove(p.registered)
		}
	}
	return p.registered
}

// used returns the place in the cache if anybody has asked for it.
func (p *part) used() *cache.Resource {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.registered
}

// close ends the watches and frees the memory.
func (p *part) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.registered != nil {
		p.cache.Remove(p.registered)
	}
}

// follow makes a row the one that decodes, and reports whether it is a new one.
func (p *part) follow(row *registry.Resource) bool { return p.row.Swap(row) != row }

// refresh decodes all objects again.
func (p *part) refresh(ctx context.Context) error {
	if registered := p.used(); registered != nil {
		return registered.Refresh(ctx)
	}
	return nil
}
