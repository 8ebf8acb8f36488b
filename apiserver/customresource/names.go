package customresource

import (
	"errors"
	"fmt"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// claim is a name within a group, for resources or for kinds.
type claim struct {
	group, name string
	kind        bool
}

func claimsOf(d *apiextensionsv1.CustomResourceDefinition) []claim {
	names := d.Status.AcceptedNames
	claims := []claim{{d.Spec.Group, names.Kind, true}, {d.Spec.Group, names.ListKind, true}}
	for _, name := range append([]string{names.Plural, names.Singular}, names.ShortNames...) {
		claims = append(claims, claim{d.Spec.Group, name, false})
	}
	return claims
}

// taken says which definitions have a name. Older stores may hold several that
// have the same.
type taken map[claim][]string

func (t taken) add(d *apiextensionsv1.CustomResourceDefinition) {
	for _, c := range claimsOf(d) {
		if !slices.Contains(t[c], d.Name) {
			t[c] = append(t[c], d.Name)
		}
	}
}

func (t taken) remove(d *apiextensionsv1.CustomResourceDefinition) {
	for _, c := range claimsOf(d) {
		t[c] = slices.DeleteFunc(t[c], func(name string) bool { return name == d.Name })
		if len(t[c]) == 0 {
			delete(t, c)
		}
	}
}

// by reports whether somebody else than a definition has a name.
func (t taken) by(d *apiextensionsv1.CustomResourceDefinition, name string, kind bool) bool {
	return slices.ContainsFunc(t[claim{d.Spec.Group, name, kind}], func(owner string) bool { return owner != d.Name })
}

// acceptNames gives a definition the names it asks for where nobody else has
// them, and says in its conditions what became of that. The rules are those of
// Kubernetes: a name once accepted stays until the one asked for is free.
func acceptNames(d *apiextensionsv1.CustomResourceDefinition, others taken) {
	condition := apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.NamesAccepted, Status: apiextensionsv1.ConditionTrue, Reason: "NoConflicts", Message: "no conflicts found",
	}
	asked, accepted := d.Spec.Names, d.Status.AcceptedNames
	take := func(reason, want string, have *string, kind bool) {
		if want != *have && others.by(d, want, kind) {
			condition.Status, condition.Reason, condition.Message = apiextensionsv1.ConditionFalse, reason, fmt.Sprintf("%q is already in use", want)
			return
		}
		*have = want
	}
	take("PluralConflict", asked.Plural, &accepted.Plural, false)
	take("SingularConflict", asked.Singular, &accepted.Singular, false)
	if err := freeShortNames(d, others); err != nil {
		condition.Status, condition.Reason, condition.Message = apiextensionsv1.ConditionFalse, "ShortNamesConflict", err.Error()
	} else {
		accepted.ShortNames = asked.ShortNames
	}
	take("KindConflict", asked.Kind, &accepted.Kind, true)
	take("ListKindConflict", asked.ListKind, &accepted.ListKind, true)
	accepted.Categories = asked.Categories
	d.Status.AcceptedNames = accepted
	apihelpers.SetCRDCondition(d, condition)
}

func freeShortNames(d *apiextensionsv1.CustomResourceDefinition, others taken) error {
	var errs []error
	for _, name := range d.Spec.Names.ShortNames {
		if !slices.Contains(d.Status.AcceptedNames.ShortNames, name) && others.by(d, name, false) {
			errs = append(errs, fmt.Errorf("%q is already in use", name))
		}
	}
	return errors.Join(errs...)
}
