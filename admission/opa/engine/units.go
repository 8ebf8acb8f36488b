package engine

import (
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// unit is the policies of one bundle, parsed. It is immutable.
type unit struct {
	// roots are the paths below data that the bundle owns.
	roots   []string
	modules map[string]*ast.Module
	// uses are the paths below data that its rules refer to.
	uses [][]string
	// system: it has rules in the package system, or below it.
	system bool
}

func newUnit(roots []string, modules map[string]*ast.Module) *unit {
	u := &unit{roots: roots, modules: modules}
	seen := map[string]bool{}
	for _, module := range modules {
		if path := pathOf(module.Package.Path); len(path) > 0 && path[0] == systemPackage {
			u.system = true
		}
		ast.WalkRefs(module, func(ref ast.Ref) bool {
			if !ref.HasPrefix(ast.DefaultRootRef) {
				return false
			}
			if path := pathOf(ref); !seen[strings.Join(path, "\x00")] {
				seen[strings.Join(path, "\x00")] = true
				u.uses = append(u.uses, path)
			}
			return false
		})
	}
	return u
}

// pathOf is the constant beginning of a path below data.
func pathOf(ref ast.Ref) []string {
	var path []string
	for _, term := range ref[1:] {
		key, ok := term.Value.(ast.String)
		if !ok {
			break
		}
		path = append(path, string(key))
	}
	return path
}

// roots is a tree of the paths that units with rules own.
type roots struct {
	owner string
	below map[string]*roots
}

func (r *roots) put(path []string, owner string) {
	for _, step := range path {
		if r.below == nil {
			r.below = map[string]*roots{}
		}
		if r.below[step] == nil {
			r.below[step] = &roots{}
		}
		r = r.below[step]
	}
	r.owner = owner
}

// find calls with the owner of every path that lies above or below.
func (r *roots) find(path []string, found func(owner string)) {
	for _, step := range path {
		if r.owner != "" {
			found(r.owner)
		}
		if r = r.below[step]; r == nil {
			return
		}
	}
	r.all(found)
}

func (r *roots) all(found func(owner string)) {
	if r.owner != "" {
		found(r.owner)
	}
	for _, below := range r.below {
		below.all(found)
	}
}

// neighbours says which units share rules, by name and in both directions:
// these must be compiled together.
func neighbours(units map[string]*unit) map[string]map[string]bool {
	owned := &roots{}
	near := make(map[string]map[string]bool, len(units))
	for name, u := range units {
		near[name] = map[string]bool{}
		if len(u.modules) == 0 {
			continue
		}
		for _, root := range u.roots {
			owned.put(strings.FieldsFunc(root, func(r rune) bool { return r == '/' }), name)
		}
	}
	for name, u := range units {
		for _, path := range u.uses {
			owned.find(path, func(owner string) {
				if owner != name {
					near[name][owner], near[owner][name] = true, true
				}
			})
		}
	}
	return near
}

// together are the names of the units that share rules with one, directly or
// through others, and of it.
func together(name string, near map[string]map[string]bool) []string {
	found, waiting := map[string]bool{name: true}, []string{name}
	for len(waiting) > 0 {
		next := waiting[0]
		waiting = waiting[1:]
		for neighbour := range near[next] {
			if !found[neighbour] {
				found[neighbour] = true
				waiting = append(waiting, neighbour)
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
