package restsemantics

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestDeletions: answers, preconditions, finalizers, grace.
func TestDeletions(t *testing.T) {
	g := newTarget(t)
	pods := "/api/v1/namespaces/" + g.namespace + "/pods"
	g.rule("a deletion is answered with a Status that says what", func(g *target) {
		uid := g.configMap("gone").text(g.T, "uid")
		status := g.ok(g.do("DELETE", g.maps+"/gone", "")).status(g.T)
		if status.Status != metav1.StatusSuccess || status.Details == nil || status.Details.Name != "gone" || status.Details.Kind != "configmaps" || string(status.Details.UID) != uid {
			g.Errorf("%+v", status)
		}
		g.fails(g.do("DELETE", g.maps+"/gone", ""), 404, metav1.StatusReasonNotFound, `configmaps "gone" not found`)
	})
	g.rule("finalizers keep an object until the last is gone", func(g *target) {
		g.post(g.maps, `{"metadata":{"name":"kept","finalizers":["example.com/a","example.com/b"]}}`)
		a := g.ok(g.do("DELETE", g.maps+"/kept", ""))
		if a.code != 200 || a.object(g.T)["kind"] != "ConfigMap" || a.text(g.T, "deletionTimestamp") == "" || a.meta(g.T)["deletionGracePeriodSeconds"] != 0.0 {
			g.Errorf("%v", a)
		}
		g.fails(g.patch(g.maps+"/kept", mergePatch, `{"metadata":{"finalizers":["example.com/a","example.com/c"]}}`), 422, metav1.StatusReasonInvalid, "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"example.com/c\"}")
		g.ok(g.patch(g.maps+"/kept", mergePatch, `{"metadata":{"finalizers":["example.com/a"]}}`))
		g.get(g.maps + "/kept")
		g.ok(g.patch(g.maps+"/kept", mergePatch, `{"metadata":{"finalizers":null}}`))
		g.fails(g.do("GET", g.maps+"/kept", ""), 404, metav1.StatusReasonNotFound, "")
	})
	for policy, finalizer := range map[string]string{"Foreground": "foregroundDeletion", "Orphan": "orphan"} {
		g.rule(policy+" is a finalizer", func(g *target) {
			name := "by-" + finalizer
			if policy == "Foreground" {
				name = "by-foreground"
			}
			// A finalizer of its own, so that no collector is faster than the test.
			g.post(g.maps, fmt.Sprintf(`{"metadata":{"name":%q,"finalizers":["example.com/a"]}}`, name))
			a := g.ok(g.do("DELETE", g.maps+"/"+name, fmt.Sprintf(`{"propagationPolicy":%q}`, policy)))
			if got := fmt.Sprint(a.meta(g.T)["finalizers"]); got != "[example.com/a "+finalizer+"]" && got != "["+finalizer+" example.com/a]" {
				g.Errorf("finalizers are %s", got)
			}
			g.ok(g.patch(g.maps+"/"+name, mergePatch, `{"metadata":{"finalizers":null}}`))
		})
	}
	g.rule("orphanDependents false that does not end at once is accepted", func(g *target) {
		g.post(g.maps, `{"metadata":{"name":"accepted","finalizers":["example.com/a"]}}`)
		if a := g.do("DELETE", g.maps+"/accepted", `{"orphanDependents":false}`); a.code != 202 {
			g.Errorf("%v", a)
		}
		g.ok(g.patch(g.maps+"/accepted", mergePatch, `{"metadata":{"finalizers":null}}`))
	})
	a := g.configMap("bound")
	for _, bad := range []struct {
		name, query, body string
		code              int
		reason            metav1.StatusReason
		message           string
	}{
		{"another object", "", `{"preconditions":{"uid":"1"}}`, 409, metav1.StatusReasonConflict, "the UID in the precondition (1) does not match the UID in record (" + a.text(t, "uid") + "). The object might have been deleted and then recreated"},
		{"another version", "", `{"preconditions":{"resourceVersion":"1"}}`, 409, metav1.StatusReasonConflict, "the ResourceVersion in the precondition (1) does not match the ResourceVersion in record (" + a.text(t, "resourceVersion") + "). The object might have been modified"},
		{"no policy", "?propagationPolicy=Some", "", 422, metav1.StatusReasonInvalid, `propagationPolicy: Unsupported value: "Some": supported values: "Foreground", "Background", "Orphan", "nil"`},
		{"two policies", "", `{"propagationPolicy":"Orphan","orphanDependents":true}`, 422, metav1.StatusReasonInvalid, "orphanDependents and deletionPropagation cannot be both set"},
		{"no dry run", "?dryRun=x", "", 422, metav1.StatusReasonInvalid, `dryRun: Unsupported value: ["x"]: supported values: "All"`},
		{"no options", "", `{"gracePeriodSeconds":"x"}`, 400, metav1.StatusReasonBadRequest, ""},
	} {
		g.rule("refused: "+bad.name, func(g *target) {
			g.fails(g.do("DELETE", g.maps+"/bound"+bad.query, bad.body), bad.code, bad.reason, bad.message)
		})
	}
	g.rule("what preconditions say is deleted", func(g *target) {
		g.ok(g.do("DELETE", g.maps+"/bound", fmt.Sprintf(`{"preconditions":{"uid":%q,"resourceVersion":%q}}`, a.text(g.T, "uid"), a.text(g.T, "resourceVersion"))))
	})
	g.rule("a pod that runs nowhere goes at once, one on a node by its grace", func(g *target) {
		pod := func(name, node string) {
			g.post(pods, fmt.Sprintf(`{"metadata":{"name":%q},"spec":{"nodeName":%q,"automountServiceAccountToken":false,"containers":[{"name":"c","image":"i"}]}}`, name, node))
		}
		accounts := "/api/v1/namespaces/" + g.namespace + "/serviceaccounts"
		if a := g.do("POST", accounts, `{"metadata":{"name":"default"}}`); a.code != 201 && a.code != 409 {
			g.Fatalf("%v", a)
		}
		pod("free", "")
		g.ok(g.do("DELETE", pods+"/free", ""))
		g.fails(g.do("GET", pods+"/free", ""), 404, metav1.StatusReasonNotFound, "")
		pod("bound", "nowhere")
		a := g.ok(g.do("DELETE", pods+"/bound?gracePeriodSeconds=50", ""))
		if a.meta(g.T)["deletionGracePeriodSeconds"] != 50.0 || a.text(g.T, "deletionTimestamp") == "" {
			g.Errorf("%v", a)
		}
		if a := g.ok(g.do("DELETE", pods+"/bound?gracePeriodSeconds=70", "")); a.meta(g.T)["deletionGracePeriodSeconds"] != 50.0 {
			g.Errorf("a longer grace: %v", a)
		}
		if a := g.ok(g.do("DELETE", pods+"/bound?gracePeriodSeconds=20", "")); a.meta(g.T)["deletionGracePeriodSeconds"] != 20.0 {
			g.Errorf("a shorter grace: %v", a)
		}
		g.ok(g.do("DELETE", pods+"/bound?gracePeriodSeconds=0", ""))
		g.fails(g.do("GET", pods+"/bound", ""), 404, metav1.StatusReasonNotFound, "")
	})
}

