// Package policy holds the rows of the policy group: disruption budgets.
package policy

import (
	policyv1 "k8s.io/api/policy/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

// Resources returns the rows of the group.
func Resources() []*registry.Resource { return []*registry.Resource{podDisruptionBudgets()} }

func podDisruptionBudgets() *registry.Resource {
	return &registry.Resource{
		Kind: policyv1.SchemeGroupVersion.WithKind("PodDisruptionBudget"), Name: "poddisruptionbudgets", Singular: "poddisruptionbudget",
		ShortNames: []string{"pdb"}, Namespaced: true, Verbs: row.AllVerbs(), StoragePrefix: "poddisruptionbudgets",
		New: row.New[policyv1.PodDisruptionBudget], NewList: row.New[policyv1.PodDisruptionBudgetList],
		Strategy: registry.Strategy{
			PrepareForCreate: registry.Prepare(func(b *policyv1.PodDisruptionBudget) {
				b.Status = policyv1.PodDisruptionBudgetStatus{}
				b.Generation = 1
			}),
			PrepareForUpdate: registry.PrepareUpdate(func(b, old *policyv1.PodDisruptionBudget) {
				b.Status = old.Status
				row.NextGeneration(b, old, !row.Same(b.Spec, old.Spec))
			}),
			Validate:       registry.Check(validateBudget),
			ValidateUpdate: registry.CheckUpdate(func(b, _ *policyv1.PodDisruptionBudget) field.ErrorList { return validateBudget(b) }),
			RequireVersion: true,
		},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("Min Available", func(b *policyv1.PodDisruptionBudget) any { return amountCell(b.Spec.MinAvailable) }),
			row.Text("Max Unavailable", func(b *policyv1.PodDisruptionBudget) any { return amountCell(b.Spec.MaxUnavailable) }),
			row.Integer("Allowed Disruptions", func(b *policyv1.PodDisruptionBudget) any { return int64(b.Status.DisruptionsAllowed) }),
			row.AgeColumn(),
		},
		Subresources: []registry.Subresource{row.Status(registry.Strategy{
			PrepareForUpdate: registry.PrepareUpdate(func(b, old *policyv1.PodDisruptionBudget) { b.Spec = old.Spec }),
			ValidateUpdate:   registry.CheckUpdate(validateBudgetStatus),
		})},
	}
}

func amountCell(v *intstr.IntOrString) string {
	if v == nil {
		return "N/A"
	}
	return v.String()
}

func validateBudget(b *policyv1.PodDisruptionBudget) field.ErrorList {
	spec := field.NewPath("spec")
	var errs field.ErrorList
	if b.Spec.MinAvailable != nil && b.Spec.MaxUnavailable != nil {
		errs = append(errs, field.Invalid(spec, b.Spec, "minAvailable and maxUnavailable cannot be both set"))
	}
	if m := b.Spec.MinAvailable; m != nil {
		errs = append(errs, rule.CountOrPercent(spec.Child("minAvailable"), *m)...)
		errs = append(errs, rule.AtMostAll(spec.Child("minAvailable"), *m)...)
	}
	if m := b.Spec.MaxUnavailable; m != nil {
		errs = append(errs, rule.CountOrPercent(spec.Child("maxUnavailable"), *m)...)
		errs = append(errs, rule.AtMostAll(spec.Child("maxUnavailable"), *m)...)
	}
	errs = append(errs, rule.Selector(spec.Child("selector"), b.Spec.Selector)...)
	return append(errs, rule.OptionalOneOf(spec.Child("unhealthyPodEvictionPolicy"), b.Spec.UnhealthyPodEvictionPolicy,
		policyv1.AlwaysAllow, policyv1.IfHealthyBudget)...)
}

func validateBudgetStatus(b, _ *policyv1.PodDisruptionBudget) field.ErrorList {
	at, s := field.NewPath("status"), &b.Status
	errs := metavalidation.ValidateConditions(s.Conditions, at.Child("conditions"))
	for _, c := range []struct {
		name string
		n    int32
	}{
		{"disruptionsAllowed", s.DisruptionsAllowed}, {"currentHealthy", s.CurrentHealthy},
		{"desiredHealthy", s.DesiredHealthy}, {"expectedPods", s.ExpectedPods},
	} {
		errs = append(errs, rule.NonNegative(at.Child(c.name), c.n)...)
	}
	return errs
}
