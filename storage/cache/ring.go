package cache

import (
	"sort"
	"sync"
	"time"
)

// change is one event of a resource. It is shared by all watches.
type change struct {
	// sequence numbers the changes of a resource without gaps.
	sequence int64
	revision int64
	at       time.Time
	// previous is nil when the object was created, current when it was deleted.
	previous, current *Object

	once sync.Once
	last *Object
}

// gone is the previous object at the change's revision: what a watch shows that
// will see no more of it.
func (c *change) gone() *Object {
	c.once.Do(func() { c.last = c.previous.at(c.revision) })
	return c.last
}

// topic is a run of changes that some watches read, each with a cursor of its
// own. The resource's mu guards it.
type topic struct {
	// changes are in the order of their revisions; first is the position of
	// changes[0], counted from the topic's beginning.
	changes []*change
	first   int64
	// floor is a revision whose successors are all here, or have been dropped.
	floor int64
	// watches is how many cursors there are.
	watches int
	changed broadcast
}

func (t *topic) end() int64 { return t.first + int64(len(t.changes)) }

func (t *topic) add(c *change) { t.changes = append(t.changes, c) }

// drop forgets the n oldest changes.
func (t *topic) drop(n int) {
	clear(t.changes[:n])
	t.changes = t.changes[n:]
	t.first += int64(n)
}

// dropBefore forgets the changes with a lower sequence number.
func (t *topic) dropBefore(sequence int64) {
	n := 0
	for n < len(t.changes) && t.changes[n].sequence < sequence {
		n++
	}
	t.drop(n)
}

// after is the position of the first change above a revision.
func (t *topic) after(revision int64) int64 {
	return t.first + int64(sort.Search(len(t.changes), func(i int) bool { return t.changes[i].revision > revision }))
}

// read copies at most limit changes from a position on; false means that some
// of them have been dropped.
func (t *topic) read(position int64, limit int) ([]*change, bool) {
	if position < t.first {
		return nil, false
	}
	rest := t.changes[position-t.first:]
	if len(rest) > limit {
		rest = rest[:limit]
	}
	return append([]*change(nil), rest...), true
}

// topicKey says what the changes of a topic have in common: a folder, an
// object (a folder and a name), or the value of a field. The zero value is the
// topic of all changes.
type topicKey struct{ folder, field, value string }

// topicFor picks the narrowest topic that has everything a watch may want.
func (r *Resource) topicFor(prefix string, p Predicate) topicKey {
	inFolder := len(prefix) > len(r.config.Prefix) && folder(prefix) == prefix
	if name, ok := p.exactly(nameField); ok {
		if inFolder {
			return topicKey{folder: prefix, field: nameField, value: name}
		}
		return topicKey{field: nameField, value: name}
	}
	for _, field := range r.config.Indexed {
		if value, ok := p.exactly(field); ok {
			return topicKey{field: field, value: value}
		}
	}
	if inFolder {
		return topicKey{folder: prefix}
	}
	return topicKey{}
}

// topicsOf calls visit with each topic that a change belongs to, beside the one
// of all changes. It may name one twice.
func (r *Resource) topicsOf(c *change, visit func(topicKey)) {
	one := c.current
	if one == nil {
		one = c.previous
	}
	in := folder(one.Key)
	visit(topicKey{folder: in})
	for _, o := range [...]*Object{c.previous, c.current} {
		if o == nil {
			continue
		}
		visit(topicKey{folder: in, field: nameField, value: o.Fields.Get(nameField)})
		visit(topicKey{field: nameField, value: o.Fields.Get(nameField)})
		for _, field := range r.config.Indexed {
			visit(topicKey{field: field, value: o.Fields.Get(field)})
		}
	}
}

// subscribe returns a topic that has the changes after a revision, which all
// has too. The caller holds mu.
func (r *Resource) subscribe(key topicKey, after int64) *topic {
	t := &r.all
	if key != (topicKey{}) {
		if t = r.topics[key]; t == nil {
			t = &topic{floor: r.revision()}
			r.topics[key] = t
		}
		r.fill(t, key, after)
	}
	t.watches++
	return t
}

// fill puts in front of a topic's changes those after a revision that it does
// not have, because no watch has asked for them so far.
func (r *Resource) fill(t *topic, key topicKey, after int64) {
	if after >= t.floor {
		return
	}
	older := &topic{}
	missing := r.all.changes[r.all.after(after)-r.all.first : r.all.after(t.floor)-r.all.first]
	for _, c := range missing {
		r.topicsOf(c, func(k topicKey) {
			if k == key {
				older.addOnce(c)
			}
		})
	}
	t.first -= int64(len(older.changes))
	t.changes = append(older.changes, t.changes...)
	t.floor = after
}

// unsubscribe gives back what subscribe returned. The caller holds mu.
func (r *Resource) unsubscribe(key topicKey, t *topic) {
	t.watches--
	if t.watches == 0 && r.topics[key] == t {
		delete(r.topics, key)
	}
}

// addOnce adds a change unless it is the latest already.
func (t *topic) addOnce(c *change) bool {
	if n := len(t.changes); n > 0 && t.changes[n-1] == c {
		return false
	}
	t.add(c)
	return true
}

const (
	// freshness is how long changes are kept at least, as far as the limit
	// allows: the time a client has between a list and its watch.
	freshness = 75 * time.Second
	// fewChanges are kept however old they are.
	fewChanges = 256
)

// record appends a change to the topics that it belongs to and wakes their
// watches. The caller holds mu.
func (r *Resource) record(c *change) {
	c.sequence = r.all.end()
	c.at = r.cache.clock.Now()
	r.all.add(c)
	r.trim(c.at)
	r.all.changed.wake()
	if len(r.topics) == 0 {
		return
	}
	oldest := r.all.first
	r.topicsOf(c, func(key topicKey) {
		if t := r.topics[key]; t != nil && t.addOnce(c) {
			t.dropBefore(oldest)
			t.changed.wake()
		}
	})
}

// trim drops what is over the limit or no longer fresh. The caller holds mu.
func (r *Resource) trim(now time.Time) {
	r.dropKept(now)
	n := max(0, len(r.all.changes)-r.cache.eventLimit)
	for len(r.all.changes)-n > fewChanges && now.Sub(r.all.changes[n].at) > freshness {
		n++
	}
	if n > 0 {
		r.floor = max(r.floor, r.all.changes[n-1].revision)
		r.all.drop(n)
	}
}
