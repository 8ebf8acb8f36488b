package gatekeeper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Groups of Gatekeeper's API.
const (
	TemplateGroup   = "templates.gatekeeper.sh"
	ConstraintGroup = "constraints.gatekeeper.sh"
	MutationGroup   = "mutations.gatekeeper.sh"
	ConfigGroup     = "config.gatekeeper.sh"
	SyncSetGroup    = "syncset.gatekeeper.sh"
	statusGroup     = "status.gatekeeper.sh"
)

// Problem is what is wrong with an object.
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

// compilation is a library on its way.
type compilation struct {
	Compiler
	library  *Library
	modules  map[string]*ast.Module
	shared   sharing
	problems []Problem
}

// Compile makes a library of Gatekeeper's objects. Objects that are wrong are
// left out of it, each with a problem; the rest is in force. An error means that
// there is no library.
func (c Compiler) Compile(ctx context.Context, objects []*unstructured.Unstructured) (*Library, []Problem, error) {
	work := &compilation{
		Compiler: c, modules: map[string]*ast.Module{},
		library: &Library{templates: map[string]*template{}, constraints: map[string]*constraint{}, byKind: map[string][]*constraint{}},
	}
	// Constraints need their templates.
	ordered := slices.Clone(objects)
	slices.SortStableFunc(ordered, func(a, b *unstructured.Unstructured) int { return cmp.Compare(rank(a), rank(b)) })
	for _, object := range ordered {
		if err := work.add(ctx, object); err != nil {
			work.problems = append(work.problems, Problem{object, err})
		}
	}
	work.problems = append(work.problems, work.library.settleMutators()...)
	if shared := work.shared.module(); shared != nil {
		work.modules["shared"] = shared
	}
	return work.library, work.problems, work.library.prepare(ctx, work.modules, c.Store)
}

func rank(object *unstructured.Unstructured) int {
	if object.GroupVersionKind().Group == TemplateGroup {
		return 0
	}
	return 1
}

// add reads one object.
func (w *compilation) add(ctx context.Context, object *unstructured.Unstructured) error {
	switch group := object.GroupVersionKind().Group; group {
	case TemplateGroup:
		return w.addTemplate(object)
	case ConstraintGroup:
		return w.addConstraint(ctx, object)
	case MutationGroup:
		return w.library.addMutator(object)
	case ConfigGroup:
		return w.library.settings.addConfig(object)
	case SyncSetGroup:
		return w.library.settings.addSyncSet(object)
	case statusGroup:
		return nil
	default:
		return fmt.Errorf("objects of %s are not supported", group)
	}
}

func (w *compilation) addTemplate(object *unstructured.Unstructured) error {
	parsed, err := parseTemplate(object)
	if err != nil {
		return err
	}
	if w.library.templates[parsed.kind] != nil {
		return errors.New("there are two of this name")
	}
	parsed.special = parsed.special && !w.AsWritten
	w.library.templates[parsed.kind] = parsed
	return nil
}

// addConstraint reads a constraint, and adds to the modules what it is asked by.
func (w *compilation) addConstraint(ctx context.Context, object *unstructured.Unstructured) error {
	of := w.library.templates[object.GetKind()]
	if of == nil {
		return errors.New("there is no working ConstraintTemplate of this kind")
	}
	parsed, err := parseConstraint(object)
	if err != nil {
		return err
	}
	if w.library.constraints[parsed.id()] != nil {
		return errors.New("there are two of this name")
	}
	if of.expressions == nil {
		rules, err := rulesFor(ctx, of, parsed)
		if err != nil {
			return err
		}
		if rules, err = w.shared.share(rules); err != nil {
			return err
		}
		maps.Copy(w.modules, of.modules)
		maps.Copy(w.modules, rules)
	}
	parsed.expressions = of.expressions
	w.library.constraints[parsed.id()] = parsed
	for _, kind := range parsed.match.kindNames() {
		w.library.byKind[kind] = append(w.library.byKind[kind], parsed)
	}
	return nil
}
