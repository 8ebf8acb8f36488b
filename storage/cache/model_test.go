package cache_test

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/cache"
	"github.com/yare-io/yare/storage/etcd"
	"github.com/yare-io/yare/storage/memory"
)

// version is a pod as the model sees it: its tweaks at a revision.
type version struct {
	tweaks   []string
	revision int64
}

// model is the naive second implementation: the whole history, read through
// from the start for every question.
type model struct {
	history []step
}

// step is one write; nil means that the key was not, or is no longer, there.
type step struct {
	key           string
	revision      int64
	before, after *version
}

// query is what a list or a watch selects.
type query struct{ prefix, app, node, name string }

func (q query) predicate() cache.Predicate {
	p := cache.Predicate{}
	if q.app != "" {
		p.Labels = labels.SelectorFromSet(labels.Set{"app": q.app})
	}
	set := fields.Set{}
	if q.node != "" {
		set["spec.nodeName"] = q.node
	}
	if q.name != "" {
		set["metadata.name"] = q.name
	}
	if len(set) > 0 {
		p.Fields = fields.SelectorFromSet(set)
	}
	return p
}

func (q query) selects(key string, v *version) bool {
	return v != nil && strings.HasPrefix(key, q.prefix) &&
		(q.app == "" || slices.Contains(v.tweaks, "app="+q.app)) &&
		(q.node == "" || slices.Contains(v.tweaks, "node="+q.node)) &&
		(q.name == "" || strings.HasSuffix(key, "/"+q.name))
}

// list returns what a query selects at a revision.
func (m *model) list(q query, revision int64) []string {
	state := map[string]*version{}
	for _, s := range m.history {
		if s.revision <= revision {
			state[s.key] = s.after
		}
	}
	var out []string
	for key, v := range state {
		if q.selects(key, v) {
			out = append(out, fmt.Sprintf("%s@%d", strings.TrimPrefix(key, pods), v.revision))
		}
	}
	sort.Strings(out)
	return out
}

// events returns what a watch of a query sees after a revision.
func (m *model) events(q query, after int64) []string {
	var out []string
	for _, s := range m.history {
		if s.revision <= after {
			continue
		}
		was, is := q.selects(s.key, s.before), q.selects(s.key, s.after)
		kind := map[[2]bool]string{{false, true}: "ADDED", {true, true}: "MODIFIED", {true, false}: "DELETED"}[[2]bool{was, is}]
		if kind != "" {
			out = append(out, fmt.Sprintf("%s %s@%d", kind, strings.TrimPrefix(s.key, pods), s.revision))
		}
	}
	return out
}

var queries = rapid.Custom(func(t *rapid.T) query {
	return query{
		prefix: rapid.SampledFrom([]string{pods, pods, pods + "a/", pods + "b/", pods + "a/x"}).Draw(t, "prefix"),
		app:    rapid.SampledFrom([]string{"", "", "web"}).Draw(t, "app"),
		node:   rapid.SampledFrom([]string{"", "", "n1"}).Draw(t, "node"),
		name:   rapid.SampledFrom([]string{"", "", "x", "y"}).Draw(t, "name"),
	}
})

// write makes one random change to the store and the model.
func (m *model) write(t *rapid.T, f *fixture) {
	key := pods + rapid.SampledFrom([]string{"a/x", "a/y", "a/xx", "b/x", "b/y", "c/z"}).Draw(t, "key")
	var before *version
	for _, s := range m.history {
		if s.key == key {
			before = s.after
		}
	}
	s := step{key: key, before: before}
	if before != nil && rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
		s.revision = f.remove(key, before.revision)
		m.history = append(m.history, s)
		return
	}
	after := &version{tweaks: []string{
		"app=" + rapid.SampledFrom([]string{"web", "db"}).Draw(t, "app"),
		"node=" + rapid.SampledFrom([]string{"", "n1", "n2"}).Draw(t, "node"),
	}}
	if before == nil {
		after.revision = f.create(key, after.tweaks...)
	} else {
		after.revision = f.update(key, before.revision, after.tweaks...)
	}
	s.revision, s.after = after.revision, after
	m.history = append(m.history, s)
}

// watched is a watch that the model will be asked about.
type watched struct {
	query query
	after int64
	watch *cache.Watch
}

func TestCacheAnswersAsTheModelDoes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		store := memory.New(memory.Config{})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		f := &fixture{t: t, ctx: ctx, store: store, cache: cache.New(store, nil)}
		f.pods = f.cache.Register(podConfig())
		stop := running(t, f.cache)
		defer func() { stop(); _ = store.Close() }()
		if err := f.pods.WaitReady(f.ctx); err != nil {
			rt.Fatal(err)
		}
		first, err := store.Revision(f.ctx)
		if err != nil {
			rt.Fatal(err)
		}
		m, watches := &model{}, []watched{}
		rt.Repeat(map[string]func(*rapid.T){
			"write": func(rt *rapid.T) { m.write(rt, f) },
			"watch": func(rt *rapid.T) {
				q, after := queries.Draw(rt, "query"), rapid.Int64Range(first, last(m, first)).Draw(rt, "after")
				w, err := f.pods.Watch(f.ctx, cache.WatchOptions{Prefix: q.prefix, After: after, Predicate: q.predicate()})
				if err != nil {
					rt.Fatal(err)
				}
				watches = append(watches, watched{q, after, w})
			},
			"watch state": func(rt *rapid.T) { m.checkInitial(rt, f, queries.Draw(rt, "query"), last(m, first)) },
			"list now":    func(rt *rapid.T) { m.checkPages(rt, f, queries.Draw(rt, "query"), cache.Consistent, last(m, first)) },
			"list then": func(rt *rapid.T) {
				at := rapid.Int64Range(first, last(m, first)).Draw(rt, "revision")
				m.checkPages(rt, f, queries.Draw(rt, "query"), at, at)
			},
		})
		for _, w := range watches {
			want := m.events(w.query, w.after)
			var got []string
			for len(got) < len(want) {
				events, err := w.watch.Next(f.ctx)
				if err != nil {
					rt.Fatal(err)
				}
				got = append(got, describe(events)...)
			}
			if !slices.Equal(got, want) {
				rt.Fatalf("watch %+v after %d:\n%q\nwant\n%q", w.query, w.after, got, want)
			}
			w.watch.Close()
		}
	})
}

