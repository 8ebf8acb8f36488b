package discovery_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientdiscovery "k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/yare-io/yare/apiserver/discovery"
	"github.com/yare-io/yare/apiserver/registry"
)

const aggregatedAccept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

// kubernetes is what Kubernetes answers, by path (testdata names the source).
type kubernetes struct {
	Aggregated json.RawMessage
	Documents  map[string]json.RawMessage
}

func load(t *testing.T) kubernetes {
	t.Helper()
	data, err := os.ReadFile("testdata/kubernetes-1.37.json")
	if err != nil {
		t.Fatal(err)
	}
	var k kubernetes
	if err := json.Unmarshal(data, &k); err != nil {
		t.Fatal(err)
	}
	return k
}

// rows makes rows of all that Kubernetes' documents list, in reverse, so that
// every order in the answers is the handler's own.
func (k kubernetes) rows(t *testing.T) []*registry.Resource {
	t.Helper()
	var rows []*registry.Resource
	for path, document := range k.Documents {
		if path == "/apis" || strings.HasPrefix(path, "/apis/") && strings.Count(path, "/") == 2 {
			continue
		}
		rows = append(rows, rowsOfDocument(t, document)...)
	}
	slices.SortFunc(rows, func(a, b *registry.Resource) int {
		return strings.Compare(b.GroupVersionResource().String(), a.GroupVersionResource().String())
	})
	return rows
}

func rowsOfDocument(t *testing.T, document []byte) []*registry.Resource {
	t.Helper()
	var list metav1.APIResourceList
	if err := json.Unmarshal(document, &list); err != nil {
		t.Fatal(err)
	}
	gv, err := schema.ParseGroupVersion(list.GroupVersion)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*registry.Resource{}
	var rows []*registry.Resource
	for _, r := range list.APIResources {
		name, sub, isSub := strings.Cut(r.Name, "/")
		if !isSub {
			row := &registry.Resource{
				Kind: gv.WithKind(r.Kind), Name: name, Singular: r.SingularName, Namespaced: r.Namespaced,
				ShortNames: r.ShortNames, Categories: r.Categories, Verbs: r.Verbs,
			}
			if r.StorageVersionHash != "" {
				row.StoragePrefix = name
			}
			if stored, ok := storedAs(row); ok && r.StorageVersionHash != "" {
				row.StoredAs = &registry.Conversion{Kind: stored}
			}
			byName[name] = row
			rows = append(rows, row)
			continue
		}
		kind := schema.GroupVersionKind{Group: r.Group, Version: r.Version, Kind: r.Kind}
		if kind.Version == "" {
			kind = gv.WithKind(r.Kind)
		}
		byName[name].Subresources = append(byName[name].Subresources, registry.Subresource{Name: sub, Kind: kind, Verbs: r.Verbs})
		slices.Reverse(byName[name].Subresources)
	}
	return rows
}

// storedAs knows the resources that Kubernetes stores in another version.
func storedAs(row *registry.Resource) (schema.GroupVersionKind, bool) {
	stored := row.Kind
	switch {
	case row.Kind.Group == "autoscaling":
		stored.Version = "v2"
	case row.Kind.Group == "events.k8s.io":
		stored.Group = ""
	case row.Kind.Group == "resource.k8s.io":
		stored.Version = "v1"
	}
	return stored, stored != row.Kind
}

func serve(t *testing.T, rows func() []*registry.Resource) *httptest.Server {
	t.Helper()
	server := httptest.NewTLSServer(discovery.New(discovery.Config{Rows: rows, Address: "10.0.0.1:6443"}))
	t.Cleanup(server.Close)
	return server
}

func get(t *testing.T, server *httptest.Server, path string, header ...string) (*http.Response, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := server.Client().Do(request)
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

func sameJSON(t *testing.T, what string, got, want []byte) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("%s: %v in %s", what, err, got)
	}
	if err := json.Unmarshal(want, &w); err != nil {
		t.Fatal(err)
	}
	if !equality.Semantic.DeepEqual(g, w) {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

func TestDocumentsEqualThoseOfKubernetes(t *testing.T) {
	k := load(t)
	rows := k.rows(t)
	server := serve(t, func() []*registry.Resource { return rows })
	for path, want := range k.Documents {
		response, body := get(t, server, path)
		if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %s, %s", path, response.Status, response.Header.Get("Content-Type"))
		}
		sameJSON(t, path, body, want)
	}
	_, body := get(t, server, "/apis", "Accept", aggregatedAccept)
	sameJSON(t, "aggregated", body, k.Aggregated)
	_, body = get(t, server, "/api/")
	sameJSON(t, "/api", body, []byte(`{"kind":"APIVersions","versions":["v1"],
		"serverAddressByClientCIDRs":[{"clientCIDR":"0.0.0.0/0","serverAddress":"10.0.0.1:6443"}]}`))
}

