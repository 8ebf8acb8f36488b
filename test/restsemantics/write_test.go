package restsemantics

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestCreates: names, places, and what only the server sets.
func TestCreates(t *testing.T) {
	g := newTarget(t)
	g.rule("the server sets what is its own", func(g *target) {
		a := g.post(g.maps, `{"metadata":{"name":"own","uid":"mine","creationTimestamp":"2001-01-01T00:00:00Z","deletionTimestamp":"2001-01-01T00:00:00Z","generation":7,"selfLink":"/x"}}`)
		meta := a.meta(g.T)
		if a.code != 201 || meta["uid"] == "mine" || meta["creationTimestamp"] == "2001-01-01T00:00:00Z" || meta["deletionTimestamp"] != nil || meta["selfLink"] != nil || meta["resourceVersion"] == nil {
			g.Errorf("%v", a)
		}
	})
	g.rule("the answer is what will be read", func(g *target) {
		for path, body := range map[string]string{
			"/apis/discovery.k8s.io/v1/namespaces/" + g.namespace + "/endpointslices": `{"metadata":{"name":"empty","annotations":{}},"addressType":"IPv4","endpoints":[],"ports":[]}`,
			"/apis/rbac.authorization.k8s.io/v1/namespaces/" + g.namespace + "/roles": `{"metadata":{"name":"empty","annotations":null},"rules":[]}`,
			g.maps: `{"metadata":{"name":"empty","finalizers":[]},"data":{},"binaryData":null}`,
		} {
			dry, made := g.post(path+"?dryRun=All", body).object(g.T), g.post(path, body)
			read := g.do("GET", path+"/empty", "")
			if made.code != 201 || !bytes.Equal(made.body, read.body) {
				g.Errorf("answered %s\nread %s", made.body, read.body)
			}
			for field, value := range read.object(g.T) {
				if field != "metadata" && !reflect.DeepEqual(dry[field], value) {
					g.Errorf("a dry run answers %v for %s, not %v", dry[field], field, value)
				}
			}
			changed := g.do("PUT", path+"/empty", strings.Replace(body, `"name":"empty"`, `"name":"empty","labels":{"a":"b"}`, 1))
			if read := g.do("GET", path+"/empty", ""); changed.code != 200 || !bytes.Equal(changed.body, read.body) {
				g.Errorf("an update answered %s\nread %s", changed.body, read.body)
			}
		}
	})
	g.rule("what is there is not created again", func(g *target) {
		g.configMap("twice")
		g.fails(g.do("POST", g.maps, `{"metadata":{"name":"twice"}}`), 409, metav1.StatusReasonAlreadyExists, `configmaps "twice" already exists`)
	})
	g.rule("names are generated", func(g *target) {
		a := g.post(g.maps, `{"metadata":{"generateName":"some-"}}`)
		if name := a.text(g.T, "name"); !strings.HasPrefix(name, "some-") || len(name) != len("some-")+5 {
			g.Errorf("%v", a)
		}
		long := g.post(g.maps, fmt.Sprintf(`{"metadata":{"generateName":%q}}`, strings.Repeat("x", 100))).text(g.T, "name")
		if len(long) != 63 {
			g.Errorf("a name of %d characters: %s", len(long), long)
		}
	})
	for _, bad := range []struct {
		name, path, body string
		code             int
		reason           metav1.StatusReason
		message          string
	}{
		{"an object needs a name", g.maps, `{}`, 422, metav1.StatusReasonInvalid, `ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required`},
		{"a new object has no version", g.maps, `{"metadata":{"name":"v","resourceVersion":"5"}}`, 400, metav1.StatusReasonBadRequest, "resourceVersion should not be set on objects to be created"},
		{"an object is of the namespace of its path", g.maps, `{"metadata":{"name":"n","namespace":"other"}}`, 400, metav1.StatusReasonBadRequest, "the namespace of the provided object does not match the namespace sent on the request"},
		{"an object is of the kind of its path", g.maps, `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"n"}}`, 400, metav1.StatusReasonBadRequest, "Secret in version \"v1\" cannot be handled as a ConfigMap"},
		{"an object is of the version of its path", g.maps, `{"kind":"ConfigMap","apiVersion":"v2","metadata":{"name":"n"}}`, 400, metav1.StatusReasonBadRequest, "the API version in the data (v2) does not match the expected API version (v1)"},
		{"a name is of the alphabet of its kind", g.maps, `{"metadata":{"name":"No"}}`, 422, metav1.StatusReasonInvalid, `metadata.name: Invalid value: "No": a lowercase RFC 1123 subdomain must consist of`},
		{"a namespace must be there", "/api/v1/namespaces/nowhere/configmaps", `{"metadata":{"name":"n"}}`, 404, metav1.StatusReasonNotFound, `namespaces "nowhere" not found`},
		{"a manager has a printable name", g.maps + "?fieldManager=%07", `{"metadata":{"name":"n"}}`, 422, metav1.StatusReasonInvalid, "fieldManager: Invalid value: "},
		{"a manager has a short name", g.maps + "?fieldManager=" + strings.Repeat("m", 129), `{"metadata":{"name":"n"}}`, 422, metav1.StatusReasonInvalid, "may not be more than 128 bytes"},
		{"dry runs have a name", g.maps + "?dryRun=Some", `{"metadata":{"name":"n"}}`, 422, metav1.StatusReasonInvalid, `dryRun: Unsupported value: ["Some"]: supported values: "All"`},
		{"field validation has a name", g.maps + "?fieldValidation=Some", `{"metadata":{"name":"n"}}`, 422, metav1.StatusReasonInvalid, `fieldValidation: Unsupported value: "Some": supported values: "", "Ignore", "Strict", "Warn"`},
		{"a body is there", g.maps, ``, 400, metav1.StatusReasonBadRequest, ""},
		{"a body ends", g.maps, `{"metadata":`, 400, metav1.StatusReasonBadRequest, ""},
		{"a body is not too long", g.maps, `{"metadata":{"name":"n"},"data":{"x":"` + strings.Repeat("x", 3<<20) + `"}}`, 413, metav1.StatusReasonRequestEntityTooLarge, "limit is 3145728"},
		{"a body is not of too many things", "/api/v1/namespaces/" + g.namespace + "/pods", `{"metadata":{"name":"n"},"spec":{"containers":[` + strings.Repeat("{},", 900_000) + `{}]}}`, 413, metav1.StatusReasonRequestEntityTooLarge, ""},
	} {
		g.rule(bad.name, func(g *target) { g.fails(g.do("POST", bad.path, bad.body), bad.code, bad.reason, bad.message) })
	}
}

