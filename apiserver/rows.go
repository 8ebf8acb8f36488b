package apiserver

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver/registry"
)

// resources is the set of rows that a server has at a time. It is immutable.
type resources struct {
	byName  map[schema.GroupVersionResource]*resource
	byKind  map[schema.GroupVersionKind]*resource
	stored  map[schema.GroupResource]*resource
	ordered []*resource
	rows    []*registry.Resource
	// sources are the rows by where they come from.
	sources map[string][]*registry.Resource
}

// builtin is the source of the rows that a server is made with.
const builtin = ""

// set is the current set of rows.
func (s *Server) set() *resources { return s.current.Load() }

// Rows are the resources that the server has at this moment, in an order that
// stays while none is added or removed. The slice is shared.
func (s *Server) Rows() []*registry.Resource { return s.set().rows }

// SetRows replaces the rows of one source ("customresources") at once. Rows
// that are there before and after, by identity, keep their part of the cache
// and their watches, and so do those that take the place of a row with the
// same name, scope, storage and selectable fields; the objects of these are
// decoded anew. Watches of rows that are gone end. Rows that another source has
// are refused, and nothing is changed.
func (s *Server) SetRows(source string, rows []*registry.Resource) error {
	s.replacing.Lock()
	defer s.replacing.Unlock()
	before := s.set()
	sources := maps.Clone(before.sources)
	sources[source] = rows
	after, err := s.newSet(before, sources)
	if err != nil {
		return err
	}
	s.current.Store(after)
	kept := make(map[*part]bool, len(after.ordered))
	for _, res := range after.ordered {
		kept[res.part] = true
	}
	for _, res := range before.ordered {
		if res.part != nil && !kept[res.part] {
			res.part.close()
		}
	}
	for _, res := range after.ordered {
		if res.part == nil || !res.part.follow(res.row) {
			continue
		}
		if err := res.part.refresh(s.stopping); err != nil {
			s.logger.Error("cannot decode objects by their new definition", "resource", res.row.GroupVersionResource(), "error", err)
		}
	}
	return nil
}

// newSet makes a set out of rows; what did not change it takes from before.
func (s *Server) newSet(before *resources, sources map[string][]*registry.Resource) (*resources, error) {
	set := &resources{
		byName:  make(map[schema.GroupVersionResource]*resource, len(before.byName)+1),
		byKind:  make(map[schema.GroupVersionKind]*resource, len(before.byKind)+1),
		stored:  make(map[schema.GroupResource]*resource, len(before.stored)+1),
		sources: sources,
	}
	for _, source := range slices.Sorted(maps.Keys(sources)) {
		for _, row := range sources[source] {
			if err := set.add(before, row); err != nil {
				return nil, err
			}
		}
	}
	for _, res := range set.ordered {
		if res.part != nil || res.prefix == "" {
			continue
		}
		if err := s.connectPart(set, res, before); err != nil {
			return nil, err
		}
	}
	return set, s.checkConnectors(set)
}

func (set *resources) add(before *resources, row *registry.Resource) error {
	name := row.GroupVersionResource()
	if set.byName[name] != nil {
		return fmt.Errorf("resource %s is there twice", name)
	}
	res := before.byName[name]
	if res == nil || res.row != row {
		res = newResource(row)
	}
	set.byName[name] = res
	set.ordered = append(set.ordered, res)
	set.rows = append(set.rows, row)
	if row.NewList != nil || set.byKind[row.Kind] == nil {
		set.byKind[row.Kind] = res
	}
	if row.StoragePrefix == "" || row.StoredAs != nil {
		return nil
	}
	if group := row.GroupResource(); set.stored[group] == nil || row.Codec == nil || row.Codec.Stored == row.Kind {
		set.stored[group] = res
	}
	return nil
}

// connectPart finds the home of a stored resource and its place in the cache.
func (s *Server) connectPart(set *resources, res *resource, before *resources) error {
	if res.row.StoredAs != nil {
		home := set.byKind[res.row.StoredAs.Kind]
		if home == nil {
			return fmt.Errorf("resource %s is stored as %s, which is not there", res.row.GroupVersionResource(), res.row.StoredAs.Kind)
		}
		res.home = home.row
	}
	if old := before.byName[res.row.GroupVersionResource()]; old != nil && succeeds(res, old) {
		res.part = old.part
		return nil
	}
	res.part = s.newPart(res)
	// Rows that are stored as another's version cost a copy of each object, and
	// those without a Go type may be many: theirs is made on first use.
	if res.row.StoredAs == nil && res.row.Schema == nil {
		res.part.objects()
	}
	return nil
}

// succeeds reports whether a new row can go on with what the cache has for an
// old one of the same name.
func succeeds(res, old *resource) bool {
	return old.part != nil && res.row.Codec != nil && old.row.Codec != nil &&
		res.prefix == old.prefix && res.row.Namespaced == old.row.Namespaced && res.row.Kind == old.row.Kind &&
		(res.row.Codec.Present == nil) == (old.row.Codec.Present == nil) &&
		slices.Equal(slices.Sorted(slices.Values(res.fields)), slices.Sorted(slices.Values(old.fields)))
}
