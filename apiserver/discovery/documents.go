package discovery

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver/registry"
)

// legacyVersions is the document of /api. As in Kubernetes, documents of the
// core group leave their own apiVersion out: the oldest clients want it so.
func legacyVersions(rows []*registry.Resource, address string) *metav1.APIVersions {
	versions := &metav1.APIVersions{
		TypeMeta: metav1.TypeMeta{Kind: "APIVersions"},
		Versions: versionsOf(rows, ""),
	}
	if address != "" {
		versions.ServerAddressByClientCIDRs = []metav1.ServerAddressByClientCIDR{
			{ClientCIDR: "0.0.0.0/0", ServerAddress: address},
		}
	}
	return versions
}

// groupList is the document of /apis.
func groupList(v view) *metav1.APIGroupList {
	list := &metav1.APIGroupList{
		TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"},
		Groups:   []metav1.APIGroup{},
	}
	for _, group := range v.groups() {
		list.Groups = append(list.Groups, apiGroup(group, v.versionsOf(group)))
	}
	return list
}

func apiGroup(name string, versions []string) metav1.APIGroup {
	group := metav1.APIGroup{Name: name}
	for _, v := range versions {
		group.Versions = append(group.Versions, metav1.GroupVersionForDiscovery{
			GroupVersion: schema.GroupVersion{Group: name, Version: v}.String(),
			Version:      v,
		})
	}
	group.PreferredVersion = group.Versions[0]
	return group
}

// resourceList is the document of one group and version.
func resourceList(rows []*registry.Resource, gv metav1.GroupVersion) *metav1.APIResourceList {
	list := &metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: gv.String(),
		APIResources: []metav1.APIResource{},
	}
	if gv.Group == "" {
		list.APIVersion = ""
	}
	for _, row := range rowsOf(rows, gv.Group, gv.Version) {
		list.APIResources = append(list.APIResources, apiResource(row))
		for _, sub := range subresourcesOf(row) {
			list.APIResources = append(list.APIResources, apiSubresource(row, sub))
		}
	}
	return list
}

func apiResource(row *registry.Resource) metav1.APIResource {
	return metav1.APIResource{
		Name:               row.Name,
		SingularName:       row.Singular,
		Namespaced:         row.Namespaced,
		Kind:               row.Kind.Kind,
		Verbs:              row.Verbs,
		ShortNames:         row.ShortNames,
		Categories:         row.Categories,
		StorageVersionHash: storageVersionHash(row),
	}
}

func apiSubresource(row *registry.Resource, sub registry.Subresource) metav1.APIResource {
	kind := responseKind(row, sub)
	return metav1.APIResource{
		Name:       row.Name + "/" + sub.Name,
		Namespaced: row.Namespaced,
		Group:      kind.Group,
		Version:    kind.Version,
		Kind:       kind.Kind,
		Verbs:      sub.Verbs,
	}
}

// responseKind is the kind of a subresource's body. Group and version are
// left out when they are those of the resource.
func responseKind(row *registry.Resource, sub registry.Subresource) metav1.GroupVersionKind {
	if sub.Kind.Empty() {
		return metav1.GroupVersionKind{Kind: row.Kind.Kind}
	}
	if sub.Kind.GroupVersion() == row.Kind.GroupVersion() {
		return metav1.GroupVersionKind{Kind: sub.Kind.Kind}
	}
	return metav1.GroupVersionKind(sub.Kind)
}

// storageVersionHash lets clients see that two versions are the same stored
// objects: eight bytes of a hash over the kind they are stored as.
func storageVersionHash(row *registry.Resource) string {
	stored := row.Kind
	switch {
	case row.StoredAs != nil:
		stored = row.StoredAs.Kind
	case row.Codec != nil:
		stored = row.Codec.Stored
	case row.StoragePrefix == "":
		return ""
	}
	sum := sha256.Sum256([]byte(stored.Group + "/" + stored.Version + "/" + stored.Kind))
	return base64.StdEncoding.EncodeToString(sum[:8])
}

// rowsOf returns the rows of one group and version by name.
func rowsOf(rows []*registry.Resource, group, version string) []*registry.Resource {
	var of []*registry.Resource
	for _, row := range rows {
		if row.Kind.Group == group && row.Kind.Version == version {
			of = append(of, row)
		}
	}
	slices.SortFunc(of, func(a, b *registry.Resource) int { return cmp.Compare(a.Name, b.Name) })
	return of
}

func subresourcesOf(row *registry.Resource) []registry.Subresource {
	subs := slices.Clone(row.Subresources)
	slices.SortFunc(subs, func(a, b registry.Subresource) int { return cmp.Compare(a.Name, b.Name) })
	return subs
}
