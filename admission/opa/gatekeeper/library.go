// Package gatekeeper evaluates Gatekeeper's ConstraintTemplates and constraints
// as they are: it compiles the Rego of templates, finds the constraints that
// concern a request, and asks them all in one evaluation. It refuses to know
// where templates come from and how requests arrive.
package gatekeeper

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/opa/review"
)

// Library is a set of templates and constraints, compiled. It is immutable.
type Library struct {
	query       *rego.PreparedEvalQuery
	templates   map[string]*template
	constraints map[string]*constraint
	// byKind are the constraints that name kinds, by each of these; those that
	// do not are under "".
	byKind map[string][]*constraint
	// mutators are in the order in which they are applied.
	mutators []*mutator
	settings settings
}

// Violation is what a constraint says against an object.
type Violation struct {
	*constraint
	Message string
}

// Synced are the kinds that a Config and SyncSets make visible as data.inventory.
func (l *Library) Synced() []schema.GroupVersionKind { return l.settings.synced }

// Len is how many constraints there are.
func (l *Library) Len() int { return len(l.constraints) }

// capabilities are OPA's without what reaches outside.
func capabilities() *ast.Capabilities {
	all := ast.CapabilitiesForThisVersion()
	all.Builtins = slices.DeleteFunc(slices.Clone(all.Builtins), func(b *ast.Builtin) bool {
		return slices.Contains([]string{"http.send", "net.lookup_ip_addr", "opa.runtime"}, b.Name)
	})
	return all
}

// compileModules makes a compiler that has the modules; these stay as they are.
func compileModules(modules map[string]*ast.Module) (*ast.Compiler, error) {
	compiler := ast.NewCompiler().WithCapabilities(capabilities())
	if compiler.Compile(modules); compiler.Failed() {
		return nil, compiler.Errors
	}
	return compiler, nil
}

// entry asks the constraints that concern the object.
const entry = `package yare.gatekeeper

violations contains [id, object.get(result, "msg", "")] if {
	some id in input.asked
	some result in data.constraints[id].violation
}
`

// prepare compiles the rules of all constraints.
func (l *Library) prepare(ctx context.Context, modules map[string]*ast.Module, store storage.Store) error {
	if len(modules) == 0 {
		return nil
	}
	module, err := ast.ParseModule("entry", entry)
	if err != nil {
		return err
	}
	modules["entry"] = module
	compiler, err := compileModules(modules)
	if err != nil {
		return err
	}
	query, err := rego.New(rego.Query("violations = data.yare.gatekeeper.violations"), rego.Compiler(compiler), rego.Store(store)).PrepareForEval(ctx)
	l.query = &query
	return err
}

// evaluator runs a query within its limits.
type evaluator interface {
	Evaluate(ctx context.Context, query rego.PreparedEvalQuery, input ast.Value) (rego.ResultSet, error)
}

// concerned are the constraints to ask about the subject.
func (l *Library) concerned(s *subject, actions func(*constraint) []Action) []*constraint {
	var asked []*constraint
	for _, candidates := range [][]*constraint{l.byKind[s.kind.Kind], l.byKind[""]} {
		for _, c := range candidates {
			if len(actions(c)) > 0 && c.match.matches(s) {
				asked = append(asked, c)
			}
		}
	}
	return asked
}

// ask evaluates constraints that concern the subject. The review is the
// request's; it is made only when there is something to ask.
func (l *Library) ask(ctx context.Context, e evaluator, asked []*constraint, a *admission.Attributes, s *subject, r *review.Review) ([]Violation, error) {
	var rego []*ast.Term
	var native []*constraint
	for _, c := range asked {
		if c.expressions != nil {
			native = append(native, c)
		} else {
			rego = append(rego, c.term)
		}
	}
	var found []Violation
	if len(native) > 0 {
		said, err := askExpressions(ctx, native, a, s)
		if err != nil {
			return nil, err
		}
		found = said
	}
	if len(rego) > 0 {
		said, err := l.askRego(ctx, e, rego, a, r)
		if err != nil {
			return nil, err
		}
		found = append(found, said...)
	}
	slices.SortFunc(found, func(a, b Violation) int { return strings.Compare(a.id()+"\x00"+a.Message, b.id()+"\x00"+b.Message) })
	return found, nil
}

func (l *Library) askRego(ctx context.Context, e evaluator, asked []*ast.Term, a *admission.Attributes, r *review.Review) ([]Violation, error) {
	request, err := asGatekeeper(a, r)
	if err != nil {
		return nil, err
	}
	results, err := e.Evaluate(ctx, *l.query, ast.LazyObject(map[string]any{"review": request, "asked": ast.NewArray(asked...)}))
	if err != nil {
		return nil, err
	}
	return l.violations(results)
}

// violations reads the results.
func (l *Library) violations(results rego.ResultSet) ([]Violation, error) {
	var found []Violation
	for _, result := range results {
		rows, _ := result.Bindings["violations"].([]any)
		for _, row := range rows {
			cells, ok := row.([]any)
			if !ok || len(cells) != 2 || l.constraints[fmt.Sprint(cells[0])] == nil {
				return nil, fmt.Errorf("unexpected result of constraints: %v", row)
			}
			v := Violation{constraint: l.constraints[fmt.Sprint(cells[0])], Message: fmt.Sprint(cells[1])}
			if v.Message == "" {
				v.Message = "refused by " + v.id()
			}
			found = append(found, v)
		}
	}
	return found, nil
}
