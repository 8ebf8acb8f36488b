package gatekeeper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
)

// Bounds on what a constraint may become.
const (
	maxSpecialRules = 256
	specializeTime  = time.Second
)

// rulesFor returns the rules by which a constraint is asked, as modules with
// the rule data.constraints[id].violation. The template is evaluated as far as
// the parameters decide; where that cannot be done safely, the rule hands the
// parameters over with every request.
func rulesFor(ctx context.Context, t *template, c *constraint) (map[string]*ast.Module, error) {
	if modules, err := specialize(ctx, t, c); err == nil {
		return modules, nil
	}
	module, err := ast.ParseModule(c.id(), fmt.Sprintf(asIs, c.kind, c.parameters))
	if err != nil {
		return nil, err
	}
	module.Package.Path = constraintPath(c)
	return map[string]*ast.Module{c.id(): module}, nil
}

// asIs asks the template itself.
const asIs = `package constraint

violation contains result if {
	some result in data.templates[%q].violation with input as {"review": input.review, "parameters": %s}
}
`

var errNotSpecial = errors.New("the template must be asked as it is")

// specialize evaluates a template partially: its parameters are known, the
// review and the inventory are not.
func specialize(ctx context.Context, t *template, c *constraint) (map[string]*ast.Module, error) {
	if !t.special {
		return nil, errNotSpecial
	}
	ctx, cancel := context.WithTimeout(ctx, specializeTime)
	defer cancel()
	left, err := rego.New(
		rego.Query(fmt.Sprintf("result = data.templates[%q].violation[_]", t.kind)),
		rego.Compiler(t.compiler),
		rego.ParsedInput(ast.NewObject([2]*ast.Term{ast.StringTerm("parameters"), ast.NewTerm(c.parameters)})),
		rego.Unknowns([]string{"input.review", "data.inventory"}),
		rego.PartialNamespace("of "+c.id()),
	).Partial(ctx)
	if err != nil {
		return nil, err
	}
	main := &ast.Module{Package: &ast.Package{Path: constraintPath(c)}}
	for _, body := range left.Queries {
		rule, err := ast.ParseRule("violation contains result if true")
		if err != nil {
			return nil, err
		}
		rule.Body, rule.Module = body, main
		main.Rules = append(main.Rules, rule)
	}
	modules, rules := map[string]*ast.Module{}, len(main.Rules)
	if rules > 0 {
		modules[c.id()] = main
	}
	for i, support := range left.Support {
		rules += len(support.Rules)
		modules[fmt.Sprintf("%s/%d", c.id(), i)] = support
	}
	if rules > maxSpecialRules {
		return nil, errNotSpecial
	}
	if err := bindParameters(modules, c); err != nil {
		return nil, err
	}
	_, err = compileModules(modules)
	return modules, err
}

// bindParameters makes what partial evaluation has left of references to the
// parameters refer to a rule that has them. Comprehensions within others are
// left as they are; when these ask the template itself, which knows no
// parameters then, nothing is won.
func bindParameters(modules map[string]*ast.Module, c *constraint) error {
	bound := append(constraintPath(c), ast.StringTerm("parameters"))
	used := false
	for _, module := range modules {
		_, err := ast.TransformRefs(module, func(ref ast.Ref) (ast.Value, error) {
			if ref.HasPrefix(templatesRef) || ref.HasPrefix(libsRef) {
				return nil, errNotSpecial
			}
			if !ref.HasPrefix(parametersRef) {
				return ref, nil
			}
			used = true
			return bound.Concat(ref[len(parametersRef):]), nil
		})
		if err != nil {
			return err
		}
	}
	if !used {
		return nil
	}
	module, err := ast.ParseModule(c.id(), fmt.Sprintf("package constraint\n\nparameters := %s\n", c.parameters))
	if err != nil {
		return err
	}
	module.Package.Path = constraintPath(c)
	modules[c.id()+"/parameters"] = module
	return nil
}

func constraintPath(c *constraint) ast.Ref {
	return ast.Ref{ast.DefaultRootDocument, ast.StringTerm("constraints"), ast.StringTerm(c.id())}
}

// canSpecialize reports whether partial evaluation means the same: all
// references to the input must name review or parameters, so that what is
// known and what is not are kept apart, and nothing may be replaced by with.
func canSpecialize(modules map[string]*ast.Module) bool {
	can, known, all := true, 0, 0
	for _, module := range modules {
		ast.WalkVars(module, func(v ast.Var) bool {
			if v.Equal(ast.InputRootDocument.Value) {
				all++
			}
			return false
		})
		ast.WalkRefs(module, func(ref ast.Ref) bool {
			if ref.HasPrefix(reviewRef) || ref.HasPrefix(parametersRef) {
				known++
			}
			return false
		})
		ast.WalkExprs(module, func(expr *ast.Expr) bool {
			can = can && len(expr.With) == 0
			return false
		})
	}
	return can && known == all
}

var (
	templatesRef  = ast.DefaultRootRef.Append(ast.StringTerm("templates"))
	libsRef       = ast.DefaultRootRef.Append(ast.StringTerm("libs"))
	reviewRef     = ast.InputRootRef.Append(ast.StringTerm("review"))
	parametersRef = ast.InputRootRef.Append(ast.StringTerm("parameters"))
)