func last(m *model, first int64) int64 {
	if n := len(m.history); n > 0 {
		return m.history[n-1].revision
	}
	return first
}

// checkPages lists in pages of a random size and compares.
func (m *model) checkPages(t *rapid.T, f *fixture, q query, ask, revision int64) {
	o := cache.ListOptions{
		Prefix: q.prefix, Predicate: q.predicate(), Revision: ask, Exact: ask > 0,
		Limit: rapid.IntRange(0, 3).Draw(t, "limit"),
	}
	want := m.list(q, revision)
	var got []string
	for {
		page, err := f.pods.List(f.ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, obj := range page.Objects {
			got = append(got, fmt.Sprintf("%s@%d", strings.TrimPrefix(obj.Key, pods), obj.Revision))
		}
		if page.Revision != revision {
			t.Fatalf("page of revision %d, want %d", page.Revision, revision)
		}
		if left := int64(len(want) - len(got)); o.Predicate.Empty() && page.Remaining != left {
			t.Fatalf("remaining %d, want %d", page.Remaining, left)
		}
		if page.Next == "" {
			break
		}
		o.From, o.Revision, o.Exact = page.Next, page.Revision, true
	}
	if !slices.Equal(got, want) {
		t.Fatalf("list %+v at %d:\n%q\nwant\n%q", q, revision, got, want)
	}
}

// checkInitial watches with initial events and compares them with a list.
func (m *model) checkInitial(t *rapid.T, f *fixture, q query, revision int64) {
	w, err := f.pods.Watch(f.ctx, cache.WatchOptions{
		Prefix: q.prefix, Predicate: q.predicate(), After: cache.Consistent, InitialEvents: true, Bookmarks: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var want []string
	for _, line := range m.list(q, revision) {
		want = append(want, "ADDED "+line)
	}
	want = append(want, fmt.Sprintf("BOOKMARK end@%d", revision))
	events, err := w.Next(f.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got := describe(events); !slices.Equal(got, want) {
		t.Fatalf("initial events %q, want %q", got, want)
	}
}

// TestWatchesUnderConcurrentWriters compares watches of all kinds, which start
// while writers are at work, with what one watch of everything has seen.
func TestWatchesUnderConcurrentWriters(t *testing.T) {
	t.Run("memory", func(t *testing.T) { watchUnderWriters(t, newStore(t)) })
	t.Run("etcd", func(t *testing.T) { watchUnderWriters(t, newEtcd(t)) })
}

func newEtcd(t testing.TB) storage.Store {
	store, err := etcd.Open(t.Context(), etcd.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func watchUnderWriters(t *testing.T, store storage.Store) {
	f := start(t, store)
	first, err := f.store.Revision(f.ctx)
	if err != nil {
		t.Fatal(err)
	}
	all := f.watch(cache.WatchOptions{After: first})
	var writers sync.WaitGroup
	for writer := range 4 {
		writers.Go(func() { f.churn(writer, 150) })
	}
	var watches []watched
	for i := range 40 {
		q := query{prefix: []string{pods, pods + "n0/", pods + "n1/"}[i%3], node: []string{"", "n1"}[i%2], app: []string{"", "", "web"}[i%3]}
		after := f.cache.Revision()
		watches = append(watches, watched{q, after, f.watch(cache.WatchOptions{Prefix: q.prefix, After: after, Predicate: q.predicate()})})
	}
	writers.Wait()
	end := f.create(pods + "n0/end")
	m := f.journal(all, end)
	for _, w := range watches {
		want := m.events(w.query, w.after)
		f.expect(w.watch, want...)
	}
}

// churn creates, changes and deletes pods of its own.
func (f *fixture) churn(writer, rounds int) {
	for i := range rounds {
		key := fmt.Sprintf("%sn%d/w%d", pods, i%2, writer)
		rev := f.create(key, "node=n1", "app=web")
		rev = f.update(key, rev, fmt.Sprintf("node=n%d", i%3), "app=web")
		rev = f.update(key, rev, fmt.Sprintf("node=n%d", i%3), "app=db")
		f.remove(key, rev)
	}
}

// journal makes a model of what a watch of everything sees up to a revision.
func (f *fixture) journal(w *cache.Watch, end int64) *model {
	m := &model{}
	now := map[string]*version{}
	for next := int64(0); next < end; {
		events, err := w.Next(f.ctx)
		if err != nil {
			f.t.Fatal(err)
		}
		for _, e := range events {
			if next != 0 && e.Revision != next+1 {
				f.t.Fatalf("revision %d after %d", e.Revision, next)
			}
			next = e.Revision
			s := step{key: e.Object.Key, revision: e.Revision, before: now[e.Object.Key]}
			if e.Type != "DELETED" {
				s.after = &version{revision: e.Revision, tweaks: []string{
					"app=" + e.Object.Labels.Get("app"), "node=" + e.Object.Fields.Get("spec.nodeName"),
				}}
			}
			now[s.key] = s.after
			m.history = append(m.history, s)
		}
	}
	return m
}

var _ storage.Store = (*flaky)(nil)
