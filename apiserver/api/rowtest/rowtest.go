// Package rowtest runs tables of cases against a row: an object that is right,
// and for each rule a change to it that breaks exactly that rule.
package rowtest

import (
	"context"
	"slices"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/yare-io/yare/apiserver/registry"
)

// Cases are changes, as YAML merge patches, and what each breaks: every error
// as its type and field, as in "Required spec.selector".
type Cases []struct {
	Name, Change string
	Want         []string
}

// Row returns the row of a resource, or of one version when several have the
// name.
func Row(t *testing.T, rows []*registry.Resource, name string) *registry.Resource {
	t.Helper()
	for _, r := range rows {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("no row %s", name)
	return nil
}

// Object returns what YAML says, changed by a merge patch (empty: unchanged),
// as the row's type.
func Object(t *testing.T, r *registry.Resource, text, change string) runtime.Object {
	t.Helper()
	whole, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if change != "" {
		patch, err := yaml.YAMLToJSON([]byte(change))
		if err != nil {
			t.Fatal(err)
		}
		if whole, err = jsonpatch.MergePatch(whole, patch); err != nil {
			t.Fatal(err)
		}
	}
	o := r.New()
	if err := yaml.UnmarshalStrict(whole, o); err != nil {
		t.Fatal(err)
	}
	return o
}

// Create takes an object through defaults, preparation and validation.
func Create(r *registry.Resource, o runtime.Object) field.ErrorList {
	ctx, s := context.Background(), &r.Strategy
	if s.Default != nil {
		s.Default(o)
	}
	if s.PrepareForCreate != nil {
		s.PrepareForCreate(ctx, o)
	}
	if s.Validate == nil {
		return nil
	}
	return s.Validate(ctx, o)
}

// Update takes a change through defaults, preparation and validation under the
// given strategy: the row's own, or a subresource's.
func Update(s *registry.Strategy, o, old runtime.Object) field.ErrorList {
	ctx := context.Background()
	if s.Default != nil {
		s.Default(o)
	}
	if s.PrepareForUpdate != nil {
		s.PrepareForUpdate(ctx, o, old)
	}
	if s.ValidateUpdate == nil {
		return nil
	}
	return s.ValidateUpdate(ctx, o, old)
}

// Creates checks that base is right and that each case breaks what it says.
func Creates(t *testing.T, r *registry.Resource, base string, cases Cases) {
	t.Helper()
	for _, c := range append(Cases{{Name: "as it is"}}, cases...) {
		t.Run(c.Name, func(t *testing.T) {
			Expect(t, Create(r, Object(t, r, base, c.Change)), c.Want...)
		})
	}
}

// Updates makes base, then checks each case as a change of it under s.
func Updates(t *testing.T, r *registry.Resource, s *registry.Strategy, base string, cases Cases) {
	t.Helper()
	for _, c := range append(Cases{{Name: "no change"}}, cases...) {
		t.Run(c.Name, func(t *testing.T) {
			old := Object(t, r, base, "")
			if s.Default != nil {
				s.Default(old)
			}
			Expect(t, Update(s, Object(t, r, base, c.Change), old), c.Want...)
		})
	}
}

var short = map[field.ErrorType]string{
	field.ErrorTypeRequired: "Required", field.ErrorTypeInvalid: "Invalid", field.ErrorTypeNotSupported: "NotSupported",
	field.ErrorTypeForbidden: "Forbidden", field.ErrorTypeDuplicate: "Duplicate", field.ErrorTypeTooLong: "TooLong",
	field.ErrorTypeTooMany: "TooMany", field.ErrorTypeNotFound: "NotFound", field.ErrorTypeInternal: "Internal",
}

// Expect wants exactly the given errors, each as often as it is given.
func Expect(t *testing.T, errs field.ErrorList, want ...string) {
	t.Helper()
	got := make([]string, len(errs))
	for i, e := range errs {
		got[i] = short[e.Type] + " " + e.Field
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q: %v", got, want, errs.ToAggregate())
	}
}
