package apiserver_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/apiserver"
	"github.com/yare-io/yare/apiserver/registry"
)

const mapsPath = "/api/v1/namespaces/default/configmaps"

func TestErrorsAreStatusesInTheWordsOfKubernetes(t *testing.T) {
	h := start(t)
	h.configMap(t, "there")
	deep := strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000)
	for _, test := range []struct {
		name, method, path, body string
		headers                  []string
		code                     int
		reason                   metav1.StatusReason
		message                  string
	}{
		{"unknown path", "GET", "/nothing", "", nil, 404, metav1.StatusReasonNotFound, "the server could not find the requested resource"},
		{"unknown resource", "GET", "/api/v1/namespaces/default/gizmos", "", nil, 404, metav1.StatusReasonNotFound, "the server could not find the requested resource"},
		{"unknown subresource", "GET", mapsPath + "/there/status", "", nil, 404, metav1.StatusReasonNotFound, "the server could not find the requested resource"},
		{"missing object", "GET", mapsPath + "/absent", "", nil, 404, metav1.StatusReasonNotFound, `configmaps "absent" not found`},
		{"method of a collection", "PUT", mapsPath, "{}", nil, 405, metav1.StatusReasonMethodNotAllowed, "the server does not allow this method on the requested resource"},
		{"create without a namespace", "POST", "/api/v1/configmaps", "{}", nil, 405, metav1.StatusReasonMethodNotAllowed, ""},
		{"odd method", "TRACE", mapsPath, "", nil, 405, metav1.StatusReasonMethodNotAllowed, ""},
		{"cluster resource in a namespace", "GET", "/api/v1/namespaces/default/namespaces", "", nil, 404, metav1.StatusReasonNotFound, ""},
		{"dots in the path", "GET", "/api/v1/namespaces/../configmaps", "", nil, 400, metav1.StatusReasonBadRequest, ""},
		{"empty segment", "GET", "/api/v1/namespaces//configmaps", "", nil, 400, metav1.StatusReasonBadRequest, ""},
		{"encoded slash", "GET", mapsPath + "/a%2Fb", "", nil, 400, metav1.StatusReasonBadRequest, ""},
		{"nobody", "GET", mapsPath, "", []string{"User", "nobody"}, 401, metav1.StatusReasonUnauthorized, "Unauthorized"},
		{"forbidden list", "GET", mapsPath, "", []string{"User", "mallory"}, 403, metav1.StatusReasonForbidden,
			`configmaps is forbidden: User "mallory" cannot list resource "configmaps" in API group "" in the namespace "default"`},
		{"forbidden get", "GET", "/apis/apps/v1/namespaces/x/deployments/d/scale", "", []string{"User", "mallory"}, 403, metav1.StatusReasonForbidden,
			`deployments.apps "d" is forbidden: User "mallory" cannot get resource "deployments/scale" in API group "apps" in the namespace "x"`},
		{"forbidden at cluster scope", "DELETE", "/api/v1/namespaces", "", []string{"User", "mallory"}, 403, metav1.StatusReasonForbidden,
			`namespaces is forbidden: User "mallory" cannot deletecollection resource "namespaces" in API group "" at the cluster scope`},
		{"forbidden path", "GET", "/metrics", "", []string{"User", "mallory"}, 403, metav1.StatusReasonForbidden,
			`forbidden: User "mallory" cannot get path "/metrics"`},
		{"no JSON", "POST", mapsPath, "{{", nil, 400, metav1.StatusReasonBadRequest, ""},
		{"too deep", "POST", mapsPath, deep, nil, 400, metav1.StatusReasonBadRequest, ""},
		{"too deep YAML", "POST", mapsPath, strings.Repeat("[", 20000), []string{"Content-Type", "application/yaml"}, 400, metav1.StatusReasonBadRequest, ""},
		{"no protobuf", "POST", mapsPath, "k8s\x00garbage", []string{"Content-Type", "application/vnd.kubernetes.protobuf"}, 400, metav1.StatusReasonBadRequest, ""},
		{"too large", "POST", mapsPath, strings.Repeat("x", 3<<20+1), nil, 413, metav1.StatusReasonRequestEntityTooLarge, "Request entity too large: limit is 3145728"},
		{"unknown type", "POST", mapsPath, "{}", []string{"Content-Type", "application/xml"}, 415, metav1.StatusReasonUnsupportedMediaType, ""},
		{"unacceptable", "GET", mapsPath, "", []string{"Accept", "application/xml"}, 406, metav1.StatusReasonNotAcceptable, ""},
		{"another version", "POST", mapsPath, `{"apiVersion":"v2","kind":"ConfigMap"}`, nil, 400, metav1.StatusReasonBadRequest,
			"the API version in the data (v2) does not match the expected API version (v1)"},
		{"another kind", "POST", mapsPath, `{"apiVersion":"v1","kind":"Secret"}`, nil, 400, metav1.StatusReasonBadRequest, ""},
		{"wrong type of field", "POST", mapsPath, `{"metadata":{"name":"x"},"data":7}`, nil, 400, metav1.StatusReasonBadRequest,
			`ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data of type map[string]string`},
		{"unknown field, strict", "POST", mapsPath + "?fieldValidation=Strict", `{"metadata":{"name":"x"},"wrong":7}`, nil, 400, metav1.StatusReasonBadRequest,
			`ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "wrong"`},
		{"no name", "POST", mapsPath, `{}`, nil, 422, metav1.StatusReasonInvalid, `ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required`},
		{"bad name", "POST", mapsPath, `{"metadata":{"name":"_"}}`, nil, 422, metav1.StatusReasonInvalid, ""},
		{"bad value", "POST", mapsPath, `{"metadata":{"name":"x"},"data":{"bad":"yes"}}`, nil, 422, metav1.StatusReasonInvalid,
			`ConfigMap "x" is invalid: data[bad]: Invalid value: "yes": must be good`},
		{"other namespace", "POST", mapsPath, `{"metadata":{"name":"x","namespace":"other"}}`, nil, 400, metav1.StatusReasonBadRequest,
			"the namespace of the provided object does not match the namespace sent on the request"},
		{"version on create", "POST", mapsPath, `{"metadata":{"name":"x","resourceVersion":"1"}}`, nil, 400, metav1.StatusReasonBadRequest,
			"resourceVersion should not be set on objects to be created"},
		{"exists", "POST", mapsPath, `{"metadata":{"name":"there"}}`, nil, 409, metav1.StatusReasonAlreadyExists, `configmaps "there" already exists`},
		{"exists, dry run", "POST", mapsPath + "?dryRun=All", `{"metadata":{"name":"there"}}`, nil, 409, metav1.StatusReasonAlreadyExists, `configmaps "there" already exists`},
		{"bad dry run", "POST", mapsPath + "?dryRun=Some", `{"metadata":{"name":"x"}}`, nil, 422, metav1.StatusReasonInvalid, ""},
		{"other name", "PUT", mapsPath + "/there", `{"metadata":{"name":"here"}}`, nil, 400, metav1.StatusReasonBadRequest,
			"the name of the object (here) does not match the name on the URL (there)"},
		{"stale update", "PUT", mapsPath + "/there", `{"metadata":{"name":"there","resourceVersion":"1"}}`, nil, 409, metav1.StatusReasonConflict,
			`Operation cannot be fulfilled on configmaps "there": the object has been modified; please apply your changes to the latest version and try again`},
		{"another uid", "PUT", mapsPath + "/there", `{"metadata":{"name":"there","uid":"x"}}`, nil, 409, metav1.StatusReasonConflict, ""},
		{"unknown patch", "PATCH", mapsPath + "/there", `{}`, []string{"Content-Type", "text/plain"}, 415, metav1.StatusReasonUnsupportedMediaType, ""},
		{"patch is no object", "PATCH", mapsPath + "/there", `[]`, []string{"Content-Type", "application/merge-patch+json"}, 400, metav1.StatusReasonBadRequest, ""},
		{"patch does not fit", "PATCH", mapsPath + "/there", `[{"op":"remove","path":"/data/none"}]`, []string{"Content-Type", "application/json-patch+json"}, 422, metav1.StatusReasonInvalid, ""},
		{"unknown field label", "GET", mapsPath + "?fieldSelector=a%3Db", "", nil, 400, metav1.StatusReasonBadRequest,
			`"a" is not a known field selector: only "metadata.name", "metadata.namespace"`},
		{"unknown field label of pods", "GET", "/api/v1/pods?fieldSelector=a%3Db", "", nil, 400, metav1.StatusReasonBadRequest, "field label not supported: a"},
		{"bad label selector", "GET", mapsPath + "?labelSelector=!!", "", nil, 400, metav1.StatusReasonBadRequest, ""},
		{"bad continue", "GET", mapsPath + "?limit=1&continue=x", "", nil, 400, metav1.StatusReasonBadRequest, ""},
		{"bad version", "GET", mapsPath + "?resourceVersion=x", "", nil, 400, metav1.StatusReasonBadRequest, ""},
		{"match without version", "GET", mapsPath + "?resourceVersionMatch=Exact", "", nil, 422, metav1.StatusReasonInvalid, ""},
		{"bad timeout", "GET", mapsPath + "?timeout=x", "", nil, 400, metav1.StatusReasonBadRequest, "invalid timeout specified in the request URL"},
		{"bad uid precondition", "DELETE", mapsPath + "/there", `{"preconditions":{"uid":"x"}}`, nil, 409, metav1.StatusReasonConflict, ""},
		{"bad propagation", "DELETE", mapsPath + "/there", `{"propagationPolicy":"x"}`, nil, 422, metav1.StatusReasonInvalid, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := h.do(t, test.method, test.path, test.body, test.headers...)
			status := got.status(t)
			if got.code != test.code || int(status.Code) != test.code || status.Status != metav1.StatusFailure || status.Reason != test.reason {
				t.Errorf("got %d %+v, want %d %s", got.code, status, test.code, test.reason)
			}
			if test.message != "" && status.Message != test.message {
				t.Errorf("message %q, want %q", status.Message, test.message)
			}
			if got.header.Get("Audit-Id") == "" {
				t.Error("no audit id")
			}
		})
	}
	if err := h.server.Ready(t.Context()); err != nil {
		t.Errorf("not ready after all that: %v", err)
	}
}

