package restsemantics

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestWatches: where they begin, what they select, how they end.
func TestWatches(t *testing.T) {
	g := newTarget(t)
	old := g.configMap("a").text(t, "resourceVersion")
	latest := g.configMap("b").text(t, "resourceVersion")
	relabel := func(g *target, name, label string) {
		g.Helper()
		g.ok(g.do("PATCH", g.maps+"/"+name, fmt.Sprintf(`{"metadata":{"labels":{"name":%q}}}`, label), "Content-Type", "application/merge-patch+json"))
	}
	g.rule("without a version a watch begins with what is there", func(g *target) {
		g.watch(g.maps+"?watch=1").expect("ADDED a", "ADDED b")
	})
	g.rule("so does one of version 0", func(g *target) { g.watch(g.maps+"?watch=true&resourceVersion=0").expect("ADDED a", "ADDED b") })
	g.rule("of a version it begins after that", func(g *target) { g.watch(g.maps + "?watch=1&resourceVersion=" + old).expect("ADDED b") })
	g.rule("the path of old watches too", func(g *target) {
		g.watch("/api/v1/watch/namespaces/" + g.namespace + "/configmaps?resourceVersion=" + old).expect("ADDED b")
		g.watch("/api/v1/watch/namespaces/" + g.namespace + "/configmaps/b").expect("ADDED b")
	})
	g.rule("a stream of JSON", func(g *target) {
		if w := g.watch(g.maps + "?watch=1"); w.code != 200 || w.header.Get("Content-Type") != "application/json" {
			g.Errorf("%d %v", w.code, w.header)
		}
	})
	g.rule("what ceases to be selected is deleted, what begins to is added", func(g *target) {
		w := g.watch(g.maps + "?watch=1&labelSelector=name%3Dx&resourceVersion=" + latest)
		relabel(g, "a", "x")
		relabel(g, "b", "y")
		relabel(g, "a", "z")
		relabel(g, "b", "x")
		w.expect("ADDED a", "DELETED a", "ADDED b")
	})
	g.rule("one object by its name", func(g *target) {
		w := g.watch(g.maps + "?watch=1&fieldSelector=metadata.name%3Db")
		w.expect("ADDED b")
		g.configMap("c")
		relabel(g, "b", "again")
		w.expect("MODIFIED b")
	})
	g.rule("a deletion has the version at which it was done", func(g *target) {
		before := g.configMap("gone").text(g.T, "resourceVersion")
		g.ok(g.do("DELETE", g.maps+"/gone", ""))
		e := g.watch(g.maps + "?watch=1&resourceVersion=" + before).next()
		if e.String() != "DELETED gone" || e.Object.Metadata.ResourceVersion == before {
			g.Errorf("%+v", e)
		}
	})
	g.rule("a watch ends after its time", func(g *target) {
		w := g.watch(g.maps + "?watch=1&timeoutSeconds=1&resourceVersion=" + g.get(g.maps).text(g.T, "resourceVersion"))
		if e := w.next(); e.Type != "" {
			g.Errorf("%v", e)
		}
	})
	g.rule("a bookmark comes before the end where it is asked for", func(g *target) {
		w := g.watch(g.maps + "?watch=1&timeoutSeconds=4&allowWatchBookmarks=true&resourceVersion=" + latest)
		var last event
		for e := w.next(); e.Type != ""; e = w.next() {
			last = e
		}
		if last.Type != "BOOKMARK" || last.Object.Kind != "ConfigMap" || last.Object.Metadata.ResourceVersion == "" || last.Object.Metadata.Name != "" {
			g.Errorf("the last event is %+v", last)
		}
	})
	g.rule("initial events end with a bookmark that says so", func(g *target) {
		w := g.watch(g.maps + "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&fieldSelector=metadata.name%3Da")
		w.expect("ADDED a")
		if e := w.next(); e.Type != "BOOKMARK" || e.Object.Metadata.Annotations[metav1.InitialEventsAnnotationKey] != "true" {
			g.Errorf("%+v", e)
		}
	})
	g.rule("initial events can be left out", func(g *target) {
		w := g.watch(g.maps + "?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&resourceVersion=0")
		g.configMap("later")
		w.expect("ADDED later")
	})
	for _, bad := range []struct{ name, query, message string }{
		{"initial events need a match", "sendInitialEvents=true", "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"},
		{"a match needs initial events", "resourceVersionMatch=NotOlderThan&resourceVersion=1", "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"},
	} {
		g.rule(bad.name, func(g *target) {
			g.fails(g.do("GET", g.maps+"?watch=1&"+bad.query, ""), 422, metav1.StatusReasonInvalid, bad.message)
		})
	}
}

// TestFormsOfWatches: PartialObjectMetadata and Table in watches.
func TestFormsOfWatches(t *testing.T) {
	g := newTarget(t)
	g.configMap("a")
	for _, form := range []string{"PartialObjectMetadata", "Table"} {
		g.rule("events hold a "+form, func(g *target) {
			a := g.do("GET", g.maps+"?watch=1&timeoutSeconds=1", "", "Accept", "application/json;as="+form+";v=v1;g=meta.k8s.io")
			if e := a.object(g.T); e["type"] != "ADDED" || e["object"].(map[string]any)["kind"] != form || e["object"].(map[string]any)["apiVersion"] != "meta.k8s.io/v1" {
				g.Errorf("%v", a)
			}
		})
	}
}
