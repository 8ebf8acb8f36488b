package restsemantics

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	jsonPatch  = "application/json-patch+json"
	mergePatch = "application/merge-patch+json"
	strategic  = "application/strategic-merge-patch+json"
	applyYAML  = "application/apply-patch+yaml"
)

func (g *target) patch(path, contentType, body string) answer {
	g.Helper()
	return g.do("PATCH", path, body, "Content-Type", contentType)
}

// TestPatches: of all kinds but apply.
func TestPatches(t *testing.T) {
	g := newTarget(t)
	services := "/api/v1/namespaces/" + g.namespace + "/services"
	g.post(services, `{"metadata":{"name":"s"},"spec":{"ports":[{"name":"a","port":80},{"name":"b","port":81}]}}`)
	ports := func(g *target, a answer) string {
		g.Helper()
		var out []string
		for _, port := range g.ok(a).object(g.T)["spec"].(map[string]any)["ports"].([]any) {
			out = append(out, fmt.Sprint(port.(map[string]any)["name"], port.(map[string]any)["port"]))
		}
		return strings.Join(out, " ")
	}
	g.rule("a strategic merge patch merges lists by key", func(g *target) {
		if got := ports(g, g.patch(services+"/s", strategic, `{"spec":{"ports":[{"port":81,"name":"c"}]}}`)); got != "c81 a80" && got != "a80 c81" {
			g.Errorf("ports are %s", got)
		}
	})
	g.rule("it deletes items where it says so", func(g *target) {
		if got := ports(g, g.patch(services+"/s", strategic, `{"spec":{"ports":[{"port":81,"$patch":"delete"}]}}`)); got != "a80" {
			g.Errorf("ports are %s", got)
		}
	})
	g.rule("a merge patch replaces lists", func(g *target) {
		if got := ports(g, g.patch(services+"/s", mergePatch, `{"spec":{"ports":[{"port":82,"name":"d"}]}}`)); got != "d82" {
			g.Errorf("ports are %s", got)
		}
	})
	g.rule("a merge patch removes by null", func(g *target) {
		g.configMap("nulled")
		if a := g.ok(g.patch(g.maps+"/nulled", mergePatch, `{"data":null}`)); a.object(g.T)["data"] != nil {
			g.Errorf("%v", a)
		}
	})
	g.configMap("m")
	g.rule("a JSON patch does one thing after another", func(g *target) {
		a := g.ok(g.patch(g.maps+"/m", jsonPatch, `[{"op":"test","path":"/data/k","value":"v"},{"op":"add","path":"/metadata/annotations","value":{"a/b":"0"}},{"op":"replace","path":"/metadata/annotations/a~1b","value":"1"},{"op":"move","from":"/data/k","path":"/data/moved"}]`))
		if data := a.object(g.T)["data"].(map[string]any); fmt.Sprint(a.meta(g.T)["annotations"]) != "map[a/b:1]" || data["moved"] != "v" || data["k"] != nil {
			g.Errorf("%v", a)
		}
	})
	many := func(n int) string {
		return "[" + strings.TrimSuffix(strings.Repeat(`{"op":"test","path":"/kind","value":"ConfigMap"},`, n), ",") + "]"
	}
	g.rule("a JSON patch has up to 10,000 operations", func(g *target) { g.ok(g.patch(g.maps+"/m", jsonPatch, many(10_000))) })
	for _, bad := range []struct {
		name, path, contentType, body string
		code                          int
		reason                        metav1.StatusReason
		message                       string
	}{
		{"and no more", "/m", jsonPatch, many(10_001), 413, metav1.StatusReasonRequestEntityTooLarge, "The allowed maximum operations in a JSON patch is 10000, got 10001"},
		{"a merge patch is not of too many things", "/m", mergePatch, `{"data":[` + strings.Repeat("{},", 150_000) + `{}]}`, 413, metav1.StatusReasonRequestEntityTooLarge, ""},
		{"nor is an apply", "/m?fieldManager=m", applyYAML, `{"data":[` + strings.Repeat("{},", 150_000) + `{}]}`, 413, metav1.StatusReasonRequestEntityTooLarge, ""},
		{"a test that fails", "/m", jsonPatch, `[{"op":"test","path":"/kind","value":"x"}]`, 422, metav1.StatusReasonInvalid, ""},
		{"a path that is not there", "/m", jsonPatch, `[{"op":"remove","path":"/data/none"}]`, 422, metav1.StatusReasonInvalid, ""},
		{"no list of operations", "/m", jsonPatch, `{}`, 400, metav1.StatusReasonBadRequest, ""},
		{"no object", "/m", mergePatch, `[]`, 400, metav1.StatusReasonBadRequest, ""},
		{"what the kind cannot be", "/m", mergePatch, `{"data":5}`, 422, metav1.StatusReasonInvalid, "patch: Invalid value: "},
		{"another name", "/m", mergePatch, `{"metadata":{"name":"x"}}`, 400, metav1.StatusReasonBadRequest, "the name of the object (x) does not match the name on the URL (m)"},
		{"another version", "/m", mergePatch, `{"metadata":{"resourceVersion":"1"}}`, 409, metav1.StatusReasonConflict, "the object has been modified"},
		{"another object", "/m", mergePatch, `{"metadata":{"uid":"1"}}`, 409, metav1.StatusReasonConflict, "UID in precondition: 1"},
		{"nothing there", "/none", mergePatch, `{}`, 404, metav1.StatusReasonNotFound, `configmaps "none" not found`},
		{"force without apply", "/m?force=true", mergePatch, `{}`, 422, metav1.StatusReasonInvalid, "force: Forbidden: may not be specified for non-apply patch"},
		{"another type", "/m", "application/json", `{}`, 415, metav1.StatusReasonUnsupportedMediaType, "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"},
	} {
		g.rule("refused: "+bad.name, func(g *target) {
			g.fails(g.patch(g.maps+bad.path, bad.contentType, bad.body), bad.code, bad.reason, bad.message)
		})
	}
}

