package restsemantics

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestVersionsOfLists: resourceVersion, resourceVersionMatch, limit and
// continue in all combinations.
func TestVersionsOfLists(t *testing.T) {
	g := newTarget(t)
	for _, name := range []string{"a", "b", "c"} {
		g.configMap(name)
	}
	first := g.get(g.maps)
	version := first.text(t, "resourceVersion")
	g.configMap("d")
	list := func(query string, values ...any) answer {
		return g.do("GET", g.maps+"?"+fmt.Sprintf(query, values...), "")
	}
	shows := func(g *target, a answer, names string) {
		g.Helper()
		if got := a.names(g.T); got != names {
			g.Errorf("the list has %q, want %q", got, names)
		}
	}
	g.rule("without a version a list is the latest", func(g *target) { shows(g, list(""), "a b c d") })
	g.rule("version 0 is any state, all of it: a limit does not count", func(g *target) {
		a := list("resourceVersion=0&limit=1")
		shows(g, a, "a b c d")
		if a.text(g.T, "continue") != "" {
			g.Errorf("%v", a)
		}
	})
	g.rule("a version alone is not older than that", func(g *target) { shows(g, list("resourceVersion=%s", version), "a b c d") })
	g.rule("NotOlderThan is not older than that", func(g *target) {
		shows(g, list("resourceVersion=%s&resourceVersionMatch=NotOlderThan", version), "a b c d")
		shows(g, list("resourceVersion=0&resourceVersionMatch=NotOlderThan"), "a b c d")
	})
	g.rule("Exact is that state", func(g *target) {
		a := list("resourceVersion=%s&resourceVersionMatch=Exact", version)
		shows(g, a, "a b c")
		if got := a.text(g.T, "resourceVersion"); got != version {
			g.Errorf("the list is of %s, want %s", got, version)
		}
	})
	g.rule("Exact with a limit pages that state", func(g *target) {
		a := list("resourceVersion=%s&resourceVersionMatch=Exact&limit=2", version)
		shows(g, a, "a b")
		shows(g, list("limit=2&continue=%s", a.text(g.T, "continue")), "c")
	})
	g.rule("a version with a limit is exactly that state", func(g *target) {
		a := list("resourceVersion=%s&limit=2", version)
		shows(g, a, "a b")
		shows(g, list("limit=2&continue=%s", a.text(g.T, "continue")), "c")
	})
	g.rule("NotOlderThan with a limit pages a newer state", func(g *target) {
		a := list("resourceVersion=%s&resourceVersionMatch=NotOlderThan&limit=2", version)
		shows(g, a, "a b")
		shows(g, list("limit=2&continue=%s", a.text(g.T, "continue")), "c d")
	})
	token := list("limit=1").text(t, "continue")
	for _, bad := range []struct {
		name, query string
		code        int
		reason      metav1.StatusReason
		message     string
	}{
		{"a match needs a version", "resourceVersionMatch=Exact", 422, metav1.StatusReasonInvalid, `resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided`},
		{"version 0 is no exact one", "resourceVersion=0&resourceVersionMatch=Exact", 422, metav1.StatusReasonInvalid, `resourceVersionMatch: Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"`},
		{"matches have names", "resourceVersion=1&resourceVersionMatch=Newest", 422, metav1.StatusReasonInvalid, `resourceVersionMatch: Unsupported value: "Newest": supported values: `},
		{"a continued list has its version", "limit=1&continue=" + token + "&resourceVersion=" + version, 400, metav1.StatusReasonBadRequest, "specifying resource version is not allowed when using continue"},
		{"a continued list has its match", "limit=1&continue=" + token + "&resourceVersion=" + version + "&resourceVersionMatch=Exact", 422, metav1.StatusReasonInvalid, "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided"},
		{"initial events are for watches", "sendInitialEvents=true", 422, metav1.StatusReasonInvalid, "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"},
		{"a limit is a number", "limit=x", 400, metav1.StatusReasonBadRequest, `strconv.ParseInt: parsing "x": invalid syntax`},
	} {
		g.rule(bad.name, func(g *target) {
			a := list("%s", bad.query)
			g.fails(a, bad.code, bad.reason, bad.message)
		})
	}
	g.rule("a version to come is not waited for", func(g *target) {
		n, err := strconv.Atoi(version)
		must(g.T, err)
		a := list("resourceVersion=%d", n+1_000_000_000)
		g.fails(a, 504, metav1.StatusReasonTimeout, "Too large resource version")
		err = &apierrors.StatusError{ErrStatus: a.status(g.T)}
		if !apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) || a.header.Get("Retry-After") == "" {
			g.Errorf("%v %v", a, a.header)
		}
	})
	g.rule("a get can be of any state too", func(g *target) {
		g.get(g.maps + "/a?resourceVersion=0")
		g.get(g.maps + "/a?resourceVersion=" + version)
	})
}