// TestCollections: deletions of many.
func TestCollections(t *testing.T) {
	g := newTarget(t)
	left := func(g *target, want string) {
		g.Helper()
		if got := g.get(g.maps + "?labelSelector=name").names(g.T); got != want {
			g.Errorf("left are %q, want %q", got, want)
		}
	}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		g.configMap(name)
	}
	g.rule("by label, answered with a list", func(g *target) {
		a := g.ok(g.do("DELETE", g.maps+"?labelSelector=name%3Da", ""))
		if a.object(g.T)["kind"] != "ConfigMapList" || a.names(g.T) != "a" {
			g.Errorf("%v", a)
		}
		left(g, "b c d e")
	})
	g.rule("by field", func(g *target) {
		g.ok(g.do("DELETE", g.maps+"?fieldSelector=metadata.name%3Db", ""))
		left(g, "c d e")
	})
	g.rule("as many as the limit", func(g *target) {
		g.ok(g.do("DELETE", g.maps+"?labelSelector=name&limit=1", ""))
		left(g, "d e")
	})
	g.rule("not with wrong selectors", func(g *target) {
		g.fails(g.do("DELETE", g.maps+"?labelSelector=(", ""), 400, metav1.StatusReasonBadRequest, "")
		g.fails(g.do("DELETE", g.maps+"?fieldSelector=data%3Dx", ""), 400, metav1.StatusReasonBadRequest, "not a known field selector")
		left(g, "d e")
	})
	g.rule("with the options of deletions", func(g *target) {
		g.ok(g.patch(g.maps+"/d", mergePatch, `{"metadata":{"finalizers":["example.com/a"]}}`))
		g.ok(g.do("DELETE", g.maps+"?labelSelector=name", `{"propagationPolicy":"Background"}`))
		left(g, "d")
		g.ok(g.patch(g.maps+"/d", mergePatch, `{"metadata":{"finalizers":null}}`))
		left(g, "")
	})
}
