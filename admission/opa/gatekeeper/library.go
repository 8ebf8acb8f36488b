// Package gatekeeper evaluates Gatekeeper's ConstraintTemplates and constraints
// as they are: it compiles the Rego of templates, finds the constraints that
// concern a request, and asks them all in one evaluation. It refuses to know
// where templates come from and how requests arrive.
package gatekeeper

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Library is a set of templates and constraints, compiled. It is immutable.
type Library struct {
	query       *rego.PreparedEvalQuery
	constraints map[string]*constraint
	// byKind are the constraints that name kinds, by each of these; those that
	// do not are under "".
	byKind map[string][]*constraint
}

// Violation is what a constraint says against an object.
type Violation struct {
	Kind, Name string
	Message    string
	Actions    []Action
}

// Problem is what is wrong with a template or constraint.
type Problem struct {
	Object *unstructured.Unstructured
	Err    error
}

// Error implements error.
func (p Problem) Error() string {
	return fmt.Sprintf("%s %s: %v", p.Object.GetKind(), p.Object.GetName(), p.Err)
}

// Compiler makes libraries.
type Compiler struct {
	// Store is where policies read data.inventory.
	Store storage.Store
	// AsWritten leaves the rules of templates as they are, so that a trace shows
	// them; else they are evaluated as far as a constraint's parameters decide.
	AsWritten bool
}

// Compile makes a library of templates and constraints. Objects that are wrong
// are left out of it, each with a problem; the rest is in force. An error means
// that there is no library.
func (c Compiler) Compile(ctx context.Context, objects []*unstructured.Unstructured) (*Library, []Problem, error) {
	var problems []Problem
	templates := map[string]*template{}
	for _, object := range objects {
		if object.GroupVersionKind().Group != TemplateGroup {
			continue
		}
		parsed, err := parseTemplate(object)
		if err != nil {
			problems = append(problems, Problem{object, err})
			continue
		}
		parsed.special = parsed.special && !c.AsWritten
		templates[parsed.kind] = parsed
	}
	library := &Library{constraints: map[string]*constraint{}, byKind: map[string][]*constraint{}}
	modules := map[string]*ast.Module{}
	for _, object := range objects {
		if object.GroupVersionKind().Group != ConstraintGroup {
			continue
		}
		if err := library.add(ctx, object, templates, modules); err != nil {
			problems = append(problems, Problem{object, err})
		}
	}
	return library, problems, library.prepare(ctx, modules, c.Store)
}

// add reads a constraint, and adds to the modules what it is asked by.
func (l *Library) add(ctx context.Context, object *unstructured.Unstructured, templates map[string]*template, modules map[string]*ast.Module) error {
	of := templates[object.GetKind()]
	if of == nil {
		return errors.New("there is no working ConstraintTemplate of this kind")
	}
	parsed, err := parseConstraint(object)
	if err != nil {
		return err
	}
	if l.constraints[parsed.id()] != nil {
		return errors.New("there are two of this name")
	}
	rules, err := rulesFor(ctx, of, parsed)
	if err != nil {
		return err
	}
	maps.Copy(modules, of.modules)
	maps.Copy(modules, rules)
	l.constraints[parsed.id()] = parsed
	for _, kind := range parsed.match.kindNames() {
		l.byKind[kind] = append(l.byKind[kind], parsed)
	}
	return nil
}

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

// ask evaluates the constraints that concern the subject. request is an
// AdmissionReview's request; it is asked for when any does.
func (l *Library) ask(ctx context.Context, e evaluator, s *subject, request func() (ast.Value, error)) ([]Violation, error) {
	asked := make([]*ast.Term, 0, len(l.constraints))
	for _, candidates := range [][]*constraint{l.byKind[s.kind.Kind], l.byKind[""]} {
		for _, c := range candidates {
			if len(c.actions) > 0 && c.match.matches(s) {
				asked = append(asked, ast.StringTerm(c.id()))
			}
		}
	}
	if len(asked) == 0 {
		return nil, nil
	}
	review, err := request()
	if err != nil {
		return nil, err
	}
	results, err := e.Evaluate(ctx, *l.query, ast.LazyObject(map[string]any{"review": review, "asked": ast.NewArray(asked...)}))
	if err != nil {
		return nil, err
	}
	return l.violations(results)
}

// violations reads the results, ordered by kind, name and message.
func (l *Library) violations(results rego.ResultSet) ([]Violation, error) {
	var found []Violation
	for _, result := range results {
		rows, _ := result.Bindings["violations"].([]any)
		for _, row := range rows {
			cells, ok := row.([]any)
			if !ok || len(cells) != 2 || l.constraints[fmt.Sprint(cells[0])] == nil {
				return nil, fmt.Errorf("unexpected result of constraints: %v", row)
			}
			c := l.constraints[fmt.Sprint(cells[0])]
			v := Violation{Kind: c.kind, Name: c.name, Message: fmt.Sprint(cells[1]), Actions: c.actions}
			if v.Message == "" {
				v.Message = "refused by " + c.id()
			}
			found = append(found, v)
		}
	}
	slices.SortFunc(found, func(a, b Violation) int {
		return strings.Compare(a.Kind+"\x00"+a.Name+"\x00"+a.Message, b.Kind+"\x00"+b.Name+"\x00"+b.Message)
	})
	return found, nil
}