// TestFieldValidation: unknown and duplicate fields.
func TestFieldValidation(t *testing.T) {
	g := newTarget(t)
	const unknown, twice = `299 - "unknown field \"wrong\""`, `299 - "duplicate field \"data.a\""`
	body := func(name string) string {
		return fmt.Sprintf(`{"metadata":{"name":%q},"wrong":1,"data":{"a":"1","a":"2"}}`, name)
	}
	for name, query := range map[string]string{"by-default": "", "if-asked": "?fieldValidation=Warn"} {
		g.rule("wrong fields are warned of, "+name, func(g *target) {
			a := g.post(g.maps+query, body(name))
			if got := a.header.Values("Warning"); !slices.Contains(got, unknown) || !slices.Contains(got, twice) || len(got) != 2 {
				g.Errorf("warnings %q", got)
			}
			if data := a.object(g.T)["data"].(map[string]any); data["a"] != "2" || a.object(g.T)["wrong"] != nil {
				g.Errorf("the object is %v", a)
			}
		})
	}
	g.rule("wrong fields are ignored if asked", func(g *target) {
		if a := g.post(g.maps+"?fieldValidation=Ignore", body("ignored")); a.header.Get("Warning") != "" {
			g.Errorf("%v", a.header)
		}
	})
	g.rule("wrong fields are refused if asked", func(g *target) {
		a := g.do("POST", g.maps+"?fieldValidation=Strict", body("refused"))
		g.fails(a, 400, metav1.StatusReasonBadRequest, `ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: `)
		g.fails(a, 400, metav1.StatusReasonBadRequest, `unknown field "wrong"`)
		g.fails(a, 400, metav1.StatusReasonBadRequest, `duplicate field "data.a"`)
	})
	g.configMap("patched")
	const merge, json = "application/merge-patch+json", "application/json-patch+json"
	for _, p := range []struct{ name, contentType, body, warning string }{
		{"a merge patch", merge, `{"wrong":1}`, `unknown field "wrong"`},
		{"a field twice in a merge patch", merge, `{"data":{"a":"1","a":"2"}}`, `duplicate field "data.a"`},
		{"a strategic merge patch", "application/strategic-merge-patch+json", `{"wrong":1}`, `unknown field "wrong"`},
		{"a JSON patch", json, `[{"op":"add","path":"/wrong","value":1}]`, `unknown field "wrong"`},
		{"an operation of a JSON patch", json, `[{"op":"add","path":"/data","value":{},"wrong":1}]`, `json patch unknown field "[0].wrong"`},
	} {
		patch := func(g *target, validation string) answer {
			return g.do("PATCH", g.maps+"/patched?fieldValidation="+validation, p.body, "Content-Type", p.contentType)
		}
		g.rule(p.name+" is warned of", func(g *target) {
			if a := g.ok(patch(g, "Warn")); a.header.Get("Warning") != `299 - "`+strings.ReplaceAll(p.warning, `"`, `\"`)+`"` {
				g.Errorf("%v", a.header)
			}
		})
		g.rule(p.name+" is refused", func(g *target) {
			g.fails(patch(g, "Strict"), 422, metav1.StatusReasonInvalid, "strict decoding error: "+p.warning)
		})
		g.rule(p.name+" is ignored", func(g *target) {
			if a := g.ok(patch(g, "Ignore")); a.header.Get("Warning") != "" {
				g.Errorf("%v", a.header)
			}
		})
	}
}

