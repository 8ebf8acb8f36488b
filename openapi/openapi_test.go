package openapi_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	openapiv2 "github.com/google/gnostic-models/openapiv2"
	openapiv3 "github.com/google/gnostic-models/openapiv3"
	"google.golang.org/protobuf/proto"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/openapi"
)

const discoveryFacts = "../apiserver/discovery/testdata/kubernetes-1.37.json"

// kubernetesRows makes rows of the stable resources of Kubernetes from what
// its discovery documents say.
func kubernetesRows(t testing.TB) []*registry.Resource {
	t.Helper()
	data, err := os.ReadFile(discoveryFacts)
	if err != nil {
		t.Fatal(err)
	}
	var facts struct{ Documents map[string]json.RawMessage }
	if err := json.Unmarshal(data, &facts); err != nil {
		t.Fatal(err)
	}
	var rows []*registry.Resource
	for _, document := range facts.Documents {
		var list metav1.APIResourceList
		if err := json.Unmarshal(document, &list); err != nil || list.Kind != "APIResourceList" {
			continue
		}
		gv, _ := schema.ParseGroupVersion(list.GroupVersion)
		stable := gv.Version == "v1" || gv.Version == "v2"
		if stable {
			rows = append(rows, rowsOf(gv, list.APIResources)...)
		}
	}
	if len(rows) < 60 {
		t.Fatalf("only %d rows in %s", len(rows), discoveryFacts)
	}
	return rows
}

func rowsOf(gv schema.GroupVersion, resources []metav1.APIResource) []*registry.Resource {
	var rows []*registry.Resource
	for _, r := range resources {
		name, sub, isSub := strings.Cut(r.Name, "/")
		if !isSub {
			rows = append(rows, &registry.Resource{
				Kind: gv.WithKind(r.Kind), Name: name, Singular: r.SingularName, Namespaced: r.Namespaced, Verbs: r.Verbs,
			})
			continue
		}
		parent := rows[len(rows)-1]
		s := registry.Subresource{Name: sub, Verbs: r.Verbs}
		if r.Kind != parent.Kind.Kind {
			s.Kind = gv.WithKind(r.Kind)
		}
		if r.Version != "" {
			s.Kind = schema.GroupVersionKind{Group: r.Group, Version: r.Version, Kind: r.Kind}
		}
		s.Connect = slices.Contains([]string{"attach", "exec", "log", "portforward", "proxy"}, sub)
		parent.Subresources = append(parent.Subresources, s)
	}
	return rows
}

func widget() *registry.Resource {
	return &registry.Resource{
		Kind: schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Widget"},
		Name: "widgets", Singular: "widget", Namespaced: true,
		Verbs: []string{"create", "delete", "get", "list", "patch", "update", "watch"},
	}
}

func serve(t testing.TB, rows func() []*registry.Resource) *httptest.Server {
	t.Helper()
	server := httptest.NewTLSServer(openapi.New(openapi.Config{Rows: rows, Version: "v1.37.2"}))
	t.Cleanup(server.Close)
	return server
}

// serveKubernetes serves Kubernetes' resources and a custom one. All tests
// share the handler, and so the documents that it made before.
func serveKubernetes(t testing.TB) *httptest.Server {
	t.Helper()
	kubernetes.Do(func() {
		rows := append(kubernetesRows(t), widget())
		kubernetes.handler = openapi.New(openapi.Config{Rows: func() []*registry.Resource { return rows }, Version: "v1.37.2"})
	})
	server := httptest.NewTLSServer(kubernetes.handler)
	t.Cleanup(server.Close)
	return server
}

var kubernetes struct {
	sync.Once
	handler http.Handler
}

// get fetches without following redirects or undoing compression.
func get(t testing.TB, server *httptest.Server, path string, header ...string) (*http.Response, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept-Encoding", "identity")
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := server.Client().Transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, body
}

// index returns the relative URLs of the OpenAPI 3 documents by name.
func index(t testing.TB, server *httptest.Server) map[string]string {
	t.Helper()
	_, body := get(t, server, "/openapi/v3")
	var document struct {
		Paths map[string]struct{ ServerRelativeURL string }
	}
	if err := json.Unmarshal(body, &document); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	urls := map[string]string{}
	for name, p := range document.Paths {
		urls[name] = p.ServerRelativeURL
	}
	return urls
}

