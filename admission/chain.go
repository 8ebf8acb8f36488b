package admission

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
)

// Chain runs plugins in the order they were given: Admit calls those that
// mutate, Validate those that validate. It is immutable and safe for
// concurrent use.
type Chain struct {
	mutators   map[Operation][]Mutator
	validators map[Operation][]Validator
}

// NewChain sorts the plugins by what they do and which operations they handle.
func NewChain(plugins ...Plugin) *Chain {
	c := &Chain{mutators: map[Operation][]Mutator{}, validators: map[Operation][]Validator{}}
	for _, op := range []Operation{Create, Update, Delete, Connect} {
		for _, p := range plugins {
			if !p.Handles(op) {
				continue
			}
			if m, ok := p.(Mutator); ok {
				c.mutators[op] = append(c.mutators[op], m)
			}
			if v, ok := p.(Validator); ok {
				c.validators[op] = append(c.validators[op], v)
			}
		}
	}
	return c
}

// Admit lets every mutating plugin change a.Object, and all of them a second
// time when one asked for it; the first refusal ends it. The error is always an
// apierrors.APIStatus.
func (c *Chain) Admit(ctx context.Context, a *Attributes) error {
	a.again, a.rerun, a.kept = false, false, nil
	if err := c.admit(ctx, a); err != nil || !a.again {
		return err
	}
	a.rerun = true
	return c.admit(ctx, a)
}

func (c *Chain) admit(ctx context.Context, a *Attributes) error {
	for _, m := range c.mutators[a.Operation] {
		if err := m.Admit(ctx, a); err != nil {
			return Refusal(a, err)
		}
	}
	return nil
}

// Validate asks every validating plugin; the first refusal ends it. The error
// is always an apierrors.APIStatus.
func (c *Chain) Validate(ctx context.Context, a *Attributes) error {
	for _, v := range c.validators[a.Operation] {
		if err := v.Validate(ctx, a); err != nil {
			return Refusal(a, err)
		}
	}
	return nil
}

// Mutates reports whether any plugin would see this operation in Admit.
func (c *Chain) Mutates(op Operation) bool { return len(c.mutators[op]) > 0 }

// Refusal makes any error one for the client: nil and API statuses stay as they
// are, all else becomes Forbidden.
func Refusal(a *Attributes, err error) error {
	if err == nil {
		return nil
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return err
	}
	return Forbidden(a, err)
}

// Forbidden is the refusal of a request, in the words clients know:
// `pods "x" is forbidden: …`.
func Forbidden(a *Attributes, err error) *apierrors.StatusError {
	return apierrors.NewForbidden(a.Resource.GroupResource(), a.objectName(), err)
}

// objectName is the best name there is for the object in an error message.
func (a *Attributes) objectName() string {
	if a.Name != "" {
		return a.Name
	}
	accessor, err := meta.Accessor(a.Object)
	if err != nil {
		return ""
	}
	if accessor.GetName() != "" {
		return accessor.GetName()
	}
	return accessor.GetGenerateName()
}
