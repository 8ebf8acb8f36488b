package gatekeeper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/yare-io/yare/admission"
)

// guard refuses Gatekeeper's own objects when they are wrong, before they are
// stored.
type guard struct{ checker *Checker }

// NewGuard returns the admission plugin that looks at Gatekeeper's objects.
func NewGuard(c *Checker) admission.Validator { return guard{c} }

// Name implements admission.Plugin.
func (guard) Name() string { return "GatekeeperObjects" }

// Handles implements admission.Plugin.
func (guard) Handles(o admission.Operation) bool {
	return o == admission.Create || o == admission.Update
}

// Validate implements admission.Validator.
func (g guard) Validate(ctx context.Context, a *admission.Attributes) error {
	object, ok := a.Object.(*unstructured.Unstructured)
	if !ok || a.Subresource != "" || !strings.HasSuffix(a.Resource.Group, ".gatekeeper.sh") {
		return nil
	}
	if old, ok := a.OldObject.(*unstructured.Unstructured); ok && equality.Semantic.DeepEqual(old.Object["spec"], object.Object["spec"]) {
		return nil
	}
	if err := g.validate(ctx, object); err != nil {
		return admission.Forbidden(a, err)
	}
	return nil
}

// validate compiles an object alone; a constraint with the template that is in
// force.
func (g guard) validate(ctx context.Context, object *unstructured.Unstructured) error {
	group := object.GroupVersionKind().Group
	if group == ConstraintGroup {
		c, err := parseConstraint(object)
		if err != nil {
			return err
		}
		if library := g.checker.library.Load(); library != nil {
			if t := library.templates[c.kind]; t != nil && t.expressions == nil {
				_, err = rulesFor(ctx, t, c)
			}
		}
		return err
	}
	if group == ConfigGroup && object.GetName() != "config" {
		return errors.New("the one Config is called config")
	}
	if !slices.Contains([]string{TemplateGroup, MutationGroup, ConfigGroup, SyncSetGroup, statusGroup}, group) {
		return fmt.Errorf("objects of %s are not supported by this server", group)
	}
	_, problems, err := Compiler{}.Compile(ctx, []*unstructured.Unstructured{object})
	for _, problem := range problems {
		err = errors.Join(err, problem.Err)
	}
	return err
}