func TestClientSeesEveryResourceThroughAggregatedDiscovery(t *testing.T) {
	rows := load(t).rows(t)
	server := serve(t, func() []*registry.Resource { return rows })
	client, err := clientdiscovery.NewDiscoveryClientForConfig(&rest.Config{
		Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	groups, lists, err := client.ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	if groups[0].Name != "" || groups[1].Name != "apiregistration.k8s.io" {
		t.Errorf("groups begin with %q, %q", groups[0].Name, groups[1].Name)
	}
	count := 0
	for _, list := range lists {
		for _, r := range list.APIResources {
			if !strings.Contains(r.Name, "/") {
				count++
			}
		}
	}
	if count != len(rows) {
		t.Errorf("client sees %d resources, want %d", count, len(rows))
	}
}

func TestAggregatedDocumentIsTaggedAndFollowsTheRows(t *testing.T) {
	all := load(t).rows(t)
	var mu sync.Mutex
	rows := all
	server := serve(t, func() []*registry.Resource { mu.Lock(); defer mu.Unlock(); return rows })

	response, _ := get(t, server, "/apis", "Accept", aggregatedAccept)
	etag := response.Header.Get("ETag")
	if want := aggregatedAccept; response.Header.Get("Content-Type") != want {
		t.Errorf("content type %q, want %q", response.Header.Get("Content-Type"), want)
	}
	response, body := get(t, server, "/apis", "Accept", aggregatedAccept, "If-None-Match", etag)
	if response.StatusCode != http.StatusNotModified || len(body) > 0 {
		t.Errorf("unchanged document: %s with %d bytes", response.Status, len(body))
	}

	mu.Lock()
	rows = append(slices.Clone(all), &registry.Resource{
		Kind: schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Widget"},
		Name: "widgets", Singular: "widget", Verbs: []string{"get"},
	})
	mu.Unlock()
	response, body = get(t, server, "/apis", "Accept", aggregatedAccept, "If-None-Match", etag)
	if response.StatusCode != http.StatusOK || !strings.Contains(string(body), `"widgets"`) {
		t.Errorf("document after a resource was added: %s", response.Status)
	}
	var list apidiscoveryv2.APIGroupDiscoveryList
	if err := json.Unmarshal(body, &list); err != nil {
		t.Fatal(err)
	}
	if last := list.Items[len(list.Items)-1].Name; last != "example.com" {
		t.Errorf("last group is %q: unknown groups come after Kubernetes' own", last)
	}
}

func TestFormatIsNegotiated(t *testing.T) {
	rows := load(t).rows(t)
	server := serve(t, func() []*registry.Resource { return rows })
	const params = ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
	const removed = ";g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
	for _, c := range []struct{ path, accept, contentType string }{
		{"/api", "*/*", "application/json"},
		{"/api", aggregatedAccept + ";profile=nopeer," + aggregatedAccept, aggregatedAccept},
		{"/apis", "application/json" + removed + ",application/json", "application/json"},
		{"/apis", "application/cbor" + params, "application/cbor" + params},
		{"/apis/apps/v1", "application/cbor", "application/cbor"},
		{"/apis", "application/json;as=Table;v=v1;g=meta.k8s.io,application/yaml", "application/yaml"},
		{"/apis", "application/json;q=0.1,application/vnd.kubernetes.protobuf" + params, "application/vnd.kubernetes.protobuf" + params},
		{"/apis/apps/v1", aggregatedAccept + ",application/json", "application/json"},
		{"/apis/apps/v1", "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf"},
	} {
		response, _ := get(t, server, c.path, "Accept", c.accept)
		if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != c.contentType {
			t.Errorf("%s as %s: %s, %q", c.path, c.accept, response.Status, response.Header.Get("Content-Type"))
		}
	}
	if response, _ := get(t, server, "/apis", "Accept", "application/json"+removed); response.StatusCode != http.StatusNotAcceptable {
		t.Errorf("a version that is removed: %s", response.Status)
	}
	response, body := get(t, server, "/apis", "Accept", "text/html")
	var status metav1.Status
	if err := json.Unmarshal(body, &status); err != nil || response.StatusCode != http.StatusNotAcceptable || status.Reason != metav1.StatusReasonNotAcceptable {
		t.Errorf("text/html: %s, %s", response.Status, body)
	}
}

func TestProtobufHoldsTheSameDocument(t *testing.T) {
	k := load(t)
	rows := k.rows(t)
	server := serve(t, func() []*registry.Resource { return rows })
	_, body := get(t, server, "/apis", "Accept", "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
	var unknown runtime.Unknown
	if err := unknown.Unmarshal(body[4:]); err != nil {
		t.Fatal(err)
	}
	if unknown.APIVersion != "apidiscovery.k8s.io/v2" || unknown.Kind != "APIGroupDiscoveryList" {
		t.Errorf("envelope says %s %s", unknown.APIVersion, unknown.Kind)
	}
	var got, want apidiscoveryv2.APIGroupDiscoveryList
	if err := got.Unmarshal(unknown.Raw); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(k.Aggregated, &want); err != nil {
		t.Fatal(err)
	}
	if !equality.Semantic.DeepEqual(got.Items, want.Items) {
		t.Error("protobuf differs from Kubernetes' document")
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	rows := load(t).rows(t)
	server := serve(t, func() []*registry.Resource { return rows })
	for _, path := range []string{"/", "/api/v2", "/api/v1/pods", "/apis/nobody", "/apis/apps/v2", "/apis/apps/v1/deployments", "/apis//v1", "/apis/../api"} {
		if response, body := get(t, server, path); response.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s %s", path, response.Status, body)
		}
	}
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/apis", nil)
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %s", response.Status)
	}
}
