package request_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/yare-io/yare/apiserver/request"
)

func TestMeaningOfPaths(t *testing.T) {
	for _, test := range []struct {
		method, target string
		want           request.Info
	}{
		{"GET", "/", request.Info{Verb: "get"}},
		{"GET", "/healthz/ping", request.Info{Verb: "get"}},
		{"GET", "/api/v1", request.Info{Verb: "get"}},
		{"GET", "/apis/apps/v1", request.Info{Verb: "get"}},
		{"GET", "/api/v1/pods", request.Info{IsResource: true, Verb: "list", Version: "v1", Resource: "pods"}},
		{"HEAD", "/api/v1/pods", request.Info{IsResource: true, Verb: "list", Version: "v1", Resource: "pods"}},
		{"GET", "/api/v1/pods?watch=1", request.Info{IsResource: true, Verb: "watch", Version: "v1", Resource: "pods"}},
		{"GET", "/api/v1/pods?watch=false", request.Info{IsResource: true, Verb: "list", Version: "v1", Resource: "pods"}},
		{"GET", "/api/v1/watch/pods", request.Info{IsResource: true, Verb: "watch", Version: "v1", Resource: "pods", LegacyWatch: true}},
		{"GET", "/api/v1/watch/namespaces/n/pods/p", request.Info{IsResource: true, Verb: "watch", Version: "v1", Namespace: "n", Within: true, Resource: "pods", Name: "p", LegacyWatch: true}},
		{"GET", "/api/v1/namespaces", request.Info{IsResource: true, Verb: "list", Version: "v1", Resource: "namespaces"}},
		{"GET", "/api/v1/namespaces/n", request.Info{IsResource: true, Verb: "get", Version: "v1", Namespace: "n", Resource: "namespaces", Name: "n"}},
		{"PUT", "/api/v1/namespaces/n/finalize", request.Info{IsResource: true, Verb: "update", Version: "v1", Namespace: "n", Resource: "namespaces", Name: "n", Subresource: "finalize"}},
		{"POST", "/api/v1/namespaces/n/pods", request.Info{IsResource: true, Verb: "create", Version: "v1", Namespace: "n", Within: true, Resource: "pods"}},
		{"PATCH", "/apis/apps/v1/namespaces/n/deployments/d/scale", request.Info{IsResource: true, Verb: "patch", Group: "apps", Version: "v1", Namespace: "n", Within: true, Resource: "deployments", Name: "d", Subresource: "scale"}},
		{"DELETE", "/apis/apps/v1/namespaces/n/deployments", request.Info{IsResource: true, Verb: "deletecollection", Group: "apps", Version: "v1", Namespace: "n", Within: true, Resource: "deployments"}},
		{"GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode", request.Info{IsResource: true, Verb: "get", Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles", Name: "system:node"}},
		{"GET", "/api/v1/nodes/n/proxy/a%2Fb/../c/", request.Info{IsResource: true, Verb: "get", Version: "v1", Resource: "nodes", Name: "n", Subresource: "proxy", Remainder: "/a%2Fb/../c/"}},
		{"GET", "/api/v1/nodes/n/proxy/", request.Info{IsResource: true, Verb: "get", Version: "v1", Resource: "nodes", Name: "n", Subresource: "proxy", Remainder: "/"}},
		{"GET", "/api/v1/pods?fieldSelector=metadata.name%3Dp", request.Info{IsResource: true, Verb: "list", Version: "v1", Resource: "pods", Name: "p", FieldSelector: "metadata.name=p"}},
		{"GET", "/api/v1/pods?fieldSelector=metadata.name%21%3Dp", request.Info{IsResource: true, Verb: "list", Version: "v1", Resource: "pods", FieldSelector: "metadata.name!=p"}},
	} {
		r := httptest.NewRequest(test.method, test.target, nil)
		test.want.Path = r.URL.Path
		got, err := request.Of(r)
		if err != nil || *got != test.want {
			t.Errorf("%s %s: %+v, %v\nwant %+v", test.method, test.target, got, err, test.want)
		}
	}
}

func TestPathsThatReadInTwoWaysAreRefused(t *testing.T) {
	for _, target := range []string{
		"/api/v1//pods", "/api/v1/./pods", "/api/v1/../pods", "/api/v1/namespaces/%2e%2e/pods", "/api/v1/pods/a%2Fb",
		"/api/v1/namespaces/n%2Fpods", "/api/v1/pods/%00", "/healthz/../metrics", "/healthz//ping", "/%2e%2e/metrics", "/api/v1/watch",
	} {
		if info, err := request.Of(httptest.NewRequest(http.MethodGet, target, nil)); err == nil && (info.IsResource || target != "/api/v1/watch") {
			t.Errorf("%s was read as %+v", target, info)
		}
	}
}

// FuzzOf: whatever is sent, names and verbs come out whole or not at all.
func FuzzOf(f *testing.F) {
	f.Add("/api/v1/namespaces/n/pods/p/log/x", "watch=1")
	f.Add("/apis/apps/v1/watch/namespaces/%2e/x", "fieldSelector=metadata.name=/")
	f.Fuzz(func(t *testing.T, path, query string) {
		u, err := url.ParseRequestURI("/" + strings.TrimLeft(path, "/"))
		if err != nil {
			return
		}
		u.RawQuery = query
		info, err := request.Of(&http.Request{Method: http.MethodGet, URL: u})
		if err != nil {
			return
		}
		for _, part := range []string{info.Group, info.Version, info.Namespace, info.Resource, info.Name, info.Subresource} {
			if strings.Contains(part, "/") || part == "." || part == ".." {
				t.Fatalf("%q gave %+v", u, info)
			}
		}
	})
}