// TestApply: server-side apply.
func TestApply(t *testing.T) {
	g := newTarget(t)
	apply := func(g *target, name, manager, body string) answer {
		g.Helper()
		return g.patch(g.maps+"/"+name+"?fieldManager="+manager, applyYAML, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "+name+"}\n"+body)
	}
	data := func(g *target, a answer) string {
		g.Helper()
		out, _ := g.ok(a).object(g.T)["data"].(map[string]any)
		return fmt.Sprint(out)
	}
	g.rule("what is not there is created", func(g *target) {
		if a := apply(g, "made", "m", "data: {a: b}"); a.code != 201 || data(g, a) != "map[a:b]" {
			g.Errorf("%v", a)
		}
		if a := apply(g, "made", "m", "data: {a: b}"); a.code != 200 {
			g.Errorf("%v", a)
		}
	})
	g.rule("what is applied no more goes away", func(g *target) {
		apply(g, "less", "m", "data: {a: b, c: d}")
		if got := data(g, apply(g, "less", "m", "data: {a: b}")); got != "map[a:b]" {
			g.Error(got)
		}
	})
	g.rule("unless somebody else wants it too", func(g *target) {
		apply(g, "both", "m", "data: {a: b, c: d}")
		apply(g, "both", "n", "data: {c: d}")
		if got := data(g, apply(g, "both", "m", "data: {a: b}")); got != "map[a:b c:d]" {
			g.Error(got)
		}
	})
	g.rule("other values are a conflict that names who has them", func(g *target) {
		apply(g, "fought", "m", "data: {a: b}")
		a := apply(g, "fought", "n", "data: {a: c}")
		g.fails(a, 409, metav1.StatusReasonConflict, `Apply failed with 1 conflict: conflict with "m": .data.a`)
		if causes := a.status(g.T).Details; causes == nil {
			g.Errorf("%v", a)
		} else if causes := causes.Causes; len(causes) != 1 || causes[0].Type != metav1.CauseTypeFieldManagerConflict || causes[0].Field != ".data.a" || causes[0].Message != `conflict with "m"` {
			g.Errorf("%+v", causes)
		}
	})
	g.rule("force takes fields over", func(g *target) {
		apply(g, "taken", "m", "data: {a: b, x: z}")
		if got := data(g, apply(g, "taken", "n&force=true", "data: {a: c}")); got != "map[a:c x:z]" {
			g.Error(got)
		}
		g.fails(apply(g, "taken", "m", "data: {a: b, x: z}"), 409, metav1.StatusReasonConflict, `conflict with "n": .data.a`)
		if got := data(g, apply(g, "taken", "m", "data: {x: z}")); got != "map[a:c x:z]" {
			g.Error(got)
		}
	})
	g.rule("updates own what they change", func(g *target) {
		apply(g, "updated", "m", "data: {a: b}")
		g.ok(g.patch(g.maps+"/updated?fieldManager=u", mergePatch, `{"data":{"a":"u"}}`))
		g.fails(apply(g, "updated", "m", "data: {a: b}"), 409, metav1.StatusReasonConflict, `conflict with "u" using v1: .data.a`)
	})
	managers := func(g *target, a answer) string {
		g.Helper()
		var out []string
		for _, entry := range g.ok(a).meta(g.T)["managedFields"].([]any) {
			e := entry.(map[string]any)
			out = append(out, fmt.Sprint(e["manager"], " ", e["operation"], " ", e["subresource"]))
		}
		return strings.Join(out, ", ")
	}
	g.rule("every kind of write is recorded", func(g *target) {
		deployments := "/apis/apps/v1/namespaces/" + g.namespace + "/deployments"
		a := g.post(deployments+"?fieldManager=creator", `{"metadata":{"name":"d"},"spec":{"replicas":1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`)
		if got := managers(g, a); got != "creator Update <nil>" {
			g.Error(got)
		}
		g.ok(g.patch(deployments+"/d?fieldManager=patcher", mergePatch, `{"metadata":{"labels":{"x":"y"}}}`))
		g.ok(g.patch(deployments+"/d/status?fieldManager=controller", mergePatch, `{"status":{"observedGeneration":1}}`))
		g.ok(g.patch(deployments+"/d/scale?fieldManager=scaler", mergePatch, `{"spec":{"replicas":3}}`))
		g.ok(g.patch(deployments+"/d?fieldManager=applier", applyYAML, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, annotations: {k: v}}}`))
		got := managers(g, g.get(deployments+"/d"))
		for _, want := range []string{"creator Update <nil>", "patcher Update <nil>", "controller Update status", "scaler Update scale", "applier Apply <nil>"} {
			if !strings.Contains(got, want) {
				g.Errorf("no %s in %s", want, got)
			}
		}
	})
	g.rule("without a name the manager is the program", func(g *target) {
		a := g.do("POST", g.maps, `{"metadata":{"name":"agent"}, "data":{"a":"b"}}`, "User-Agent", "kubectl-something/v1.2 (linux)")
		if got := managers(g, a); got != "kubectl-something Update <nil>" {
			g.Error(got)
		}
	})
	g.rule("records can be given up", func(g *target) {
		apply(g, "dropped", "m", "data: {a: b}")
		a := g.ok(g.patch(g.maps+"/dropped", mergePatch, `{"metadata":{"managedFields":[{}]}}`))
		if a.meta(g.T)["managedFields"] != nil {
			g.Errorf("%v", a)
		}
	})
	g.rule("lists by key are shared", func(g *target) {
		services := "/api/v1/namespaces/" + g.namespace + "/services"
		one := func(manager, ports string) answer {
			return g.patch(services+"/s?fieldManager="+manager, applyYAML, "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: ["+ports+"]}}")
		}
		g.ok(one("m", "{port: 80, name: a}"))
		a := g.ok(one("n", "{port: 81, name: b}"))
		if n := len(a.object(g.T)["spec"].(map[string]any)["ports"].([]any)); n != 2 {
			g.Errorf("%v", a)
		}
		g.fails(one("n", "{port: 80, name: x}"), 409, metav1.StatusReasonConflict, `conflict with "m": .spec.ports[port=80,protocol="TCP"].name`)
	})
	g.rule("atomic lists are owned as a whole", func(g *target) {
		slices := "/apis/discovery.k8s.io/v1/namespaces/" + g.namespace + "/endpointslices"
		one := func(manager, address string) answer {
			return g.patch(slices+"/s?fieldManager="+manager, applyYAML, "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s}, addressType: IPv4, endpoints: [{addresses: ["+address+"]}]}")
		}
		g.ok(one("m", "10.1.1.1"))
		g.fails(one("n", "10.1.1.2"), 409, metav1.StatusReasonConflict, `conflict with "m": .endpoints`)
	})
	g.rule("a status is applied by its own path", func(g *target) {
		nodes := "/api/v1/namespaces/" + g.namespace + "/services"
		g.post(nodes, `{"metadata":{"name":"st"},"spec":{"type":"LoadBalancer","ports":[{"port":80}]}}`)
		body := "{apiVersion: v1, kind: Service, metadata: {name: st}, status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}}"
		if a := g.ok(g.patch(nodes+"/st?fieldManager=m", applyYAML, body)); strings.Contains(string(a.body), "192.0.2.1") {
			g.Errorf("%v", a)
		}
		if a := g.ok(g.patch(nodes+"/st/status?fieldManager=m", applyYAML, body)); !strings.Contains(string(a.body), "192.0.2.1") {
			g.Errorf("%v", a)
		}
	})
	for _, bad := range []struct {
		name, query, body string
		code              int
		reason            metav1.StatusReason
		message           string
	}{
		{"nobody", "", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad}\n", 422, metav1.StatusReasonInvalid, "fieldManager: Required value: is required for apply patch"},
		{"a record", "?fieldManager=m", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad, managedFields: [{manager: x}]}\n", 400, metav1.StatusReasonBadRequest, "metadata.managedFields must be nil"},
		{"no kind", "?fieldManager=m", "apiVersion: v1\ndata: {}\n", 400, metav1.StatusReasonBadRequest, ""},
		{"no YAML", "?fieldManager=m", "{", 400, metav1.StatusReasonBadRequest, "error decoding YAML"},
		{"unknown fields", "?fieldManager=m", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad}\nwrong: 1\n", 500, metav1.StatusReasonInternalError, ".wrong: field not declared in schema"},
	} {
		g.rule("refused: "+bad.name, func(g *target) {
			a := g.patch(g.maps+"/bad"+bad.query, applyYAML, bad.body)
			if bad.code == 500 && a.code == 400 {
				return // it is the client's fault, which Kubernetes does not say
			}
			g.fails(a, bad.code, bad.reason, bad.message)
		})
	}
}
