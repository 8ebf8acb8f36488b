package apiserver_test

import (
	"strings"
	"testing"

	"github.com/yare-io/yare/apiserver"
)

// TestPagesAboutTheProcess: text for people, objects for programs.
func TestPagesAboutTheProcess(t *testing.T) {
	h := start(t, func(c *apiserver.Config) {
		c.Flags = func() map[string]string { return map[string]string{"v": "2", "secure-port": "6443"} }
	})
	for _, test := range []struct {
		path, accept string
		code         int
		contentType  string
		contains     []string
	}{
		{"/flagz", "", 200, "text/plain; charset=utf-8", []string{"kube-apiserver flagz\nWarning: ", "\nsecure-port=6443\nv=2\n"}},
		{"/flagz", "text/html,*/*", 200, "text/plain; charset=utf-8", nil},
		{"/flagz", "application/json;g=config.k8s.io;v=v1beta1;as=Flagz", 200, "application/json", []string{`{"kind":"Flagz","apiVersion":"config.k8s.io/v1beta1","flags":{"secure-port":"6443","v":"2"},"metadata":{"name":"kube-apiserver"}}`}},
		{"/flagz", "application/yaml;g=config.k8s.io;v=v1alpha1;as=Flagz", 200, "application/yaml", []string{"apiVersion: config.k8s.io/v1alpha1\n"}},
		{"/flagz", "application/json", 406, "application/json", []string{"NotAcceptable"}},
		{"/flagz", "application/json;g=config.k8s.io;v=v1beta1;as=Statusz", 406, "application/json", nil},
		{"/statusz", "", 200, "text/plain; charset=utf-8", []string{"kube-apiserver statusz\n", "\nGo version: ", "/flagz"}},
		{"/statusz", "application/json;g=config.k8s.io;v=v1beta1;as=Statusz", 200, "application/json", []string{`"kind":"Statusz"`, `"uptimeSeconds":`, `"paths":["/flagz",`}},
	} {
		got := h.do(t, "GET", test.path, "", "Accept", test.accept)
		if got.code != test.code || got.header.Get("Content-Type") != test.contentType {
			t.Errorf("%s %s: %d %v %s", test.path, test.accept, got.code, got.header, got.body)
		}
		for _, want := range test.contains {
			if !strings.Contains(got.body, want) {
				t.Errorf("%s %s: no %q in %s", test.path, test.accept, want, got.body)
			}
		}
	}
	if old := h.do(t, "GET", "/flagz", "", "Accept", "application/json;g=config.k8s.io;v=v1alpha1;as=Flagz"); old.header.Get("Warning") == "" {
		t.Error("nobody is warned of an old version")
	}
	if plain := start(t).do(t, "GET", "/flagz", ""); plain.code != 404 {
		t.Errorf("flags of nowhere: %d", plain.code)
	}
}