// documentsV3 returns all OpenAPI 3 documents of Kubernetes' resources. They
// are fetched once and must not be changed.
func documentsV3(t testing.TB) map[string]*spec3.OpenAPI {
	t.Helper()
	fetched.Do(func() { fetched.documents = fetchFrom(t, serveKubernetes(t)) })
	return fetched.documents
}

var fetched struct {
	sync.Once
	documents map[string]*spec3.OpenAPI
}

func fetchFrom(t testing.TB, server *httptest.Server) map[string]*spec3.OpenAPI {
	t.Helper()
	documents := map[string]*spec3.OpenAPI{}
	for name, url := range index(t, server) {
		response, body := get(t, server, url)
		if response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %s", url, response.Status, body)
		}
		documents[name] = &spec3.OpenAPI{}
		if err := json.Unmarshal(body, documents[name]); err != nil {
			t.Fatalf("%s: %v", url, err)
		}
	}
	return documents
}

func TestEveryReferenceLeadsSomewhere(t *testing.T) {
	server := serveKubernetes(t)
	for name, url := range index(t, server) {
		_, body := get(t, server, url)
		checkReferences(t, name, body)
	}
	_, body := get(t, server, "/openapi/v2")
	checkReferences(t, "v2", body)
	var swagger spec.Swagger
	if err := json.Unmarshal(body, &swagger); err != nil {
		t.Fatal(err)
	}
	if len(swagger.Definitions) < 500 || len(swagger.Paths.Paths) < 250 {
		t.Errorf("v2 has %d definitions and %d paths", len(swagger.Definitions), len(swagger.Paths.Paths))
	}
}

var reference = regexp.MustCompile(`"\$ref":"#/([a-z/]+)/([^"]+)"`)

// checkReferences looks at the text only: decoding all documents takes long.
func checkReferences(t *testing.T, name string, document []byte) {
	t.Helper()
	type named = map[string]json.RawMessage
	var targets struct {
		Components              struct{ Schemas named }
		Definitions, Parameters named
	}
	if err := json.Unmarshal(document, &targets); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	places := map[string]named{
		"components/schemas": targets.Components.Schemas, "definitions": targets.Definitions, "parameters": targets.Parameters,
	}
	references := reference.FindAllSubmatch(document, -1)
	if len(references) == 0 || len(references) != bytes.Count(document, []byte(`"$ref":"`)) {
		t.Errorf("%s: %d references of a known form", name, len(references))
	}
	for _, ref := range references {
		if places[string(ref[1])][string(ref[2])] == nil {
			t.Errorf("%s: nothing at %s", name, ref[0])
		}
	}
}

// TestKindsOfEveryGroupAreListedOnceInEachDocument: as the options of deletes
// are in every group, their list of kinds would else be the longest part.
func TestKindsOfEveryGroupAreListedOnceInEachDocument(t *testing.T) {
	for name, want := range map[string][]string{"api/v1": {"/v1"}, "apis/apps/v1": {"/v1", "apps/v1"}} {
		for _, kind := range []string{"DeleteOptions", "WatchEvent"} {
			var kinds []struct{ Group, Version, Kind string }
			model := documentsV3(t)[name].Components.Schemas["io.k8s.apimachinery.pkg.apis.meta.v1."+kind]
			if err := model.Extensions.GetObject("x-kubernetes-group-version-kind", &kinds); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, k := range kinds {
				got = append(got, k.Group+"/"+k.Version)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s of %s is of %v, want %v", kind, name, got, want)
			}
		}
	}
}