// TestUpdates: versions, identity, what is not changed.
func TestUpdates(t *testing.T) {
	g := newTarget(t)
	g.rule("an update for another version is a conflict", func(g *target) {
		old := g.configMap("old")
		g.put(g.maps+"/old", `{"metadata":{"name":"old"},"data":{"k":"new"}}`)
		g.fails(g.do("PUT", g.maps+"/old", string(old.body)), 409, metav1.StatusReasonConflict,
			`Operation cannot be fulfilled on configmaps "old": the object has been modified; please apply your changes to the latest version and try again`)
	})
	g.rule("an update for another object is a conflict", func(g *target) {
		g.configMap("other")
		g.fails(g.do("PUT", g.maps+"/other", `{"metadata":{"name":"other","uid":"1"}}`), 409, metav1.StatusReasonConflict, "Precondition failed: UID in precondition: 1, UID in object meta: ")
	})
	g.rule("an update names the object of its path", func(g *target) {
		g.configMap("named")
		g.fails(g.do("PUT", g.maps+"/named", `{"metadata":{"name":"else"}}`), 400, metav1.StatusReasonBadRequest, "the name of the object (else) does not match the name on the URL (named)")
	})
	g.rule("an update that changes nothing writes nothing", func(g *target) {
		a := g.configMap("same")
		if b := g.put(g.maps+"/same", string(a.body)); b.text(g.T, "resourceVersion") != a.text(g.T, "resourceVersion") {
			g.Errorf("%v", b)
		}
	})
	g.rule("what is the server's stays", func(g *target) {
		a := g.configMap("stays")
		b := g.put(g.maps+"/stays", `{"metadata":{"name":"stays","creationTimestamp":"2001-01-01T00:00:00Z"},"data":{"x":"y"}}`)
		if b.text(g.T, "uid") != a.text(g.T, "uid") || b.text(g.T, "creationTimestamp") != a.text(g.T, "creationTimestamp") {
			g.Errorf("%v", b)
		}
	})
	g.rule("what is not there is not updated", func(g *target) {
		g.fails(g.do("PUT", g.maps+"/none", `{"metadata":{"name":"none"}}`), 404, metav1.StatusReasonNotFound, `configmaps "none" not found`)
	})
	namespace := "/namespaces/" + g.namespace
	for kind, path := range map[string]string{
		"Lease": "/apis/coordination.k8s.io/v1" + namespace + "/leases", "LimitRange": "/api/v1" + namespace + "/limitranges", "Endpoints": "/api/v1" + namespace + "/endpoints",
	} {
		g.rule("a "+kind+" is created by an update", func(g *target) {
			if a := g.put(path+"/new", `{"metadata":{"name":"new"}}`); a.code != 201 {
				g.Errorf("%v", a)
			}
			a := g.put(path+"/new", string(g.get(path+"/new").body))
			if a.code != 200 {
				g.Errorf("%v", a)
			}
		})
	}
	g.rule("some kinds are not updated without a version", func(g *target) {
		path := "/apis/policy/v1" + namespace + "/poddisruptionbudgets"
		body := `{"metadata":{"name":"b"},"spec":{"minAvailable":1,"selector":{}}}`
		g.post(path, body)
		g.fails(g.do("PUT", path+"/b", body), 422, metav1.StatusReasonInvalid, "metadata.resourceVersion: Invalid value: 0: must be specified for an update")
	})
	g.rule("what is immutable stays", func(g *target) {
		g.post(g.maps, `{"metadata":{"name":"fixed"},"immutable":true,"data":{"a":"b"}}`)
		g.fails(g.do("PUT", g.maps+"/fixed", `{"metadata":{"name":"fixed"},"immutable":true,"data":{"a":"c"}}`), 422, metav1.StatusReasonInvalid, "data: Forbidden: field is immutable when `immutable` is set")
		g.fails(g.do("PUT", g.maps+"/fixed", `{"metadata":{"name":"fixed"},"data":{"a":"b"}}`), 422, metav1.StatusReasonInvalid, "immutable: Forbidden: field is immutable when `immutable` is set")
	})
	g.rule("concurrent writers lose nothing", func(g *target) {
		g.post(g.maps, `{"metadata":{"name":"counted"},"data":{"n":""}}`)
		var writers sync.WaitGroup
		for range 8 {
			writers.Go(func() {
				for done := 0; done < 10; {
					a := g.do("GET", g.maps+"/counted", "")
					var n string
					if data, ok := a.object(g.T)["data"].(map[string]any); ok {
						n, _ = data["n"].(string)
					}
					body := fmt.Sprintf(`{"metadata":{"name":"counted","resourceVersion":%q},"data":{"n":%q}}`, a.text(g.T, "resourceVersion"), n+"x")
					if a := g.do("PUT", g.maps+"/counted", body); a.code == 200 {
						done++
					} else if a.code != 409 {
						g.Errorf("%v", a)
						return
					}
				}
			})
		}
		writers.Wait()
		if n := g.get(g.maps + "/counted").object(g.T)["data"].(map[string]any)["n"].(string); len(n) != 80 {
			g.Errorf("%d of 80 updates are there", len(n))
		}
	})
}

