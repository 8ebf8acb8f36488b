package inventory_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/admission/opa/inventory"
)

// cluster is a cluster in a map, by resource and namespace/name.
type cluster struct {
	mu      sync.Mutex
	objects map[schema.GroupResource]map[string]runtime.Object
	gets    int
	lists   int
}

func (c *cluster) put(resource schema.GroupResource, key string, object runtime.Object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.objects == nil {
		c.objects = map[schema.GroupResource]map[string]runtime.Object{}
	}
	if c.objects[resource] == nil {
		c.objects[resource] = map[string]runtime.Object{}
	}
	c.objects[resource][key] = object
}

func (c *cluster) Get(_ context.Context, resource schema.GroupResource, namespace, name string) (runtime.Object, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gets++
	if object, ok := c.objects[resource][namespace+"/"+name]; ok {
		return object, nil
	}
	return nil, apierrors.NewNotFound(resource, name)
}

func (c *cluster) List(_ context.Context, resource schema.GroupResource, _ string) ([]runtime.Object, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lists++
	var keys []string
	for key := range c.objects[resource] {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	var all []runtime.Object
	for _, key := range keys {
		all = append(all, c.objects[resource][key])
	}
	return all, nil
}

var (
	services   = corev1.Resource("services")
	namespaces = corev1.Resource("namespaces")
)

func service(namespace, name, address string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}}},
		Spec:       corev1.ServiceSpec{ClusterIP: address, ExternalIPs: []string{"192.0.2.1"}},
	}
}

func resources() []inventory.Resource {
	return []inventory.Resource{
		{GroupResource: services, Kind: corev1.SchemeGroupVersion.WithKind("Service"), Namespaced: true},
		{GroupResource: namespaces, Kind: corev1.SchemeGroupVersion.WithKind("Namespace")},
	}
}

func newCluster() (*cluster, *inventory.Inventory) {
	c := &cluster{}
	c.put(services, "a/web", service("a", "web", "10.0.0.1"))
	c.put(services, "b/web", service("b", "web", "10.0.0.2"))
	c.put(namespaces, "/a", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"team": "blue"}}})
	return c, inventory.New(c, resources)
}

// see reads a path and writes what is there as Rego would.
func see(t testing.TB, i *inventory.Inventory, path string) string {
	t.Helper()
	value, ours, err := i.Read(t.Context(), strings.Split(path, "|"))
	switch {
	case !ours:
		return "not ours"
	case storage.IsNotFound(err):
		return "nothing"
	case err != nil:
		t.Fatalf("%s: %v", path, err)
	}
	return ast.MustInterfaceToValue(value).String()
}

func TestObjectsAreSeenByName(t *testing.T) {
	c, i := newCluster()
	for path, want := range map[string]string{
		"kubernetes|services|a|web|spec|clusterIP":            `"10.0.0.1"`,
		"kubernetes|services|a|web|spec|externalIPs|0":        `"192.0.2.1"`,
		"kubernetes|services|a|web|spec|externalIPs|7":        "nothing",
		"kubernetes|services|a|web|metadata|managedFields":    "nothing",
		"kubernetes|services|a|web|kind":                      `"Service"`,
		"kubernetes|services|a|other":                         "nothing",
		"kubernetes|namespaces|a|metadata|labels":             `{"team": "blue"}`,
		"kubernetes|pods|a":                                   "not ours",
		"kubernetes":                                          "not ours",
		"inventory|cluster|v1|Namespace|a|metadata|name":      `"a"`,
		"inventory|cluster|v1|Service|web":                    "nothing",
		"inventory|namespace|a|v1|Service|web|spec|clusterIP": `"10.0.0.1"`,
		"other": "not ours",
	} {
		if got := see(t, i, path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if c.lists != 0 {
		t.Error("a look-up by name listed a resource")
	}
}

func TestAWholeResourceFollowsTheCluster(t *testing.T) {
	c, i := newCluster()
	addresses := func(path string) []string {
		var found []string
		value, _, err := i.Read(t.Context(), strings.Split(path, "|"))
		if err != nil {
			t.Fatal(err)
		}
		ast.WalkTerms(ast.NewTerm(ast.MustInterfaceToValue(value)), func(term *ast.Term) bool {
			if text, ok := term.Value.(ast.String); ok && strings.HasPrefix(string(text), "10.") {
				found = append(found, string(text))
			}
			return false
		})
		slices.Sort(found)
		return found
	}
	for _, path := range []string{"kubernetes|services", "inventory", "inventory|namespace"} {
		if got := addresses(path); !slices.Equal(got, []string{"10.0.0.1", "10.0.0.2"}) {
			t.Errorf("%s: %v", path, got)
		}
	}
	c.put(services, "b/web", service("b", "web", "10.0.0.3"))
	c.put(services, "c/db", service("c", "db", "10.0.0.4"))
	for _, path := range []string{"kubernetes|services", "inventory", "inventory|namespace"} {
		if got := addresses(path); !slices.Equal(got, []string{"10.0.0.1", "10.0.0.3", "10.0.0.4"}) {
			t.Errorf("%s after the change: %v", path, got)
		}
	}
	if got := addresses("kubernetes|services|b"); !slices.Equal(got, []string{"10.0.0.3"}) {
		t.Errorf("one namespace: %v", got)
	}
}

func TestReadersAndChangesMeet(t *testing.T) {
	c, i := newCluster()
	var group sync.WaitGroup
	for n := range 4 {
		group.Go(func() {
			for m := range 50 {
				c.put(services, fmt.Sprintf("a/s%d", m), service("a", fmt.Sprintf("s%d", m), fmt.Sprintf("10.0.%d.%d", n, m)))
				if see(t, i, "inventory|namespace|a|v1") == "nothing" || see(t, i, "kubernetes|services|a") == "nothing" {
					t.Error("a namespace vanished")
				}
			}
		})
	}
	group.Wait()
}

func BenchmarkWholeResourceUnchanged(b *testing.B) {
	c := &cluster{}
	for n := range 10_000 {
		name := fmt.Sprintf("s%05d", n)
		c.put(services, "a/"+name, service("a", name, "10.0.0.1"))
	}
	list, _ := c.List(b.Context(), services, "")
	i := inventory.New(fixed(list), resources)
	for b.Loop() {
		if _, _, err := i.Read(b.Context(), storage.Path{"kubernetes", "services"}); err != nil {
			b.Fatal(err)
		}
	}
}

// fixed is a list that does not change.
type fixed []runtime.Object

func (f fixed) Get(context.Context, schema.GroupResource, string, string) (runtime.Object, error) {
	return f[0], nil
}

func (f fixed) List(context.Context, schema.GroupResource, string) ([]runtime.Object, error) {
	return f, nil
}
