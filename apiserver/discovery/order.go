package discovery

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/version"

	"github.com/yare-io/yare/apiserver/registry"
)

// groupOrder is the order in which Kubernetes prefers its own groups: where
// two have a resource of the same name, kubectl takes the first one. All other
// groups follow by name.
var groupOrder = []string{
	"apiregistration.k8s.io",
	"apps",
	"events.k8s.io",
	"authentication.k8s.io",
	"authorization.k8s.io",
	"autoscaling",
	"batch",
	"certificates.k8s.io",
	"networking.k8s.io",
	"policy",
	"rbac.authorization.k8s.io",
	"storage.k8s.io",
	"admissionregistration.k8s.io",
	"apiextensions.k8s.io",
	"scheduling.k8s.io",
	"coordination.k8s.io",
	"node.k8s.io",
	"discovery.k8s.io",
	"resource.k8s.io",
	"flowcontrol.apiserver.k8s.io",
	"internal.apiserver.k8s.io",
	"storagemigration.k8s.io",
	"lifecycle.k8s.io",
}

// namedGroups returns the groups of the rows but the core group, the most
// preferred first.
func namedGroups(rows []*registry.Resource) []string {
	var groups []string
	for _, row := range rows {
		if row.Kind.Group != "" {
			groups = append(groups, row.Kind.Group)
		}
	}
	slices.SortFunc(groups, func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
	return slices.Compact(groups)
}

func rank(group string) int {
	if i := slices.Index(groupOrder, group); i >= 0 {
		return i
	}
	return len(groupOrder)
}

// versionsOf returns the versions of a group, the most preferred first: stable
// before beta before alpha, newer before older.
func versionsOf(rows []*registry.Resource, group string) []string {
	var versions []string
	for _, row := range rows {
		if row.Kind.Group == group {
			versions = append(versions, row.Kind.Version)
		}
	}
	slices.SortFunc(versions, func(a, b string) int { return version.CompareKubeAwareVersionStrings(b, a) })
	return slices.Compact(versions)
}
