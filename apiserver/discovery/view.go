package discovery

import (
	"cmp"
	"slices"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	"k8s.io/apimachinery/pkg/version"

	"github.com/yare-io/yare/apiserver/registry"
)

// view is what there is to describe: the server's own rows, and what others
// serve through it.
type view struct {
	rows   []*registry.Resource
	others *Others
	// byGroup are the rows of each group.
	byGroup map[string][]*registry.Resource
}

func newView(rows []*registry.Resource, others *Others) view {
	v := view{rows: rows, others: others, byGroup: map[string][]*registry.Resource{}}
	for _, row := range rows {
		v.byGroup[row.Kind.Group] = append(v.byGroup[row.Kind.Group], row)
	}
	return v
}

// groups returns all named groups, the most preferred first.
func (v view) groups() []string {
	names := namedGroups(v.rows)
	for _, group := range v.others.Groups {
		names = append(names, group.Name)
	}
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(v.others.Priorities[b], v.others.Priorities[a]), cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
	return slices.Compact(names)
}

// versionsOf returns the versions of a group, the most preferred first.
func (v view) versionsOf(group string) []string {
	versions := versionsOf(v.byGroup[group], group)
	own := len(versions)
	for _, other := range v.others.Groups {
		if other.Name != group {
			continue
		}
		for _, served := range other.Versions {
			versions = append(versions, served.Version)
		}
	}
	if own > 0 && len(versions) > own {
		slices.SortFunc(versions, func(a, b string) int { return version.CompareKubeAwareVersionStrings(b, a) })
	}
	return slices.Compact(versions)
}

// elsewhere returns a version of a group that another server serves.
func (v view) elsewhere(group, name string) *apidiscoveryv2.APIVersionDiscovery {
	for _, other := range v.others.Groups {
		if other.Name != group {
			continue
		}
		for i := range other.Versions {
			if other.Versions[i].Version == name {
				return &other.Versions[i]
			}
		}
	}
	return nil
}
