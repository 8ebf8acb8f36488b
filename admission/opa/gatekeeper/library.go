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
	constraints []*constraint
}

// Violation is what a constraint says against an object.
type Violation struct {
	Kind, Name string
	Message    string
	Actions    []Action
}

// Compile makes a library of templates and constraints. Objects that are wrong
// are left out of it, each with an error that names it; the rest is in force.
// Policies read data.inventory from the store.
func Compile(ctx context.Context, objects []*unstructured.Unstructured, store storage.Store) (*Library, error) {
	var errs []error
	templates := map[string]*template{}
	for _, object := range objects {
		if object.GroupVersionKind().Group != TemplateGroup {
			continue
		}
		parsed, err := parseTemplate(object)
		if err == nil {
			err = compileAlone(parsed)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("ConstraintTemplate %s: %w", object.GetName(), err))
			continue
		}
		templates[parsed.kind] = parsed
	}
	library := &Library{}
	for _, object := range objects {
		if object.GroupVersionKind().Group != ConstraintGroup {
			continue
		}
		if err := library.add(object, templates); err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err))
		}
	}
	if err := library.prepare(ctx, templates, store); err != nil {
		return nil, errors.Join(append(errs, err)...)
	}
	return library, errors.Join(errs...)
}

func (l *Library) add(object *unstructured.Unstructured, templates map[string]*template) error {
	if templates[object.GetKind()] == nil {
		return errors.New("there is no working ConstraintTemplate of this kind")
	}
	parsed, err := parseConstraint(object)
	if err == nil {
		l.constraints = append(l.constraints, parsed)
	}
	return err
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

// compileAlone finds what is wrong with a template before it meets others.
func compileAlone(t *template) error {
	compiler := ast.NewCompiler().WithCapabilities(capabilities())
	modules := make(map[string]*ast.Module, len(t.modules))
	for file, module := range t.modules {
		modules[file] = module.Copy()
	}
	if compiler.Compile(modules); compiler.Failed() {
		return compiler.Errors
	}
	return nil
}

// entry asks one template with all of its constraints that concern the object.
const entry = `package yare.gatekeeper

violations contains [kind, name, result.msg] if {
	kind := %q
	some name, parameters in input.constraints[kind]
	some result in data.templates[kind].violation with input as {"review": input.review, "parameters": parameters}
}
`

// prepare compiles the templates that have constraints.
func (l *Library) prepare(ctx context.Context, templates map[string]*template, store storage.Store) error {
	used := map[string]bool{}
	for _, c := range l.constraints {
		used[c.kind] = true
	}
	if len(used) == 0 {
		return nil
	}
	modules := map[string]*ast.Module{}
	for _, kind := range slices.Sorted(maps.Keys(used)) {
		maps.Copy(modules, templates[kind].modules)
		module, err := ast.ParseModule("entry/"+kind, fmt.Sprintf(entry, kind))
		if err != nil {
			return err
		}
		modules["entry/"+kind] = module
	}
	compiler := ast.NewCompiler().WithCapabilities(capabilities())
	if compiler.Compile(modules); compiler.Failed() {
		return compiler.Errors
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
// AdmissionReview's request.
func (l *Library) ask(ctx context.Context, e evaluator, s *subject, request map[string]any) ([]Violation, error) {
	asked, actions := map[string]any{}, map[[2]string][]Action{}
	for _, c := range l.constraints {
		if len(c.actions) == 0 || !c.match.matches(s) {
			continue
		}
		ofKind, ok := asked[c.kind].(map[string]any)
		if !ok {
			ofKind = map[string]any{}
			asked[c.kind] = ofKind
		}
		ofKind[c.name] = c.parameters
		actions[[2]string{c.kind, c.name}] = c.actions
	}
	if len(asked) == 0 {
		return nil, nil
	}
	results, err := e.Evaluate(ctx, *l.query, ast.LazyObject(map[string]any{"review": request, "constraints": asked}))
	if err != nil {
		return nil, err
	}
	return violations(results, actions)
}

// violations reads the results, ordered by kind, name and message.
func violations(results rego.ResultSet, actions map[[2]string][]Action) ([]Violation, error) {
	var found []Violation
	for _, result := range results {
		rows, _ := result.Bindings["violations"].([]any)
		for _, row := range rows {
			cells, ok := row.([]any)
			if !ok || len(cells) != 3 {
				return nil, fmt.Errorf("unexpected result of constraints: %v", row)
			}
			v := Violation{Kind: fmt.Sprint(cells[0]), Name: fmt.Sprint(cells[1]), Message: fmt.Sprint(cells[2])}
			v.Actions = actions[[2]string{v.Kind, v.Name}]
			found = append(found, v)
		}
	}
	slices.SortFunc(found, func(a, b Violation) int {
		return strings.Compare(a.Kind+"\x00"+a.Name+"\x00"+a.Message, b.Kind+"\x00"+b.Name+"\x00"+b.Message)
	})
	return found, nil
}
