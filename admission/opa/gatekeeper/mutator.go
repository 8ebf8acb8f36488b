package gatekeeper

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/opa/gatekeeper/mutation"
)

// mutator is one of Gatekeeper's mutators.
type mutator struct {
	kind, name string
	object     *unstructured.Unstructured
	applyTo    []applyTo
	match      match
	change     *mutation.Change
	// make makes the change for a value that is taken from the object's
	// metadata; nil when the value is fixed.
	make func(value string) (*mutation.Change, error)
	// field is which one.
	field string
}

// applyTo is kinds that a mutator is for.
type applyTo struct {
	Groups     []string              `json:"groups"`
	Versions   []string              `json:"versions"`
	Kinds      []string              `json:"kinds"`
	Operations []admission.Operation `json:"operations"`
}

type mutatorSpec struct {
	ApplyTo    []applyTo `json:"applyTo"`
	Match      match     `json:"match"`
	Location   string    `json:"location"`
	Parameters struct {
		PathTests []mutation.Test `json:"pathTests"`
		Assign    *assignment     `json:"assign"`
		Operation string          `json:"operation"`
		Values    struct {
			FromList []any `json:"fromList"`
		} `json:"values"`
		mutation.Image
	} `json:"parameters"`
}

// assignment is where a value comes from.
type assignment struct {
	Value        *any           `json:"value"`
	ExternalData map[string]any `json:"externalData"`
	FromMetadata *struct {
		Field string `json:"field"`
	} `json:"fromMetadata"`
}

// addMutator reads a mutator.
func (l *Library) addMutator(object *unstructured.Unstructured) error {
	m, err := parseMutator(object)
	if err == nil {
		l.mutators = append(l.mutators, m)
	}
	return err
}

func parseMutator(object *unstructured.Unstructured) (*mutator, error) {
	var spec mutatorSpec
	if err := specOf(object, &spec); err != nil {
		return nil, err
	}
	m := &mutator{kind: object.GetKind(), name: object.GetName(), object: object, applyTo: spec.ApplyTo, match: spec.Match}
	if err := m.match.compile(); err != nil {
		return nil, err
	}
	if m.kind != "AssignMetadata" {
		if err := validateApplyTo(m.applyTo); err != nil {
			return nil, err
		}
	}
	var err error
	switch tests := spec.Parameters.PathTests; m.kind {
	case "Assign":
		err = m.assign(spec.Parameters.Assign, func(value any) (*mutation.Change, error) { return mutation.Assign(spec.Location, value, tests) })
	case "AssignMetadata":
		err = m.assign(spec.Parameters.Assign, func(value any) (*mutation.Change, error) {
			text, ok := value.(string)
			if !ok {
				return nil, errors.New("assign.value must be a string")
			}
			return mutation.AssignMetadata(spec.Location, text)
		})
	case "ModifySet":
		switch spec.Parameters.Operation {
		case "", "merge":
			m.change, err = mutation.Merge(spec.Location, spec.Parameters.Values.FromList, tests)
		case "prune":
			m.change, err = mutation.Prune(spec.Location, spec.Parameters.Values.FromList, tests)
		default:
			err = fmt.Errorf("there is no operation %q, only merge and prune", spec.Parameters.Operation)
		}
	case "AssignImage":
		m.change, err = mutation.AssignImage(spec.Location, spec.Parameters.Image, tests)
	default:
		err = fmt.Errorf("there is no mutator %s", m.kind)
	}
	return m, err
}

func validateApplyTo(kinds []applyTo) error {
	if len(kinds) == 0 {
		return errors.New("applyTo is needed")
	}
	for i, a := range kinds {
		if len(a.Groups) == 0 || len(a.Versions) == 0 || len(a.Kinds) == 0 {
			return fmt.Errorf("applyTo[%d]: groups, versions and kinds are all needed", i)
		}
		for _, list := range [][]string{a.Groups, a.Versions, a.Kinds} {
			if slices.Contains(list, "*") {
				return fmt.Errorf("applyTo[%d]: * is not allowed: a location is a place in certain kinds", i)
			}
		}
		for _, operation := range a.Operations {
			if !slices.Contains([]admission.Operation{"*", admission.Create, admission.Update}, operation) {
				return fmt.Errorf("applyTo[%d]: there is no operation %q, only CREATE, UPDATE and *", i, operation)
			}
		}
	}
	return nil
}

