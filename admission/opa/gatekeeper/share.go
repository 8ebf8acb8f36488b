package gatekeeper

import (
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
)

// sharing finds comprehensions that the rules of several constraints have, as
// {label | input.review.object.metadata.labels[label]}, so that a request
// evaluates each once. The zero value is ready.
type sharing struct {
	// names of their rules, by what they say with variables renamed.
	names map[string]string
	rules []*ast.Rule
}

// sharedPath is where they are.
var sharedPath = ast.MustParseRef("data.yare.shared")

// share returns modules that refer to what is shared.
func (s *sharing) share(modules map[string]*ast.Module) (map[string]*ast.Module, error) {
	changed := make(map[string]*ast.Module, len(modules))
	for name, module := range modules {
		module = module.Copy()
		for _, rule := range module.Rules {
			if err := s.shareRule(rule); err != nil {
				return nil, err
			}
		}
		changed[name] = module
	}
	return changed, nil
}

// module has the rules that are shared; nil: there are none.
func (s *sharing) module() *ast.Module {
	if len(s.rules) == 0 {
		return nil
	}
	module := &ast.Module{Package: &ast.Package{Path: sharedPath}, Rules: s.rules}
	for _, rule := range module.Rules {
		rule.Module = module
	}
	return module
}

// shareRule replaces comprehensions that know nothing of the rest of the rule.
// Where the input is replaced, everything stays.
func (s *sharing) shareRule(rule *ast.Rule) (err error) {
	replaced := false
	ast.WalkExprs(rule, func(expr *ast.Expr) bool {
		replaced = replaced || len(expr.With) > 0
		return false
	})
	if replaced {
		return nil
	}
	everywhere := variablesOf(rule)
	ast.WalkTerms(rule, func(term *ast.Term) bool {
		switch term.Value.(type) {
		case *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension:
		default:
			return err != nil
		}
		within := variablesOf(term)
		if err != nil || !within.closedIn(everywhere) {
			return err != nil
		}
		var name string
		if name, err = s.nameOf(term, within); err == nil {
			term.Value = sharedPath.Append(ast.StringTerm(name))
		}
		return true
	})
	return err
}

// nameOf is the name of the rule that has a comprehension's value.
func (s *sharing) nameOf(term *ast.Term, within variables) (string, error) {
	renamed := map[ast.Var]ast.Var{}
	said, err := ast.TransformVars(term.Copy().Value, func(v ast.Var) (ast.Value, error) {
		if within.count[v] == 0 {
			return v, nil
		}
		if _, known := renamed[v]; !known {
			renamed[v] = ast.Var(fmt.Sprintf("v%d", len(renamed)))
		}
		return renamed[v], nil
	})
	if err != nil {
		return "", err
	}
	value, ok := said.(ast.Value)
	if !ok {
		return "", fmt.Errorf("a comprehension became a %T", said)
	}
	key := value.String()
	if name, known := s.names[key]; known {
		return name, nil
	}
	name := fmt.Sprintf("c%d", len(s.rules))
	rule, err := ast.ParseRule(name + " := value if true")
	if err != nil {
		return "", err
	}
	rule.Head.Value = ast.NewTerm(value)
	if s.names == nil {
		s.names = map[string]string{}
	}
	s.names[key] = name
	s.rules = append(s.rules, rule)
	return name, nil
}

// variables are those of a piece of a rule.
type variables struct {
	count map[ast.Var]int
	// called are the first words of the functions that it calls.
	called map[ast.Var]bool
}

func variablesOf(x any) variables {
	found := variables{map[ast.Var]int{}, map[ast.Var]bool{}}
	var visitor *ast.GenericVisitor
	call := func(terms []*ast.Term) {
		if ref, ok := terms[0].Value.(ast.Ref); ok && len(ref) > 0 {
			if name, ok := ref[0].Value.(ast.Var); ok {
				found.called[name] = true
			}
		}
		for _, term := range terms[1:] {
			visitor.Walk(term)
		}
	}
	visitor = ast.NewGenericVisitor(func(node any) bool {
		switch node := node.(type) {
		case *ast.Expr:
			terms, ok := node.Terms.([]*ast.Term)
			if ok {
				call(terms)
			}
			return ok
		case ast.Call:
			call(node)
			return true
		case ast.Var:
			if !ast.RootDocumentNames.Contains(ast.NewTerm(node)) {
				found.count[node]++
			}
		}
		return false
	})
	visitor.Walk(x)
	return found
}

// closedIn reports whether no variable is anywhere else in the rule, nor has the
// name of a function.
func (v variables) closedIn(rule variables) bool {
	for name, count := range v.count {
		if rule.count[name] != count || v.called[name] {
			return false
		}
	}
	return true
}
