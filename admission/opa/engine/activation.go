package engine

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/plugins"
	"github.com/open-policy-agent/opa/v1/storage"
)

// activation is a bundle on its way into the store.
type activation struct {
	name  string
	roots []string
}

// activations notes which bundle OPA is about to activate.
type activations struct{ store *store }

// OnBundlePreActivate implements hooks.BundlePreActivateHook. OPA activates one
// bundle at a time.
func (a activations) OnBundlePreActivate(_ context.Context, name string, manifest bundle.Manifest) error {
	next := &activation{name: name, roots: []string{""}}
	if manifest.Roots != nil {
		next.roots = *manifest.Roots
	}
	a.store.activating.Store(next)
	return nil
}

// inspect prepares what a transaction that is about to be committed makes of
// the policies: it compiles the bundles that have changed, and those that share
// rules with these. It returns what to do when the transaction is in force, or
// nil when nothing changes.
func (e *Engine) inspect(ctx context.Context, txn storage.Transaction, brought *storage.Context, arriving *activation) (func(), error) {
	before := e.active.Load()
	if before == nil {
		before = &prepared{}
	}
	names, err := bundle.ReadBundleNamesFromStore(ctx, e.store, txn)
	if err != nil && !storage.IsNotFound(err) {
		return nil, err
	}
	units, changed := make(map[string]*unit, len(names)), map[string]bool{}
	for _, name := range names {
		if u := before.units[name]; u != nil {
			units[name] = u
		}
	}
	compiler := plugins.GetCompilerOnContext(brought)
	if arriving != nil && compiler != nil && slices.Contains(names, arriving.name) && compiler != e.manager.GetCompiler() {
		modules, err := e.arrived(ctx, txn, before, arriving.name)
		if err != nil {
			return nil, err
		}
		units[arriving.name] = newUnit(arriving.roots, modules)
		changed[arriving.name] = true
	}
	usersOfRemoved(before.units, units, changed)
	if arriving == nil && len(units) == len(before.units) && len(changed) == 0 {
		return nil, nil
	}
	next := &prepared{units: units}
	if next.groups, err = e.regroup(ctx, txn, before.groups, units, changed); err != nil {
		return nil, err
	}
	if next.bundles, err = e.revisions(ctx, txn, names); err != nil {
		return nil, err
	}
	if known := next.compiler(); known != nil {
		plugins.SetCompilerOnContext(brought, known)
	}
	return func() { e.enforce(next) }, nil
}

// usersOfRemoved adds the units that shared rules with any that is gone.
func usersOfRemoved(before, now map[string]*unit, changed map[string]bool) {
	var near map[string]map[string]bool
	for name := range before {
		if now[name] != nil {
			continue
		}
		if near == nil {
			near = neighbours(before)
		}
		for neighbour := range near[name] {
			changed[neighbour] = now[neighbour] != nil
		}
	}
}

// arrived are the policies in the store that no other bundle has brought.
func (e *Engine) arrived(ctx context.Context, txn storage.Transaction, before *prepared, name string) (map[string]*ast.Module, error) {
	ids, err := e.store.Store.ListPolicies(ctx, txn)
	if err != nil {
		return nil, err
	}
	versions, err := e.versions(ctx, txn)
	if err != nil {
		return nil, err
	}
	modules, foreign := map[string]*ast.Module{}, before.policies(func(owner string) bool { return owner != name })
	for _, id := range ids {
		if foreign[id] {
			continue
		}
		text, err := e.store.GetPolicy(ctx, txn, id)
		if err != nil {
			return nil, err
		}
		options := e.manager.ParserOptions()
		if version, set := versions[strings.TrimPrefix(id, "/")]; set {
			options.RegoVersion = ast.RegoVersionFromInt(version.Version)
		}
		module, err := ast.ParseModuleWithOpts(id, string(text), options)
		if err != nil {
			return nil, err
		}
		modules[id] = module
	}
	return modules, nil
}

// policies are the names of those that certain bundles have.
func (p *prepared) policies(of func(bundle string) bool) map[string]bool {
	found := map[string]bool{}
	for owner, u := range p.units {
		if !of(owner) {
			continue
		}
		for id := range u.modules {
			found[id] = true
		}
	}
	return found
}

// moduleVersion is how OPA's store notes that a policy is of another version of
// Rego than the configured one.
type moduleVersion struct {
	Version int `json:"rego_version"`
}

func (e *Engine) versions(ctx context.Context, txn storage.Transaction) (map[string]moduleVersion, error) {
	noted, err := e.store.Read(ctx, txn, bundle.ModulesInfoBasePath)
	if storage.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	value, err := ast.InterfaceToValue(noted)
	if err != nil {
		return nil, err
	}
	var versions map[string]moduleVersion
	return versions, ast.As(value, &versions)
}

// regroup compiles the units that have changed and those they share rules
// with; the others stay as they were compiled.
func (e *Engine) regroup(ctx context.Context, txn storage.Transaction, before []*group, units map[string]*unit, changed map[string]bool) ([]*group, error) {
	var groups []*group
	near, done := neighbours(units), map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		if !changed[name] || done[name] {
			continue
		}
		members := map[string]*unit{}
		for _, member := range together(name, near) {
			members[member], done[member] = units[member], true
		}
		made, err := e.newGroup(members)
		if err != nil {
			return nil, err
		}
		groups = append(groups, made)
	}
	for _, g := range before {
		rest := maps.Clone(g.units)
		maps.DeleteFunc(rest, func(name string, u *unit) bool { return done[name] || units[name] != u })
		switch len(rest) {
		case 0:
		case len(g.units):
			groups = append(groups, g)
			continue
		default:
			groups = append(groups, &group{units: rest, compiler: g.compiler})
		}
	}
	for i, g := range groups {
		if g.ready {
			continue
		}
		if err := e.prepare(ctx, txn, g); err != nil {
			return nil, err
		}
		groups[i] = g
	}
	return groups, nil
}

// enforce puts policies in force, and has them compiled together once no more
// come.
func (e *Engine) enforce(next *prepared) {
	e.active.Store(next)
	if len(next.groups) > 1 {
		select {
		case e.apart <- struct{}{}:
		default:
		}
	}
}