func TestProtobufHoldsWhatJSONHolds(t *testing.T) {
	server := serveKubernetes(t)
	response, body := get(t, server, "/openapi/v3/apis/apps/v1", "Accept", "application/com.github.proto-openapi.spec.v3@v1.0+protobuf")
	if got, want := response.Header.Get("Content-Type"), "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"; got != want {
		t.Errorf("content type %q, want %q", got, want)
	}
	var v3 openapiv3.Document
	if err := proto.Unmarshal(body, &v3); err != nil {
		t.Fatal(err)
	}
	_, jsonBody := get(t, server, "/openapi/v3/apis/apps/v1")
	want, err := openapiv3.ParseDocument(jsonBody)
	if err != nil {
		t.Fatalf("the JSON document is not valid OpenAPI 3: %v", err)
	}
	if !proto.Equal(&v3, want) {
		t.Error("v3: protobuf and JSON differ")
	}

	_, body = get(t, server, "/openapi/v2", "Accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
	var v2 openapiv2.Document
	if err := proto.Unmarshal(body, &v2); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, definition := range v2.Definitions.AdditionalProperties {
		names[definition.Name] = true
	}
	if !names["io.k8s.api.apps.v1.Deployment"] || !names["com.example.v1.Widget"] {
		t.Errorf("v2 has %d definitions, but not those of Deployment and Widget", len(names))
	}
}

func TestDocumentsAreCachedByTagAndHash(t *testing.T) {
	server := serveKubernetes(t)
	url := index(t, server)["apis/apps/v1"]
	response, _ := get(t, server, url)
	if got := response.Header.Get("Cache-Control"); got != "public, immutable" {
		t.Errorf("with the right hash: Cache-Control %q", got)
	}
	etag := response.Header.Get("ETag")
	if response, body := get(t, server, url, "If-None-Match", `"other", W/`+etag); response.StatusCode != http.StatusNotModified || len(body) > 0 {
		t.Errorf("with the tag: %s, %d bytes", response.Status, len(body))
	}
	if response, _ := get(t, server, "/openapi/v3/apis/apps/v1"); response.Header.Get("Cache-Control") != "" {
		t.Error("a reply without a hash in its address may not be cached for ever")
	}
	response, _ = get(t, server, "/openapi/v3/apis/apps/v1?hash=OLD")
	if response.StatusCode != http.StatusMovedPermanently || response.Header.Get("Location") != url {
		t.Errorf("with an old hash: %s to %q, want %q", response.Status, response.Header.Get("Location"), url)
	}
	for _, path := range []string{"/openapi/v2", "/openapi/v3"} {
		response, _ := get(t, server, path)
		if response, _ := get(t, server, path, "If-None-Match", response.Header.Get("ETag")); response.StatusCode != http.StatusNotModified {
			t.Errorf("%s with its tag: %s", path, response.Status)
		}
	}
}

func TestRepliesAreCompressedForWhoAsks(t *testing.T) {
	server := serveKubernetes(t)
	_, plain := get(t, server, "/openapi/v2")
	response, body := get(t, server, "/openapi/v2", "Accept-Encoding", "gzip")
	if response.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("Content-Encoding %q", response.Header.Get("Content-Encoding"))
	}
	reader, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	uncompressed, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(uncompressed, plain) || len(body)*4 > len(plain) {
		t.Errorf("%d bytes compressed to %d", len(plain), len(body))
	}
	if response, _ := get(t, server, "/openapi/v2", "Accept-Encoding", "gzip;q=0"); response.Header.Get("Content-Encoding") != "" {
		t.Error("compressed for a client that refuses it")
	}
}

func TestDocumentsFollowTheRows(t *testing.T) {
	rows := make(chan []*registry.Resource, 1)
	all := kubernetesRows(t)
	rows <- all
	server := serve(t, func() []*registry.Resource { r := <-rows; rows <- r; return r })
	before := index(t, server)
	<-rows
	rows <- append(slices.Clone(all), widget())
	after := index(t, server)
	if before["apis/example.com/v1"] != "" || after["apis/example.com/v1"] == "" {
		t.Error("a new resource brings no document")
	}
	if before["apis/apps/v1"] != after["apis/apps/v1"] {
		t.Error("a new resource changes the hash of another group's document")
	}
	if _, body := get(t, server, after["apis/example.com/v1"]); !bytes.Contains(body, []byte(`"com.example.v1.Widget"`)) {
		t.Error("the new resource's document has no model of it")
	}
}

func TestOnlyKnownPathsAndMediaTypesAreServed(t *testing.T) {
	server := serveKubernetes(t)
	for _, path := range []string{"/openapi", "/openapi/v1", "/openapi/v3/apis/nobody/v1", "/openapi/v3/apis/apps/v1/x", "/openapi/v3/.."} {
		if response, _ := get(t, server, path); response.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, response.Status)
		}
	}
	for _, path := range []string{"/openapi/v2", "/openapi/v3/apis/apps/v1"} {
		if response, _ := get(t, server, path, "Accept", "text/html"); response.StatusCode != http.StatusNotAcceptable {
			t.Errorf("%s as HTML: %s", path, response.Status)
		}
	}
}