func TestUnknownAndDuplicateFieldsWarnUnlessIgnored(t *testing.T) {
	h := start(t)
	const body = `{"metadata":{"name":"%s"},"wrong":1,"data":{"a":"1","a":"2"}}`
	warned := h.do(t, "POST", mapsPath, fmt.Sprintf(body, "warned"))
	if got := warned.header.Values("Warning"); warned.code != 201 || len(got) != 2 || !strings.Contains(strings.Join(got, "\n"), `299 - "unknown field \"wrong\""`) {
		t.Errorf("warnings: %d %q", warned.code, got)
	}
	ignored := h.do(t, "POST", mapsPath+"?fieldValidation=Ignore", fmt.Sprintf(body, "ignored"))
	if ignored.code != 201 || ignored.header.Get("Warning") != "" {
		t.Errorf("ignore: %d %v", ignored.code, ignored.header)
	}
}

func TestForms(t *testing.T) {
	h := start(t)
	h.configMap(t, "a")
	const one = mapsPath + "/a"
	for _, test := range []struct {
		name, path, accept, contentType string
		contains                        []string
	}{
		{"JSON", one, "application/json", "application/json", []string{`{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"`}},
		{"anything", one, "*/*", "application/json", nil},
		{"some application", one, "text/html;q=0.9, application/*;q=0.1", "application/json", nil},
		{"YAML", one, "application/yaml", "application/yaml", []string{"kind: ConfigMap\n", "  key: value\n"}},
		{"protobuf", one, "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf", []string{"k8s\x00"}},
		{"best quality", one, "application/yaml;q=0.5,application/json", "application/json", nil},
		{"pretty", one + "?pretty=true", "", "application/json", []string{"{\n  \"kind\": \"ConfigMap\","}},
		{"list", mapsPath, "", "application/json", []string{`{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"`, `"items":[{"metadata":{"name":"a"`}},
		{"list in YAML", mapsPath, "application/yaml", "application/yaml", []string{"kind: ConfigMapList\n"}},
		{"table", mapsPath, "application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "application/json",
			[]string{`"kind":"Table","apiVersion":"meta.k8s.io/v1"`, `"name":"Name"`, `"cells":["a",`, `"kind":"PartialObjectMetadata"`}},
		{"table in YAML", mapsPath, "application/yaml;as=Table;v=v1;g=meta.k8s.io", "application/yaml", []string{"\nkind: Table\n", "\n- cells:\n  - a\n"}},
		{"table of one", one, "application/json;as=Table;v=v1;g=meta.k8s.io", "application/json", []string{`"cells":["a",`}},
		{"table without objects", mapsPath + "?includeObject=None", "application/json;as=Table;v=v1;g=meta.k8s.io", "application/json", []string{`"object":null`}},
		{"table with objects", mapsPath + "?includeObject=Object", "application/json;as=Table;v=v1;g=meta.k8s.io", "application/json", []string{`"kind":"ConfigMap"`, `"key":"value"`}},
		{"metadata", one, "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "application/json", []string{`"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1"`}},
		{"metadata list", mapsPath, "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", "application/vnd.kubernetes.protobuf", []string{"PartialObjectMetadataList"}},
		{"table in protobuf falls back", mapsPath, "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json", "application/json", []string{"ConfigMapList"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := h.do(t, "GET", test.path, "", "Accept", test.accept)
			if got.code != 200 || got.header.Get("Content-Type") != test.contentType {
				t.Fatalf("got %d %s: %s", got.code, got.header.Get("Content-Type"), got.body)
			}
			for _, want := range test.contains {
				if !strings.Contains(got.body, want) {
					t.Errorf("no %q in %s", want, got.body)
				}
			}
			if strings.Contains(test.accept, "Metadata;") && strings.Contains(got.body, "value") {
				t.Errorf("more than metadata: %s", got.body)
			}
		})
	}
}

func TestLargeAnswersAreCompressedWhenAsked(t *testing.T) {
	h := start(t)
	for i := range 3 {
		body := fmt.Sprintf(`{"metadata":{"name":"large-%d"},"data":{"key":"%s"}}`, i, strings.Repeat("x", 100<<10))
		if got := h.do(t, "POST", mapsPath, body); got.code != 201 {
			t.Fatal(got.body)
		}
	}
	zipped := h.do(t, "GET", mapsPath, "", "Accept-Encoding", "deflate, gzip")
	if zipped.header.Get("Content-Encoding") != "gzip" || len(zipped.body) > 100<<10 {
		t.Errorf("not compressed: %v, %d bytes", zipped.header, len(zipped.body))
	}
	if plain := h.do(t, "GET", mapsPath, "", "Accept-Encoding", "gzip;q=0"); plain.header.Get("Content-Encoding") != "" || len(plain.body) < 300<<10 {
		t.Errorf("compressed against the client's wish: %v", plain.header)
	}
	if small := h.do(t, "GET", mapsPath+"/large-0", "", "Accept-Encoding", "gzip"); small.header.Get("Content-Encoding") != "" {
		t.Error("a small answer was compressed")
	}
}

func TestPanicsAreAnsweredAndSurvived(t *testing.T) {
	h := start(t, func(c *apiserver.Config) {
		c.Rows = append(c.Rows, &registry.Resource{
			Kind: corev1.SchemeGroupVersion.WithKind("Endpoints"), Name: "bombs", Verbs: []string{"create"},
			New:     func() runtime.Object { return &corev1.Endpoints{} },
			Creator: func(context.Context, registry.Call) (runtime.Object, error) { panic("boom") },
		})
	})
	got := h.do(t, "POST", "/api/v1/bombs", `{}`)
	if status := got.status(t); got.code != http.StatusInternalServerError || status.Reason != metav1.StatusReasonInternalError {
		t.Errorf("got %d %+v", got.code, status)
	}
	if after := h.do(t, "GET", mapsPath, ""); after.code != 200 {
		t.Errorf("after a panic: %d", after.code)
	}
}

func TestHealthVersionAndMetrics(t *testing.T) {
	h := start(t)
	h.configMap(t, "a")
	for path, want := range map[string]string{
		"/healthz":                     "ok",
		"/livez":                       "ok",
		"/readyz":                      "ok",
		"/readyz/etcd":                 "ok",
		"/livez?verbose":               "[+]ping ok\n[+]etcd ok\nlivez check passed\n",
		"/version":                     `"gitVersion": "v1.37.2+yare"`,
		"/metrics":                     `apiserver_request_total{code="201",group="",resource="configmaps",scope="resource",subresource="",verb="POST",version="v1"} 1`,
		"/":                            `"/api/v1"`,
		"/readyz?verbose&exclude=etcd": "[+]etcd excluded: ok\n",
	} {
		if got := h.do(t, "GET", path, ""); got.code != 200 || !strings.Contains(got.body, want) {
			t.Errorf("%s: %d %s", path, got.code, got.body)
		}
	}
	_ = h.store.Close()
	if got := h.do(t, "GET", "/readyz", ""); got.code != 500 || !strings.Contains(got.body, "[-]etcd failed: reason withheld") {
		t.Errorf("without a store: %d %s", got.code, got.body)
	}
}

func TestMadeUpNamesAddNoSeries(t *testing.T) {
	h := start(t)
	for i := range 50 {
		h.do(t, "GET", fmt.Sprintf("/apis/group%d/v1/things%d/x", i, i), "")
		h.do(t, "GET", fmt.Sprintf("%s/a/sub%d", mapsPath, i), "")
	}
	got := h.do(t, "GET", "/metrics", "")
	if strings.Contains(got.body, "group7") || strings.Contains(got.body, "sub7") {
		t.Error("clients can add metric series")
	}
}
