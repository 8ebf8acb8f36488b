package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/storage"
)

// standIn begins the names of modules that stand in for those of another
// bundle while one is activated. OPA compiles a bundle together with all that
// are active, so that the cost of many is the square of their number; shown
// only which functions the others have, it still finds all that is wrong with
// this one, and inspect compiles what belongs together.
const standIn = "stand-in/"

// listPolicies are those that a bundle on its way replaces, and stand-ins for
// all others.
func (e *Engine) listPolicies(ctx context.Context, txn storage.Transaction, arriving *activation, ids []string) ([]string, error) {
	before := e.active.Load()
	if before == nil {
		return ids, nil
	}
	replaced, err := bundle.ReadBundleRootsFromStore(ctx, e.store, txn, arriving.name)
	if err != nil && !storage.IsNotFound(err) {
		return nil, err
	}
	keep := append(slices.Clone(arriving.roots), replaced...)
	shown := []string{}
	foreign := map[string]bool{}
	for name, u := range before.units {
		if name == arriving.name || overlap(u.roots, keep) {
			continue
		}
		for id, module := range u.modules {
			foreign[id] = true
			if len(functions(module)) > 0 {
				shown = append(shown, standIn+id)
			}
		}
	}
	for _, id := range ids {
		if !foreign[id] {
			shown = append(shown, id)
		}
	}
	return shown, nil
}

// overlap reports whether a root of one list is above or below one of the
// other; OPA refuses such a bundle, and says why.
func overlap(a, b []string) bool {
	for _, x := range a {
		for _, y := range b {
			x, y := "/"+strings.Trim(x, "/")+"/", "/"+strings.Trim(y, "/")+"/"
			if x == "//" || y == "//" || strings.HasPrefix(x, y) || strings.HasPrefix(y, x) {
				return true
			}
		}
	}
	return false
}

// policy is the text of a stand-in.
func (e *Engine) policy(id string) []byte {
	for _, u := range e.active.Load().units {
		if module := u.modules[strings.TrimPrefix(id, standIn)]; module != nil {
			text := &strings.Builder{}
			fmt.Fprintf(text, "%s\n", module.Package)
			found := functions(module)
			for _, name := range slices.Sorted(maps.Keys(found)) {
				arguments := make([]string, found[name])
				for i := range arguments {
					arguments[i] = fmt.Sprintf("a%d", i)
				}
				fmt.Fprintf(text, "%s(%s) := input.any\n", name, strings.Join(arguments, ", "))
			}
			return []byte(text.String())
		}
	}
	return nil
}

// functions of a module, with how many arguments they take.
func functions(module *ast.Module) map[string]int {
	found := map[string]int{}
	for _, rule := range module.Rules {
		if len(rule.Head.Args) > 0 {
			found[rule.Head.Ref().String()] = len(rule.Head.Args)
		}
	}
	return found
}
