package discovery_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver/api"
	"github.com/yare-io/yare/apiserver/registry"
)

// stable are the versions that are served: Kubernetes' documents list alpha and
// beta ones too.
var stable = regexp.MustCompile(`^v[0-9]+$`)

// Yare describes every stable resource, and each as Kubernetes does.
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
		gv, _ := schema.ParseGroupVersion(want.GroupVersion)
		if want.Kind != "APIResourceList" || !stable.MatchString(gv.Version) || elsewhere[gv.Group] {
			continue
		}
		_, body := get(t, server, path)
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("%s: %v", path, err)
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
			delete(known, r.Name)
		}
		for name := range known {
			t.Errorf("%s: no %s", path, name)
		}
	}
	if compared < 115 {
		t.Errorf("only %d resources compared", compared)
	}
}

// elsewhere are groups whose rows are not among the built-in ones.
var elsewhere = map[string]bool{"apiextensions.k8s.io": true, "apiregistration.k8s.io": true}

// The same, of the aggregated document: every field, and the order.
func TestServedResourcesAreAggregatedAsByKubernetes(t *testing.T) {
	k := load(t)
	rows := api.Resources(api.Deps{})
	server := serve(t, func() []*registry.Resource { return rows })
	var want, got apidiscoveryv2.APIGroupDiscoveryList
	if err := json.Unmarshal(k.Aggregated, &want); err != nil {
		t.Fatal(err)
	}
	_, body := get(t, server, "/apis", "Accept", aggregatedAccept)
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	want.Items = slices.DeleteFunc(want.Items, func(g apidiscoveryv2.APIGroupDiscovery) bool { return elsewhere[g.Name] })
	for i := range want.Items {
		want.Items[i].Versions = slices.DeleteFunc(want.Items[i].Versions, func(v apidiscoveryv2.APIVersionDiscovery) bool {
			return !stable.MatchString(v.Version)
		})
	}
	want.Items = slices.DeleteFunc(want.Items, func(g apidiscoveryv2.APIGroupDiscovery) bool { return len(g.Versions) == 0 })
	got.Items = slices.DeleteFunc(got.Items, func(g apidiscoveryv2.APIGroupDiscovery) bool { return elsewhere[g.Name] })
	if !equality.Semantic.DeepEqual(got.Items, want.Items) {
		t.Errorf("aggregated: %s", cmp.Diff(want.Items, got.Items))
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
