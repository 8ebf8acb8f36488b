package discovery_test

import (
	"encoding/json"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/apiserver/api"
	"github.com/yare-io/yare/apiserver/registry"
)

// Whatever Yare serves, it describes as Kubernetes does.
func TestServedResourcesAreDescribedAsByKubernetes(t *testing.T) {
	k := load(t)
	rows := api.Resources(api.Deps{})
	server := serve(t, func() []*registry.Resource { return rows })
	compared := 0
	for path, document := range k.Documents {
		var want, got metav1.APIResourceList
		if err := json.Unmarshal(document, &want); err != nil {
			t.Fatal(err)
		}
		if want.Kind != "APIResourceList" {
			continue
		}
		response, body := get(t, server, path)
		if response.StatusCode == 404 {
			continue // a version that Yare does not serve
		}
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatal(err)
		}
		known := map[string]metav1.APIResource{}
		for _, r := range want.APIResources {
			known[r.Name] = r
		}
		for _, r := range got.APIResources {
			compared++
			if w, ok := known[r.Name]; !ok || !sameResource(r, w) {
				t.Errorf("%s:\n got %+v\nwant %+v", path, r, w)
			}
		}
	}
	if compared < 80 {
		t.Errorf("only %d resources compared", compared)
	}
}

// sameResource compares storage version hashes only where the source is sure
// of them.
func sameResource(got, want metav1.APIResource) bool {
	if want.StorageVersionHash == "" {
		got.StorageVersionHash = ""
	}
	return equality.Semantic.DeepEqual(got, want)
}