// TestDryRuns change nothing, in allocators neither.
func TestDryRuns(t *testing.T) {
	g := newTarget(t)
	a := g.configMap("a")
	unchanged := func(g *target) {
		g.Helper()
		if b := g.get(g.maps + "/a"); b.text(g.T, "resourceVersion") != a.text(g.T, "resourceVersion") {
			g.Errorf("%v", b)
		}
	}
	g.rule("create", func(g *target) {
		scalers := "/apis/autoscaling/v1/namespaces/" + g.namespace + "/horizontalpodautoscalers"
		for path, body := range map[string]string{
			g.maps: `{"metadata":{"name":"b"}}`, scalers: `{"metadata":{"name":"b"},"spec":{"maxReplicas":3,"scaleTargetRef":{"kind":"Deployment","name":"d"}}}`,
		} {
			if a := g.post(path+"?dryRun=All", body); a.code != 201 || a.text(g.T, "uid") == "" || a.text(g.T, "resourceVersion") != "" {
				g.Errorf("%v", a)
			}
			g.fails(g.do("GET", path+"/b", ""), 404, metav1.StatusReasonNotFound, "")
		}
	})
	g.rule("create of what is there", func(g *target) {
		g.fails(g.do("POST", g.maps+"?dryRun=All", `{"metadata":{"name":"a"}}`), 409, metav1.StatusReasonAlreadyExists, "")
	})
	g.rule("update", func(g *target) {
		if a := g.put(g.maps+"/a?dryRun=All", `{"metadata":{"name":"a"},"data":{"x":"y"}}`); a.object(g.T)["data"].(map[string]any)["x"] != "y" {
			g.Errorf("%v", a)
		}
		unchanged(g)
	})
	for _, kind := range []string{"merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml"} {
		g.rule(kind, func(g *target) {
			body := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"x":"y"}}`
			g.ok(g.do("PATCH", g.maps+"/a?dryRun=All&fieldManager=m", body, "Content-Type", "application/"+kind))
			unchanged(g)
		})
	}
	g.rule("delete, by query and by body", func(g *target) {
		g.ok(g.do("DELETE", g.maps+"/a?dryRun=All", ""))
		g.ok(g.do("DELETE", g.maps+"/a", `{"dryRun":["All"]}`))
		g.ok(g.do("DELETE", g.maps+"?dryRun=All", ""))
		unchanged(g)
	})
	g.rule("services take no address and no port", func(g *target) {
		services := "/api/v1/namespaces/" + g.namespace + "/services"
		service := func(name string) string {
			return fmt.Sprintf(`{"metadata":{"name":%q},"spec":{"type":"NodePort","clusterIP":%q,"ports":[{"port":80,"nodePort":%d}]}}`, name, "", 0)
		}
		probe := g.post(services, service("probe")).object(g.T)["spec"].(map[string]any)
		ip, port := probe["clusterIP"].(string), int(probe["ports"].([]any)[0].(map[string]any)["nodePort"].(float64))
		g.ok(g.do("DELETE", services+"/probe", ""))
		fixed := func(name string) string {
			return fmt.Sprintf(`{"metadata":{"name":%q},"spec":{"type":"NodePort","clusterIP":%q,"ports":[{"port":80,"nodePort":%d}]}}`, name, ip, port)
		}
		for range 2 {
			g.post(services+"?dryRun=All", fixed("dry"))
		}
		g.post(services, fixed("real"))
		a := g.do("POST", services+"?dryRun=All", fixed("dry"))
		g.fails(a, 422, metav1.StatusReasonInvalid, "provided IP is already allocated")
		g.ok(g.do("DELETE", services+"/real?dryRun=All", ""))
		g.fails(g.do("POST", services, fixed("second")), 422, metav1.StatusReasonInvalid, "provided IP is already allocated")
	})
}
