package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/server"
	"github.com/open-policy-agent/opa/v1/storage"
)

// Phase is the half of admission that asks.
type Phase int

// The phases of admission, and the rules each asks for.
const (
	Mutating Phase = iota
	Validating
)

// rules of each phase that mean something, in the packages that count.
var rules = [...][]string{
	Mutating:   {"patch", "main"},
	Validating: {"deny", "violation", "warn", "main"},
}

// systemPackage is where OPA's documents put the entry point, as system.main.
const systemPackage = "system"

// outside are builtins that reach the network or the host, or that can be made
// to. They are refused unless allowed.
var outside = []string{"http.send", "net.lookup_ip_addr", "opa.runtime"}

// prepared is what runs: the compiled queries of one set of policies. It is
// immutable.
type prepared struct {
	// units are the bundles' policies, by name of the bundle.
	units   map[string]*unit
	groups  []*group
	bundles map[string]server.BundleInfo
}

// group is units that are compiled together, and the queries for their rules.
type group struct {
	units    map[string]*unit
	compiler *ast.Compiler
	phases   [2]*query
	// ready: the queries are there.
	ready bool
}

// queries are those of a phase.
func (p *prepared) queries(phase Phase) []*query {
	var asked []*query
	for _, g := range p.groups {
		if g.phases[phase] != nil {
			asked = append(asked, g.phases[phase])
		}
	}
	return asked
}

// compiler is the one for what OPA itself asks: masks of the decision log,
// which are in the package system.
func (p *prepared) compiler() *ast.Compiler {
	for _, g := range p.groups {
		for _, u := range g.units {
			if u.system {
				return g.compiler
			}
		}
	}
	if len(p.groups) > 0 {
		return p.groups[0].compiler
	}
	return nil
}

// query asks for all rules of a phase at once, so that what they have in common
// is evaluated once. Its variable xN has the values of the rule entries[N].
type query struct {
	eval    rego.PreparedEvalQuery
	entries []Entry
}

// Entry is one rule that decisions are made of.
type Entry struct {
	// Path is the rule's, as "data.kubernetes.admission.deny".
	Path string
	// Rule is its name: deny, violation, warn, patch or main.
	Rule string
}

// newGroup compiles units.
func (e *Engine) newGroup(units map[string]*unit) (*group, error) {
	modules := map[string]*ast.Module{}
	for _, u := range units {
		maps.Copy(modules, u.modules)
	}
	compiler := ast.NewCompiler().WithEnablePrintStatements(false)
	if compiler.Compile(modules); compiler.Failed() {
		return nil, compiler.Errors
	}
	return &group{units: units, compiler: compiler}, nil
}

// prepare compiles the queries for the rules that a group's units have.
func (e *Engine) prepare(ctx context.Context, txn storage.Transaction, g *group) error {
	settings := e.Settings()
	if err := forbidden(g.compiler, settings.AllowBuiltins); err != nil {
		return err
	}
	for phase := range g.phases {
		entries := entriesOf(g.units, settings.Packages, rules[phase])
		g.phases[phase] = nil
		if len(entries) == 0 {
			continue
		}
		eval, err := rego.New(
			rego.ParsedQuery(queryFor(entries)),
			rego.Compiler(g.compiler),
			rego.Store(e.store),
			rego.Transaction(txn),
			rego.StrictBuiltinErrors(settings.StrictBuiltinErrors),
		).PrepareForEval(ctx)
		if err != nil {
			return fmt.Errorf("preparing the query: %w", err)
		}
		g.phases[phase] = &query{eval, entries}
	}
	g.ready = true
	return nil
}

// forbidden finds builtins that policies may not call.
func forbidden(compiler *ast.Compiler, allowed []string) error {
	if compiler.Required == nil {
		return nil
	}
	for _, builtin := range compiler.Required.Builtins {
		if slices.Contains(outside, builtin.Name) && !slices.Contains(allowed, builtin.Name) {
			return fmt.Errorf("a policy calls %s, which reaches outside: allow it with allowBuiltins", builtin.Name)
		}
	}
	return nil
}

// entriesOf finds the rules with a meaning in the packages that count and in
// those below them, ordered by path.
func entriesOf(units map[string]*unit, packages, names []string) []Entry {
	found := map[string]Entry{}
	for _, u := range units {
		for _, module := range u.modules {
			path := strings.TrimPrefix(module.Package.Path.String(), "data.")
			if !counts(path, packages) {
				continue
			}
			for _, rule := range module.Rules {
				name := rule.Head.Ref()[0].String()
				if len(rule.Head.Args) > 0 || !slices.Contains(names, name) || path == systemPackage && name != "main" {
					continue
				}
				ref := module.Package.Path.Append(ast.StringTerm(name)).String()
				found[ref] = Entry{Path: ref, Rule: name}
			}
		}
	}
	entries := make([]Entry, 0, len(found))
	for _, entry := range found {
		entries = append(entries, entry)
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return entries
}

func counts(path string, packages []string) bool {
	if path == systemPackage {
		return true
	}
	return slices.ContainsFunc(packages, func(p string) bool {
		return path == p || strings.HasPrefix(path, p+".") || strings.HasPrefix(path, p+"[")
	})
}

// queryFor binds the value of every rule, in an array because a rule may be
// undefined.
func queryFor(entries []Entry) ast.Body {
	body := make(ast.Body, len(entries))
	for i, entry := range entries {
		value := ast.VarTerm("value")
		values := ast.ArrayComprehensionTerm(value, ast.NewBody(ast.Equality.Expr(value, ast.NewTerm(ast.MustParseRef(entry.Path)))))
		body[i] = ast.Equality.Expr(ast.VarTerm(fmt.Sprintf("x%d", i)), values)
		body[i].Index = i
	}
	return body
}

// revisions of the bundles as they stand in a transaction.
func (e *Engine) revisions(ctx context.Context, txn storage.Transaction, names []string) (map[string]server.BundleInfo, error) {
	found := make(map[string]server.BundleInfo, len(names))
	for _, name := range names {
		revision, err := bundle.ReadBundleRevisionFromStore(ctx, e.store, txn, name)
		if err != nil && !storage.IsNotFound(err) {
			return nil, err
		}
		found[name] = server.BundleInfo{Revision: revision}
	}
	return found, nil
}

// reprepare prepares the policies that run for other settings.
func (e *Engine) reprepare(ctx context.Context) error {
	return storage.Txn(ctx, e.store, storage.TransactionParams{}, func(txn storage.Transaction) error {
		before := e.active.Load()
		next := *before
		next.groups = make([]*group, len(before.groups))
		for i, g := range before.groups {
			next.groups[i] = &group{units: g.units, compiler: g.compiler}
			if err := e.prepare(ctx, txn, next.groups[i]); err != nil {
				return err
			}
		}
		e.active.Store(&next)
		return nil
	})
}
