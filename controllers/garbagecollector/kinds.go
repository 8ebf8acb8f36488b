package garbagecollector

import (
	"fmt"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// kind is how the objects of a kind are reached.
type kind struct {
	gvk        schema.GroupVersionKind
	resource   schema.GroupVersionResource
	namespaced bool
}

// kinds knows how to reach objects by the kind that owner references name. It
// is safe for concurrent use.
type kinds struct {
	discovery discovery.DiscoveryInterface

	mu    sync.Mutex
	known map[schema.GroupVersionKind]kind
}

func newKinds(d discovery.DiscoveryInterface) *kinds {
	return &kinds{discovery: d, known: map[schema.GroupVersionKind]kind{}}
}

// collectable asks for the kinds whose objects can be listed, watched and
// deleted, each in its preferred version. With an error, those of the groups
// that answered are returned.
func (k *kinds) collectable() ([]kind, error) {
	lists, err := k.discovery.ServerPreferredResources()
	var found []kind
	for _, list := range lists {
		for _, each := range k.learn(list) {
			if !ignored[each.resource.GroupResource()] {
				found = append(found, each)
			}
		}
	}
	return found, err
}

// ignored are kinds that own nothing, are owned by nothing and are many.
var ignored = map[schema.GroupResource]bool{
	{Resource: "events"}:                         true,
	{Group: "events.k8s.io", Resource: "events"}: true,
}

// learn remembers all kinds of a list and returns the collectable ones.
func (k *kinds) learn(list *metav1.APIResourceList) []kind {
	version, err := schema.ParseGroupVersion(list.GroupVersion)
	if err != nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var found []kind
	for _, r := range list.APIResources {
		if slices.Contains([]byte(r.Name), '/') {
			continue
		}
		each := kind{gvk: version.WithKind(r.Kind), resource: version.WithResource(r.Name), namespaced: r.Namespaced}
		k.known[each.gvk] = each
		if hasAll(r.Verbs, "delete", "list", "watch") {
			found = append(found, each)
		}
	}
	return found
}

func hasAll(verbs []string, wanted ...string) bool {
	return !slices.ContainsFunc(wanted, func(verb string) bool { return !slices.Contains(verbs, verb) })
}

// lookup finds a kind in the very version named, asking the API if need be.
func (k *kinds) lookup(apiVersion, name string) (kind, error) {
	version, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return kind{}, err
	}
	wanted := version.WithKind(name)
	if found, ok := k.find(wanted); ok {
		return found, nil
	}
	list, err := k.discovery.ServerResourcesForGroupVersion(apiVersion)
	if err != nil {
		return kind{}, fmt.Errorf("looking up kind %s: %w", wanted, err)
	}
	k.learn(list)
	if found, ok := k.find(wanted); ok {
		return found, nil
	}
	return kind{}, fmt.Errorf("no matches for kind %q in version %q", name, apiVersion)
}

func (k *kinds) find(wanted schema.GroupVersionKind) (kind, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	found, ok := k.known[wanted]
	return found, ok
}
