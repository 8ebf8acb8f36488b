package discovery

import (
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/apiserver/registry"
)

// aggregate is the aggregated document of the core group, or of all others.
func aggregate(v view, core bool) *apidiscoveryv2.APIGroupDiscoveryList {
	groups := v.groups()
	if core {
		groups = []string{""}
	}
	list := &apidiscoveryv2.APIGroupDiscoveryList{
		TypeMeta: metav1.TypeMeta{Kind: "APIGroupDiscoveryList", APIVersion: apidiscoveryv2.SchemeGroupVersion.String()},
		Items:    []apidiscoveryv2.APIGroupDiscovery{},
	}
	for _, name := range groups {
		if group := aggregateGroup(v, name); len(group.Versions) > 0 {
			list.Items = append(list.Items, group)
		}
	}
	return list
}

func aggregateGroup(v view, name string) apidiscoveryv2.APIGroupDiscovery {
	group := apidiscoveryv2.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, served := range v.versionsOf(name) {
		if other := v.elsewhere(name, served); other != nil {
			group.Versions = append(group.Versions, *other)
			continue
		}
		version := apidiscoveryv2.APIVersionDiscovery{Version: served, Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent}
		for _, row := range rowsOf(v.byGroup[name], name, served) {
			version.Resources = append(version.Resources, aggregateResource(row))
		}
		group.Versions = append(group.Versions, version)
	}
	return group
}

func aggregateResource(row *registry.Resource) apidiscoveryv2.APIResourceDiscovery {
	resource := apidiscoveryv2.APIResourceDiscovery{
		Resource:         row.Name,
		SingularResource: row.Singular,
		ResponseKind:     &metav1.GroupVersionKind{Kind: row.Kind.Kind},
		Scope:            apidiscoveryv2.ScopeCluster,
		Verbs:            row.Verbs,
		ShortNames:       row.ShortNames,
		Categories:       row.Categories,
	}
	if row.Namespaced {
		resource.Scope = apidiscoveryv2.ScopeNamespace
	}
	for _, sub := range subresourcesOf(row) {
		kind := responseKind(row, sub)
		resource.Subresources = append(resource.Subresources, apidiscoveryv2.APISubresourceDiscovery{
			Subresource:  sub.Name,
			ResponseKind: &kind,
			Verbs:        sub.Verbs,
		})
	}
	return resource
}

// aggregated is one aggregated document with its encodings, each made when it
// is first asked for.
type aggregated struct {
	list *apidiscoveryv2.APIGroupDiscoveryList
	etag string

	mu     sync.Mutex
	bodies map[accepted][]byte
}

func newAggregated(list *apidiscoveryv2.APIGroupDiscoveryList) *aggregated {
	content, err := json.Marshal(list)
	if err != nil {
		panic(err) // strings only
	}
	return &aggregated{
		list: list,
		// The tag names the content, whatever the encoding: Vary tells caches
		// that there are several.
		etag:   strconv.Quote(fmt.Sprintf("%X", sha512.Sum512(content))),
		bodies: map[accepted][]byte{},
	}
}

func (a *aggregated) serve(w http.ResponseWriter, r *http.Request, want accepted) {
	w.Header().Set("ETag", a.etag)
	w.Header().Set("Vary", "Accept")
	w.Header().Set("Cache-Control", "public")
	if r.Header.Get("If-None-Match") == a.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body, err := a.body(want)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeBody(w, want, body)
}

func (a *aggregated) body(want accepted) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if body, ok := a.bodies[want]; ok {
		return body, nil
	}
	body, err := encode(want.media, a.list, false)
	if err != nil {
		return nil, err
	}
	a.bodies[want] = body
	return body, nil
}
