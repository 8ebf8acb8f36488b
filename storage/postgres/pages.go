package postgres

import (
	"sync"

	"github.com/yare-io/yare/storage"
)

// pages remembers how many keys are left where the pages of lists ended, so
// that they are counted for the first page only: what a range had at a revision
// never changes.
type pages struct {
	mu   sync.Mutex
	left map[page]int64
	// order has the pages as they were remembered, for the oldest to go.
	order []page
}

// page is where the next page of a list begins.
type page struct {
	prefix, from string
	revision     int64
}

// rememberedPages is for that many lists at once.
const rememberedPages = 256

func (p *pages) recall(next page) (int64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	left, ok := p.left[next]
	return left, ok && next.revision != 0
}

// remember notes where a list that is not complete goes on: clients ask for what
// comes after the last key.
func (p *pages) remember(prefix string, result storage.ListResult) {
	if result.Remaining == 0 || len(result.KVs) == 0 {
		return
	}
	next := page{prefix: prefix, from: result.KVs[len(result.KVs)-1].Key + "\x00", revision: result.Revision}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == nil {
		p.left = make(map[page]int64)
	}
	if _, ok := p.left[next]; !ok {
		p.order = append(p.order, next)
	}
	p.left[next] = result.Remaining
	if len(p.order) > rememberedPages {
		delete(p.left, p.order[0])
		p.order = p.order[1:]
	}
}

// forget is for when the store has another history.
func (p *pages) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.left)
	p.order = nil
}