// TestPages: limit, continue and remainingItemCount.
func TestPages(t *testing.T) {
	g := newTarget(t)
	for i := range 5 {
		g.configMap(fmt.Sprintf("m%d", i))
	}
	g.rule("pages are of one state, whatever is written meanwhile", func(g *target) {
		a := g.get(g.maps + "?limit=2")
		version := a.text(g.T, "resourceVersion")
		g.configMap("m11")
		g.ok(g.do("DELETE", g.maps+"/m3", ""))
		names := a.names(g.T)
		for token := a.text(g.T, "continue"); token != ""; token = a.text(g.T, "continue") {
			a = g.get(g.maps + "?limit=2&continue=" + token)
			names += " " + a.names(g.T)
			if got := a.text(g.T, "resourceVersion"); got != version {
				g.Errorf("a page is of %s, the first was of %s", got, version)
			}
		}
		if names != "m0 m1 m2 m3 m4" {
			g.Errorf("pages have %s", names)
		}
	})
	g.rule("what remains is counted", func(g *target) {
		if a := g.get(g.maps + "?limit=2"); a.meta(g.T)["remainingItemCount"] != 3.0 {
			g.Errorf("%v", a)
		}
		if a := g.get(g.maps + "?limit=5"); a.meta(g.T)["remainingItemCount"] != nil || a.text(g.T, "continue") != "" {
			g.Errorf("%v", a)
		}
	})
	g.rule("what remains is not counted behind a selector", func(g *target) {
		a := g.get(g.maps + "?limit=1&labelSelector=" + url.QueryEscape("name in (m0, m4)"))
		if a.names(g.T) != "m0" || a.meta(g.T)["remainingItemCount"] != nil || a.text(g.T, "continue") == "" {
			g.Errorf("%v", a)
		}
		rest := g.get(g.maps + "?limit=1&continue=" + a.text(g.T, "continue") + "&labelSelector=" + url.QueryEscape("name in (m0, m4)"))
		if rest.names(g.T) != "m4" {
			g.Errorf("%v", rest)
		}
	})
	g.rule("an empty page is a list", func(g *target) {
		if a := g.get(g.maps + "?labelSelector=name%3Dnobody"); a.names(g.T) != "" || a.object(g.T)["items"] == nil {
			g.Errorf("%v", a)
		}
	})
	for name, token := range map[string]string{
		"no base64": "%", "no JSON": base64.RawURLEncoding.EncodeToString([]byte("x")),
		"of another version": base64.RawURLEncoding.EncodeToString([]byte(`{"v":"v9","rv":1,"start":"a"}`)),
		"without a key":      base64.RawURLEncoding.EncodeToString([]byte(`{"v":"meta.k8s.io/v1","rv":1}`)),
		"without a version":  base64.RawURLEncoding.EncodeToString([]byte(`{"v":"meta.k8s.io/v1","start":"a"}`)),
		"leading elsewhere":  base64.RawURLEncoding.EncodeToString([]byte(`{"v":"meta.k8s.io/v1","rv":1,"start":"../../secrets"}`)),
	} {
		g.rule("a token is refused when it is "+name, func(g *target) {
			g.fails(g.do("GET", g.maps+"?limit=1&continue="+url.QueryEscape(token), ""), 400, metav1.StatusReasonBadRequest, "continue key is not valid")
		})
	}
	g.rule("a token of a state that is gone comes back with one to go on without it", func(g *target) {
		old := base64.RawURLEncoding.EncodeToString([]byte(`{"v":"meta.k8s.io/v1","rv":1,"start":"m1\u0000"}`))
		a := g.do("GET", g.maps+"?limit=9&continue="+old, "")
		if a.code == 200 {
			g.Skip("the server still has its first state")
		}
		g.fails(a, 410, metav1.StatusReasonExpired, "The provided continue parameter is too old to display a consistent list result.")
		rest := g.get(g.maps + "?limit=9&continue=" + a.text(g.T, "continue"))
		if got := rest.names(g.T); got != "m11 m2 m4" {
			g.Errorf("it goes on with %s", got)
		}
	})
}

// TestSelectors: of labels and of fields.
func TestSelectors(t *testing.T) {
	g := newTarget(t)
	for name, labels := range map[string]string{"a": `{"x":"1","y":"1"}`, "b": `{"x":"2"}`, "c": `{}`} {
		g.post(g.maps, fmt.Sprintf(`{"metadata":{"name":%q,"labels":%s}}`, name, labels))
	}
	for selector, names := range map[string]string{
		"x=1": "a", "x==1": "a", "x!=1": "b c", "x in (1,2)": "a b", "x notin (1)": "b c", "x": "a b", "!x": "c", "x,!y": "b", "x>1": "b", "x<2": "a", "": "a b c",
	} {
		g.rule("labels "+selector, func(g *target) {
			if got := g.get(g.maps + "?labelSelector=" + url.QueryEscape(selector)).names(g.T); got != names {
				g.Errorf("selected %q, want %q", got, names)
			}
		})
	}
	for selector, names := range map[string]string{
		"metadata.name=a": "a", "metadata.name!=a": "b c", "metadata.name=a,metadata.name=b": "", "metadata.namespace=" + g.namespace: "a b c", "metadata.namespace=other": "",
	} {
		g.rule("fields "+selector, func(g *target) {
			if got := g.get(g.maps + "?fieldSelector=" + url.QueryEscape(selector)).names(g.T); got != names {
				g.Errorf("selected %q, want %q", got, names)
			}
		})
	}
	for selector, message := range map[string]string{
		"x=(": "unable to parse requirement", "x in 1": "unable to parse requirement", "-x": "unable to parse requirement",
	} {
		g.rule("labels "+selector+" are refused", func(g *target) {
			g.fails(g.do("GET", g.maps+"?labelSelector="+url.QueryEscape(selector), ""), 400, metav1.StatusReasonBadRequest, message)
		})
	}
	for selector, message := range map[string]string{
		"a": `invalid selector: 'a'; can't understand 'a'`, "data.k=v": `"data.k" is not a known field selector: only "metadata.name", "metadata.namespace"`,
	} {
		g.rule("fields "+selector+" are refused", func(g *target) {
			g.fails(g.do("GET", g.maps+"?fieldSelector="+url.QueryEscape(selector), ""), 400, metav1.StatusReasonBadRequest, message)
		})
	}
}
