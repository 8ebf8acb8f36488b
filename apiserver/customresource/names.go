package customresource

import (
	"errors"
	"fmt"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// taken are the names that other definitions of a group have.
type taken struct{ resources, kinds map[string]bool }

func (t taken) add(names apiextensionsv1.CustomResourceDefinitionNames) {
	for _, name := range append([]string{names.Plural, names.Singular}, names.ShortNames...) {
		t.resources[name] = true
	}
	t.kinds[names.Kind], t.kinds[names.ListKind] = true, true
}

// acceptNames gives a definition the names it asks for where nobody else has
// them, and says in its conditions what became of that. The rules are those of
// Kubernetes: a name once accepted stays until the one asked for is free.
func acceptNames(d *apiextensionsv1.CustomResourceDefinition, others taken) {
	condition := apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.NamesAccepted, Status: apiextensionsv1.ConditionTrue, Reason: "NoConflicts", Message: "no conflicts found",
	}
	asked, accepted := d.Spec.Names, d.Status.AcceptedNames
	claim := func(reason, want string, have *string, used map[string]bool) {
		if want != *have && used[want] {
			condition.Status, condition.Reason, condition.Message = apiextensionsv1.ConditionFalse, reason, fmt.Sprintf("%q is already in use", want)
			return
		}
		*have = want
	}
	claim("PluralConflict", asked.Plural, &accepted.Plural, others.resources)
	claim("SingularConflict", asked.Singular, &accepted.Singular, others.resources)
	if err := freeShortNames(asked.ShortNames, accepted.ShortNames, others.resources); err != nil {
		condition.Status, condition.Reason, condition.Message = apiextensionsv1.ConditionFalse, "ShortNamesConflict", err.Error()
	} else {
		accepted.ShortNames = asked.ShortNames
	}
	claim("KindConflict", asked.Kind, &accepted.Kind, others.kinds)
	claim("ListKindConflict", asked.ListKind, &accepted.ListKind, others.kinds)
	accepted.Categories = asked.Categories
	d.Status.AcceptedNames = accepted
	apihelpers.SetCRDCondition(d, condition)
}

func freeShortNames(asked, accepted []string, used map[string]bool) error {
	var errs []error
	for _, name := range asked {
		if !slices.Contains(accepted, name) && used[name] {
			errs = append(errs, fmt.Errorf("%q is already in use", name))
		}
	}
	return errors.Join(errs...)
}
