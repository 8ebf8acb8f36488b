// Package coordination holds the rows of the coordination.k8s.io group:
// leases.
package coordination

import (
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

// Resources returns the rows of the group.
func Resources() []*registry.Resource { return []*registry.Resource{leases()} }

func leases() *registry.Resource {
	return &registry.Resource{
		Kind: coordinationv1.SchemeGroupVersion.WithKind("Lease"), Name: "leases", Singular: "lease", Namespaced: true,
		Verbs: row.AllVerbs(), StoragePrefix: "leases", New: row.New[coordinationv1.Lease], NewList: row.New[coordinationv1.LeaseList],
		Strategy: registry.Strategy{
			Validate:       registry.Check(validateLease),
			ValidateUpdate: registry.CheckUpdate(func(l, _ *coordinationv1.Lease) field.ErrorList { return validateLease(l) }),
			CreateOnUpdate: true,
			RequireVersion: true,
		},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("Holder", func(l *coordinationv1.Lease) any { return row.Pointed(l.Spec.HolderIdentity) }),
			row.AgeColumn(),
		},
	}
}

func validateLease(l *coordinationv1.Lease) field.ErrorList {
	spec := field.NewPath("spec")
	var errs field.ErrorList
	if d := l.Spec.LeaseDurationSeconds; d != nil {
		errs = append(errs, rule.Positive(spec.Child("leaseDurationSeconds"), *d)...)
	}
	errs = append(errs, rule.NonNegativePtr(spec.Child("leaseTransitions"), l.Spec.LeaseTransitions)...)
	if s := l.Spec.Strategy; s != nil {
		if *s == "" {
			errs = append(errs, field.Required(spec.Child("strategy"), ""))
		} else {
			errs = append(errs, rule.QualifiedName(spec.Child("strategy"), string(*s))...)
		}
	}
	if p := l.Spec.PreferredHolder; p != nil && *p != "" && (l.Spec.Strategy == nil || *l.Spec.Strategy == "") {
		errs = append(errs, field.Forbidden(spec.Child("preferredHolder"), "may only be specified if `strategy` is defined"))
	}
	return errs
}
