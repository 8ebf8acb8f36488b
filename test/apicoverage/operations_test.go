package apicoverage

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// operation is one line of the ledger.
type operation struct {
	method, path, verb, groupVersion, kind, resource, subresource string
	namespaced                                                    bool
}

func (o operation) String() string { return o.method + " " + o.path }

// omitted are the operations that this server does not have, by resource or by
// path, and why.
func omitted(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, line := range lines(t, "omitted.tsv") {
		out[line["name"]] = line["reason"]
	}
	return out
}

// operations reads the ledger, the resources one after another, each in the
// order in which its operations can succeed.
func operations(t testing.TB) []operation {
	t.Helper()
	var all []operation
	for _, line := range lines(t, "operations.tsv") {
		gv := strings.TrimPrefix(line["group"]+"/"+line["version"], "core/")
		if line["verb"] == "nonresource" {
			gv = ""
		}
		all = append(all, operation{
			line["method"], line["path"], line["verb"], gv, line["kind"], line["resource"], line["subresource"], line["namespaced"] == "true",
		})
	}
	order := []string{"create", "get", "list", "watch", "watch-legacy", "update", "patch", "connect", "delete", "deletecollection"}
	rank := func(o operation) int {
		n := 2 * slices.Index(order, o.verb)
		switch {
		case o.subresource == "":
			return n
		case o.subresource == "eviction":
			return 2*slices.Index(order, "delete") - 1
		case o.verb == "create":
			return 3
		}
		return n + 1
	}
	slices.SortStableFunc(all, func(a, b operation) int {
		return cmp.Or(cmp.Compare(a.groupVersion, b.groupVersion), cmp.Compare(a.resource, b.resource), cmp.Compare(rank(a), rank(b)))
	})
	return all
}

// TestEveryOperationIsServed sends every stable operation of Kubernetes, with a
// body that makes it succeed.
func TestEveryOperationIsServed(t *testing.T) {
	s, objects, left := start(t), samples(t), omitted(t)
	pod := copied(t, objects["v1 Pod"])
	metadata(pod)["name"] = "bound" // what the sample of a Binding binds
	s.must(t, "POST", "/api/v1/namespaces/default/pods", pod, "Content-Type", "application/json")
	served, skipped := 0, map[string]bool{}
	for _, o := range operations(t) {
		name := o.resource + "." + o.groupVersion
		if o.resource == "" {
			name = o.path
		}
		if left[name] != "" {
			skipped[name] = true
			s.expectRefusal(t, o)
			continue
		}
		served++
		s.exercise(t, o, objects)
	}
	for name := range left {
		if !skipped[name] {
			t.Errorf("omitted.tsv names %s, which is no operation of Kubernetes", name)
		}
	}
	if served < 800 {
		t.Errorf("only %d operations exercised", served)
	}
	t.Logf("%d operations exercised, %d resources and paths left out", served, len(skipped))
}

// located fills in a path's namespace and name.
func (o operation) located(name string) string {
	return strings.NewReplacer("{namespace}", "default", "{name}", name, "{path}", "a/b").Replace(o.path)
}

// expectRefusal: what is left out does not exist, and says so.
func (s *server) expectRefusal(t *testing.T, o operation) {
	t.Helper()
	if a := s.do(t, o.method, o.located("x"), nil); a.code != 404 && a.code != 405 {
		t.Errorf("%s is left out, but answers %v", o, a)
	}
}

func (s *server) exercise(t *testing.T, o operation, objects map[string]map[string]any) {
	t.Helper()
	if o.resource == "" {
		s.exercisePath(t, o)
		return
	}
	name := "x"
	if sample := objects[o.groupVersion+" "+o.parentKind(objects)]; sample != nil {
		name = metadata(sample)["name"].(string)
	}
	if o.resource == "componentstatuses" {
		name = "etcd-0"
	}
	path := o.located(name)
	switch o.verb {
	case "create":
		body := objects[o.resource+"/"+o.subresource]
		if o.subresource == "" {
			body = objects[o.groupVersion+" "+o.kind]
		}
		if body == nil {
			t.Errorf("no sample for %s", o)
			return
		}
		s.expectSuccess(t, o, path, marshal(t, body), "Content-Type", "application/json")
	case "watch", "watch-legacy":
		s.expectWatch(t, o, path+"?watch=1")
	case "update":
		a := s.do(t, "GET", strings.TrimSuffix(path, "/finalize"), nil)
		s.expectSuccess(t, o, path, a.body, "Content-Type", "application/json")
	case "patch":
		s.expectSuccess(t, o, path, []byte(`{"metadata":{"labels":{"patched":"yes"}}}`), "Content-Type", "application/merge-patch+json")
	case "connect":
		s.expectReached(t, o, path)
	case "get":
		if o.subresource == "log" {
			s.expectReached(t, o, path)
			return
		}
		s.expectSuccess(t, o, path, nil)
	case "delete":
		if a := s.do(t, "GET", path, nil); a.code == 404 { // evicted
			s.expectSuccess(t, operation{method: "POST"}, strings.TrimSuffix(path, "/"+name), marshal(t, objects[o.groupVersion+" "+o.kind]), "Content-Type", "application/json")
		}
		s.expectSuccess(t, o, path, nil)
	default:
		s.expectSuccess(t, o, path, nil)
	}
}

// parentKind finds the kind of a subresource's parent.
func (o operation) parentKind(objects map[string]map[string]any) string {
	if o.subresource == "" {
		return o.kind
	}
	for key := range objects {
		gv, kind, ok := strings.Cut(key, " ")
		if ok && gv == o.groupVersion && strings.EqualFold(kind+"s", o.resource) {
			return kind
		}
	}
	return o.kind
}

func (s *server) expectSuccess(t *testing.T, o operation, path string, body []byte, headers ...string) {
	t.Helper()
	if a := s.do(t, o.method, path, body, headers...); a.code >= 300 {
		t.Errorf("%s: %v", o, a)
	}
}

// expectWatch: the watch begins.
func (s *server) expectWatch(t *testing.T, o operation, path string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.http.URL+path, nil)
	must(t, err)
	response, err := s.http.Client().Do(r)
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		t.Errorf("%s: %d", o, response.StatusCode)
	}
}

// expectReached: what lies behind the server is not there, but the server
// tries.
func (s *server) expectReached(t *testing.T, o operation, path string) {
	t.Helper()
	a := s.do(t, o.method, path, nil)
	if a.code == 405 || strings.Contains(string(a.body), "could not find the requested resource") {
		t.Errorf("%s: %v", o, a)
	}
}

// exercisePath asks for what is not a resource.
func (s *server) exercisePath(t *testing.T, o operation) {
	t.Helper()
	path := strings.NewReplacer("{group}", "apps", "{version}", "v1", "{path}", "api/v1").Replace(o.path)
	s.expectSuccess(t, o, path, nil)
}

func marshal(t testing.TB, value any) []byte {
	t.Helper()
	raw, err := json.Marshal(value)
	must(t, err)
	return raw
}
