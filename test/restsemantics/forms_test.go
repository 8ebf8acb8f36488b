package restsemantics

import (
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// TestForms: in what an answer can be had, and a body sent.
func TestForms(t *testing.T) {
	g := newTarget(t)
	g.configMap("a")
	one, protobuf := g.maps+"/a", "application/vnd.kubernetes.protobuf"
	for _, form := range []struct{ name, path, accept, contentType, contains string }{
		{"JSON", one, "application/json", "application/json", `{"kind":"ConfigMap","apiVersion":"v1","metadata":{`},
		{"JSON unless asked", one, "*/*", "application/json", `{"kind":"ConfigMap"`},
		{"JSON for some application", one, "application/*", "application/json", `{"kind":"ConfigMap"`},
		{"YAML", one, "application/yaml", "application/yaml", "\nkind: ConfigMap\n"},
		{"protobuf", one, protobuf, protobuf, "k8s\x00"},
		{"what is wanted most", one, "application/json;q=0.1,application/yaml;q=0.9", "application/yaml", "kind: ConfigMap"},
		{"indented by query", one + "?pretty=true", "", "application/json", "{\n  \"kind\": \"ConfigMap\","},
		{"indented by type", one, "application/json;pretty=1", "application/json", "{\n  \"kind\": \"ConfigMap\","},
		{"metadata", one, "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "application/json", `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"a"`},
		{"metadata of many", g.maps, "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", "application/json", `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{`},
		{"metadata in protobuf", one, protobuf + ";as=PartialObjectMetadata;v=v1;g=meta.k8s.io", protobuf, "PartialObjectMetadata"},
		{"a table", g.maps, "application/json;as=Table;v=v1;g=meta.k8s.io", "application/json", `{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{`},
		{"a table of old", g.maps, "application/json;as=Table;v=v1beta1;g=meta.k8s.io", "application/json", `"apiVersion":"meta.k8s.io/v1beta1"`},
		{"a table of one", one, "application/json;as=Table;v=v1;g=meta.k8s.io", "application/json", `"cells":["a",1,`},
		{"a table with whole objects", one + "?includeObject=Object", "application/json;as=Table;v=v1;g=meta.k8s.io", "application/json", `"data":{"k":"v"}`},
		{"a table without objects", one + "?includeObject=None", "application/json;as=Table;v=v1;g=meta.k8s.io", "application/json", `"object":null`},
		{"no table where there is none", one, protobuf + ";as=Table;v=v1;g=meta.k8s.io,application/json", "application/json", `{"kind":"ConfigMap"`},
	} {
		g.rule(form.name, func(g *target) {
			a := g.ok(g.do("GET", form.path, "", "Accept", form.accept))
			if a.header.Get("Content-Type") != form.contentType || !strings.Contains(string(a.body), form.contains) {
				g.Errorf("%s: %v", a.header.Get("Content-Type"), a)
			}
		})
	}
	g.rule("each version of an object names itself once", func(g *target) {
		scaler := `{"metadata":{"name":"h"},"spec":{"maxReplicas":2,"scaleTargetRef":{"kind":"Deployment","name":"a","apiVersion":"apps/v1"}}}`
		event := `{"metadata":{"name":"e"},"eventTime":"2026-01-01T01:00:00.000000Z","action":"A","reason":"R","type":"Normal","reportingController":"example.com/c","reportingInstance":"i","regarding":{"namespace":"` + g.namespace + `","kind":"Pod","name":"p"}}`
		for _, kind := range []struct{ path, name, body string }{
			{"/apis/autoscaling/v1/namespaces/" + g.namespace + "/horizontalpodautoscalers", "h", scaler},
			{"/apis/events.k8s.io/v1/namespaces/" + g.namespace + "/events", "e", event},
		} {
			g.post(kind.path, kind.body)
			g.get(kind.path + "/" + kind.name)
			if list := g.get(kind.path); strings.Contains(string(list.body), `"items":[{"kind"`) {
				g.Errorf("the items of a list name their kind: %v", list)
			}
		}
		g.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", `{}`)
	})
	g.rule("errors have the form of answers", func(g *target) {
		a := g.do("GET", g.maps+"/none", "", "Accept", "application/yaml")
		if a.code != 404 || a.header.Get("Content-Type") != "application/yaml" || !strings.Contains(string(a.body), "kind: Status\n") {
			g.Errorf("%s: %v", a.header.Get("Content-Type"), a)
		}
	})
	g.rule("other forms are not acceptable", func(g *target) {
		g.fails(g.do("GET", one, "", "Accept", "text/html"), 406, metav1.StatusReasonNotAcceptable, "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf")
	})
	g.rule("tables hold objects by name", func(g *target) {
		g.fails(g.do("GET", one+"?includeObject=Some", "", "Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"), 400, metav1.StatusReasonBadRequest, `includeObject: Invalid value: "Some": must be 'Metadata', 'Object', 'None', or empty`)
	})
	g.rule("bodies are YAML too", func(g *target) {
		g.ok(g.do("POST", g.maps, "metadata:\n  name: yaml\ndata: {a: b}\n", "Content-Type", "application/yaml"))
	})
	g.rule("a body in protobuf", func(g *target) {
		a := g.get(one)
		raw := g.ok(g.do("GET", one, "", "Accept", protobuf)).body
		b := g.ok(g.do("PUT", one, string(raw), "Content-Type", protobuf))
		if a.text(g.T, "resourceVersion") != b.text(g.T, "resourceVersion") {
			g.Errorf("an equal object in protobuf changed it: %v", b)
		}
	})
	g.rule("other bodies are not supported", func(g *target) {
		g.fails(g.do("POST", g.maps, "x", "Content-Type", "text/plain"), 415, metav1.StatusReasonUnsupportedMediaType, "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf")
	})
	g.rule("long answers are compressed for those who take it", func(g *target) {
		g.post(g.maps, `{"metadata":{"name":"long"},"data":{"x":"`+strings.Repeat("x", 200<<10)+`"}}`)
		a := g.ok(g.do("GET", g.maps+"/long", "", "Accept-Encoding", "gzip"))
		if a.header.Get("Content-Encoding") != "gzip" || len(a.body) > 100<<10 {
			g.Fatalf("%v: %d bytes", a.header, len(a.body))
		}
		zip, err := gzip.NewReader(strings.NewReader(string(a.body)))
		must(g.T, err)
		raw, err := io.ReadAll(zip)
		must(g.T, err)
		if len(raw) < 200<<10 {
			g.Errorf("%d bytes", len(raw))
		}
		if a := g.ok(g.do("GET", one, "", "Accept-Encoding", "gzip")); a.header.Get("Content-Encoding") != "" {
			g.Errorf("a short one: %v", a.header)
		}
	})
	g.rule("answers are not to be kept", func(g *target) {
		if a := g.get(one); a.header.Get("Cache-Control") != "no-cache, private" || a.header.Get("Audit-Id") == "" {
			g.Errorf("%v", a.header)
		}
	})
}

// TestMethods: what is not there, and what cannot be done.
func TestMethods(t *testing.T) {
	g := newTarget(t)
	g.configMap("a")
	for _, bad := range []struct {
		name, method, path string
		code               int
	}{
		{"a resource that is not there", "GET", "/api/v1/namespaces/" + g.namespace + "/things", 404},
		{"a group that is not there", "GET", "/apis/example.invalid/v1/things", 404},
		{"a version that is not there", "GET", "/apis/apps/v9/deployments", 404},
		{"a subresource that is not there", "GET", g.maps + "/a/status", 404},
		{"creation by name", "POST", g.maps + "/a", 405},
		{"an update of all", "PUT", g.maps, 405},
		{"a patch of all", "PATCH", g.maps, 405},
		{"a method of no use", "LOCK", g.maps + "/a", 405},
		{"reading what is only written", "GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 405},
	} {
		g.rule("refused: "+bad.name, func(g *target) {
			if a := g.do(bad.method, bad.path, ""); a.code != bad.code {
				g.Errorf("%v", a)
			}
		})
	}
}

// TestProtocols: the same over HTTP/1.1 and HTTP/2.
func TestProtocols(t *testing.T) {
	g := newTarget(t)
	g.configMap("a")
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		g.rule(protocol, func(g *target) {
			secure, err := rest.TLSConfigFor(config)
			must(g.T, err)
			transport := &http.Transport{TLSClientConfig: secure, ForceAttemptHTTP2: protocol == "HTTP/2.0"}
			if protocol == "HTTP/1.1" {
				transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
			}
			wrapped, err := rest.HTTPWrappersForConfig(config, transport)
			must(g.T, err)
			g.http = &http.Client{Transport: wrapped}
			g.Cleanup(transport.CloseIdleConnections)
			if a := g.get(g.maps + "/a"); a.proto != protocol {
				g.Errorf("%s", a.proto)
			}
			g.watch(g.maps + "?watch=1").expect("ADDED a")
			g.ok(g.do("POST", g.maps, fmt.Sprintf(`{"metadata":{"name":"big-%s"},"data":{"x":%q}}`, protocol[5:6], strings.Repeat("x", 900<<10))))
		})
	}
}
