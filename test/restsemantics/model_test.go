package restsemantics

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// model is what config maps are expected to be there, at every version that
// has been.
type model struct {
	g *target
	// now has the label of each, and the versions, in their order, what was.
	now      map[string]string
	versions []string
	states   []map[string]string
	// events are those that led from a state to the next.
	events []string
}

// TestListsAndWatchesAgreeWithAModel writes at random and compares lists, pages
// and watches of random selectors and versions with what should be there.
func TestListsAndWatchesAgreeWithAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := newTarget(t)
		m := &model{g: g, now: map[string]string{}}
		m.keep(g.get(g.maps).text(t, "resourceVersion"), "")
		for range rapid.IntRange(1, 12).Draw(rt, "writes") {
			m.write(rt)
		}
		for range 6 {
			m.list(rt)
		}
		for range 2 {
			m.watch(rt)
		}
	})
}

func (m *model) keep(version, event string) {
	m.versions, m.states = append(m.versions, version), append(m.states, maps.Clone(m.now))
	m.events = append(m.events, event)
}

var (
	names  = rapid.SampledFrom([]string{"a", "b", "c", "d", "e"})
	labels = rapid.SampledFrom([]string{"x", "y", ""})
)

func (m *model) write(rt *rapid.T) {
	name, label := names.Draw(rt, "name"), labels.Draw(rt, "label")
	before, there := m.now[name]
	body := fmt.Sprintf(`{"metadata":{"name":%q,"labels":{"l":%q}}}`, name, label)
	switch {
	case !there:
		m.now[name] = label
		m.keep(m.g.post(m.g.maps, body).text(m.g.T, "resourceVersion"), "ADDED "+name)
	case rapid.Bool().Draw(rt, "delete"):
		m.g.ok(m.g.do("DELETE", m.g.maps+"/"+name, ""))
		delete(m.now, name)
		m.keep("", "DELETED "+name)
	case before != label:
		m.now[name] = label
		m.keep(m.g.put(m.g.maps+"/"+name, body).text(m.g.T, "resourceVersion"), "MODIFIED "+name)
	}
}

// selector is one of labels or fields, with what it selects.
type selector struct {
	query   string
	selects func(name, label string) bool
}

func (m *model) selector(rt *rapid.T) selector {
	name, label := names.Draw(rt, "selected name"), labels.Draw(rt, "selected label")
	return rapid.SampledFrom([]selector{
		{"", func(string, string) bool { return true }},
		{"labelSelector=" + url.QueryEscape("l="+label), func(_, l string) bool { return l == label }},
		{"labelSelector=" + url.QueryEscape("l!="+label), func(_, l string) bool { return l != label }},
		{"labelSelector=" + url.QueryEscape("l notin (x,y)"), func(_, l string) bool { return l == "" }},
		{"fieldSelector=" + url.QueryEscape("metadata.name="+name), func(n, _ string) bool { return n == name }},
		{"fieldSelector=" + url.QueryEscape("metadata.name!="+name) + "&labelSelector=l%3Dx", func(n, l string) bool { return n != name && l == "x" }},
	}).Draw(rt, "selector")
}

func (s selector) of(state map[string]string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(state)) {
		if s.selects(name, state[name]) {
			out = append(out, name)
		}
	}
	return strings.Join(out, " ")
}

// list reads a state, all at once or in pages.
func (m *model) list(rt *rapid.T) {
	s, at := m.selector(rt), len(m.states)-1
	query := "?" + s.query
	if old := rapid.IntRange(0, at).Draw(rt, "state"); old < at && m.versions[old] != "" && rapid.Bool().Draw(rt, "exact") {
		at = old
		query += "&resourceVersionMatch=Exact&resourceVersion=" + m.versions[at]
	}
	limit := rapid.IntRange(0, 3).Draw(rt, "limit")
	if limit > 0 {
		query += "&limit=" + strconv.Itoa(limit)
	}
	a := m.g.get(m.g.maps + query)
	got := a.names(m.g.T)
	for token := a.text(m.g.T, "continue"); token != ""; token = a.text(m.g.T, "continue") {
		if len(strings.Fields(a.names(m.g.T))) > limit {
			rt.Fatalf("a page of more than %d: %v", limit, a)
		}
		a = m.g.get(fmt.Sprintf("%s?%s&limit=%d&continue=%s", m.g.maps, s.query, limit, token))
		got = strings.TrimSpace(got + " " + a.names(m.g.T))
	}
	if want := s.of(m.states[at]); got != want {
		rt.Fatalf("%s lists %q, want %q", query, got, want)
	}
}

// watch follows from a state to the last.
func (m *model) watch(rt *rapid.T) {
	s, from := m.selector(rt), rapid.IntRange(0, len(m.states)-1).Draw(rt, "first state")
	for m.versions[from] == "" {
		from--
	}
	var want []string
	for i := from + 1; i < len(m.states); i++ {
		kind, name, _ := strings.Cut(m.events[i], " ")
		old, was := m.states[i-1][name]
		label, is := m.states[i][name]
		was, is = was && s.selects(name, old), is && s.selects(name, label)
		switch {
		case was && is:
			want = append(want, kind+" "+name)
		case is:
			want = append(want, "ADDED "+name)
		case was:
			want = append(want, "DELETED "+name)
		}
	}
	w := m.g.watch(m.g.maps + "?watch=1&" + s.query + "&resourceVersion=" + m.versions[from])
	for i, event := range want {
		if got := w.next().String(); got != event {
			rt.Fatalf("event %d of %s from state %d is %s, want %v", i, s.query, from, got, want)
		}
	}
}