// assign takes the value from where it comes.
func (m *mutator) assign(from *assignment, change func(value any) (*mutation.Change, error)) error {
	given := 0
	if from != nil {
		for _, is := range []bool{from.Value != nil, from.ExternalData != nil, from.FromMetadata != nil} {
			if is {
				given++
			}
		}
	}
	if given != 1 {
		return errors.New("parameters.assign needs one of value and fromMetadata")
	}
	var err error
	switch {
	case from.ExternalData != nil:
		return errors.New("assign.externalData is not supported")
	case from.Value != nil:
		m.change, err = change(*from.Value)
		return err
	}
	if m.field = from.FromMetadata.Field; m.field != "name" && m.field != "namespace" {
		return fmt.Errorf("assign.fromMetadata.field must be name or namespace, not %q", m.field)
	}
	m.make = func(value string) (*mutation.Change, error) { return change(value) }
	m.change, err = change("")
	return err
}

// settleMutators orders the mutators, and leaves out those that take one place
// for different things.
func (l *Library) settleMutators() []Problem {
	slices.SortFunc(l.mutators, func(a, b *mutator) int { return strings.Compare(a.kind+"\x00"+a.name, b.kind+"\x00"+b.name) })
	var problems []Problem
	var kept []*mutator
	for i, m := range l.mutators {
		at := slices.IndexFunc(l.mutators, func(other *mutator) bool {
			return other != l.mutators[i] && m.shares(other) && m.change.Conflicts(other.change)
		})
		if at < 0 {
			kept = append(kept, m)
			continue
		}
		other := l.mutators[at]
		problems = append(problems, Problem{m.object, fmt.Errorf("its location contradicts that of %s %s: one has a list where the other has none, or another key", other.kind, other.name)})
	}
	l.mutators = kept
	return problems
}

// shares reports whether two mutators may be applied to the same kind.
func (m *mutator) shares(other *mutator) bool {
	for _, a := range m.applyTo {
		for _, b := range other.applyTo {
			if meet(a.Groups, b.Groups) && meet(a.Versions, b.Versions) && meet(a.Kinds, b.Kinds) {
				return true
			}
		}
	}
	return false
}

func meet(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}

func (m *mutator) concerns(s *subject, operation admission.Operation) bool {
	return (m.kind == "AssignMetadata" || m.appliesTo(s.kind, operation)) && m.match.matches(s)
}

func (m *mutator) appliesTo(kind schema.GroupVersionKind, operation admission.Operation) bool {
	return slices.ContainsFunc(m.applyTo, func(a applyTo) bool {
		return slices.Contains(a.Groups, kind.Group) && slices.Contains(a.Versions, kind.Version) && slices.Contains(a.Kinds, kind.Kind) &&
			(len(a.Operations) == 0 || slices.Contains(a.Operations, "*") || slices.Contains(a.Operations, operation))
	})
}

// apply changes the object in place.
func (m *mutator) apply(s *subject, object map[string]any) (bool, error) {
	change := m.change
	if m.make != nil {
		var err error
		if change, err = m.make(map[string]string{"name": s.name, "namespace": s.namespace}[m.field]); err != nil {
			return false, err
		}
	}
	return change.Apply(object)
}

// mutate applies the mutators that concern the subject until nothing changes any
// more, and returns their names.
func (l *Library) mutate(s *subject, operation admission.Operation, object map[string]any) ([]string, error) {
	var concerned []*mutator
	for _, m := range l.mutators {
		if m.concerns(s, operation) {
			concerned = append(concerned, m)
		}
	}
	var applied []string
	for range len(concerned) + 1 {
		changed := false
		for _, m := range concerned {
			did, err := m.apply(s, object)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", m.kind, m.name, err)
			}
			if id := m.kind + "/" + m.name; did && !slices.Contains(applied, id) {
				applied = append(applied, id)
			}
			changed = changed || did
		}
		if !changed {
			return applied, nil
		}
	}
	return nil, fmt.Errorf("the mutators %s undo each other's changes", strings.Join(applied, ", "))
}
