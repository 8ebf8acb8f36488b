package aggregation_test

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
	"testing"

	openapiv2 "github.com/google/gnostic-models/openapiv2"
	"google.golang.org/protobuf/proto"
)

// loads is the document of a server with a group, a definition that the main
// server has too but differently, and paths that are not about the group.
const loads = `{
	"swagger": "2.0", "info": {"title": "metrics", "version": "v1"},
	"paths": {
		"/apis/metrics.example.com/v1/loads": {"get": {"operationId": "listLoad", "responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/com.example.metrics.v1.Load"}}}}},
		"/healthz": {"get": {"operationId": "health", "responses": {"200": {"description": "OK"}}}}
	},
	"definitions": {
		"com.example.metrics.v1.Load": {"type": "object", "properties": {"value": {"type": "string"}, "meta": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}}},
		"io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {"type": "object", "description": "another one"}
	}
}`

func (m *metrics) serveOpenAPI2(w http.ResponseWriter, r *http.Request) {
	document := m.openAPI2.Load()
	if document == nil {
		http.NotFound(w, r)
		return
	}
	tag := fmt.Sprintf("%q", fmt.Sprint(crc32.ChecksumIEEE([]byte(*document))))
	if w.Header().Set("ETag", tag); r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = io.WriteString(w, *document)
}

func (w *world) openAPI2() (paths, definitions map[string]json.RawMessage) {
	w.Helper()
	code, body := w.do("GET", "/openapi/v2", "")
	var document struct{ Paths, Definitions map[string]json.RawMessage }
	if err := json.Unmarshal([]byte(body), &document); code != http.StatusOK || err != nil {
		w.Fatalf("%d %v", code, err)
	}
	return document.Paths, document.Definitions
}

func TestOpenAPI2OfOthersIsMerged(t *testing.T) {
	w := newWorld(t)
	document := loads
	w.other.openAPI2.Store(&document)
	_, before := w.openAPI2()
	w.register()
	w.wait("the group is described", func() bool {
		paths, _ := w.openAPI2()
		return paths["/apis/metrics.example.com/v1/loads"] != nil
	})
	paths, definitions := w.openAPI2()
	if paths["/healthz"] != nil || paths["/api/v1/namespaces/{namespace}/configmaps"] == nil {
		t.Error("the other server's paths are not just those of its group, beside our own")
	}
	const meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
	load := string(definitions["com.example.metrics.v1.Load"])
	if string(definitions[meta]) != string(before[meta]) || !strings.Contains(load, meta+"_v2") || !strings.Contains(string(definitions[meta+"_v2"]), "another one") {
		t.Errorf("two definitions of one name: %s", load)
	}

	code, body := w.do("GET", "/openapi/v2", "", "Accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
	var encoded openapiv2.Document
	if err := proto.Unmarshal([]byte(body), &encoded); code != http.StatusOK || err != nil {
		t.Fatalf("as protobuf: %d %v %.200q", code, err, body)
	}
	found := false
	for _, path := range encoded.Paths.Path {
		found = found || path.Name == "/apis/metrics.example.com/v1/loads"
	}
	if !found {
		t.Error("the group is not in the protobuf document")
	}

	answer, err := http.Get(w.url + "/openapi/v2")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if code, _ := w.do("GET", "/openapi/v2", "", "If-None-Match", answer.Header.Get("ETag")); code != http.StatusNotModified {
		t.Errorf("what the client has already came again: %d", code)
	}

	if code, body := w.do("DELETE", "/apis/apiregistration.k8s.io/v1/apiservices/v1.metrics.example.com", ""); code != http.StatusOK {
		t.Fatalf("%d %s", code, body)
	}
	w.wait("the group is gone", func() bool {
		paths, _ := w.openAPI2()
		return paths["/apis/metrics.example.com/v1/loads"] == nil
	})
}

// TestABadDocumentIsIgnored has a server describe itself in ways that do not
// hold together.
func TestABadDocumentIsIgnored(t *testing.T) {
	for _, document := range []string{`{`, `[]`, `{"swagger":"2.0"}`, `{"swagger":"2.0","paths":{"/apis/metrics.example.com/v1/loads":7}}`} {
		w := newWorld(t)
		w.other.openAPI2.Store(&document)
		w.register()
		w.wait("available", func() bool { return w.available("v1.metrics.example.com") == "True Passed" })
		if paths, _ := w.openAPI2(); paths["/api/v1/namespaces/{namespace}/configmaps"] == nil {
			t.Errorf("%s: our own paths are gone", document)
		}
	}
}

func TestAServerThatNeverAnswersKeepsNobodyWaiting(t *testing.T) {
	w := newWorld(t)
	document := loads
	w.other.openAPI2.Store(&document)
	w.register()
	w.wait("available", func() bool { return w.available("v1.metrics.example.com") == "True Passed" })
	w.other.hang.Store(true)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/apis/metrics.example.com/v1/loads", nil)
	if err != nil {
		t.Fatal(err)
	}
	hanging := make(chan error, 1)
	go func() {
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = answer.Body.Close()
		}
		hanging <- err
	}()
	for _, path := range []string{"/apis", "/apis/metrics.example.com", "/openapi/v2", "/openapi/v3", "/api/v1/namespaces/default/configmaps"} {
		if code, body := w.do("GET", path, ""); code != http.StatusOK {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	select {
	case err := <-hanging:
		t.Errorf("the other server answered: %v", err)
	default:
	}
}
