package cache

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/fields"
)

// fieldSet is what field selectors may ask an object for. A map for each
// object would take several times the room: the names are shared.
type fieldSet struct{ names, values []string }

// Has implements fields.Fields.
func (s *fieldSet) Has(name string) bool { return slices.Contains(s.names, name) }

// Get implements fields.Fields.
func (s *fieldSet) Get(name string) string {
	if i := slices.Index(s.names, name); i >= 0 {
		return s.values[i]
	}
	return ""
}

// fieldsOf packs the fields of one object.
func (r *Resource) fieldsOf(set fields.Set) fields.Fields {
	names := r.fieldNames.Load()
	if names == nil || !sameNames(*names, set) {
		sorted := slices.Sorted(maps.Keys(set))
		names = &sorted
		r.fieldNames.Store(names)
	}
	packed := &fieldSet{names: *names, values: make([]string, len(*names))}
	for i, name := range *names {
		packed.values[i] = set[name]
	}
	return packed
}

func sameNames(names []string, set fields.Set) bool {
	if len(names) != len(set) {
		return false
	}
	for _, name := range names {
		if _, ok := set[name]; !ok {
			return false
		}
	}
	return true
}
