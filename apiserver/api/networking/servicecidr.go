package networking

import (
	"net/netip"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

func serviceCIDRs() *registry.Resource {
	return &registry.Resource{
		Kind: kind("ServiceCIDR"), Name: "servicecidrs", Singular: "servicecidr",
		Verbs: row.AllVerbs(), StoragePrefix: "servicecidrs", New: row.New[networkingv1.ServiceCIDR], NewList: row.New[networkingv1.ServiceCIDRList],
		Strategy: registry.Strategy{
			PrepareForCreate: registry.Prepare(func(c *networkingv1.ServiceCIDR) { c.Status = networkingv1.ServiceCIDRStatus{} }),
			PrepareForUpdate: registry.PrepareUpdate(func(c, old *networkingv1.ServiceCIDR) { c.Status = old.Status }),
			Validate:         registry.Check(validateServiceCIDR),
			ValidateUpdate:   registry.CheckUpdate(validateServiceCIDRUpdate),
		},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("CIDRs", func(c *networkingv1.ServiceCIDR) any { return strings.Join(c.Spec.CIDRs, ",") }),
			row.AgeColumn(),
		},
		Subresources: []registry.Subresource{row.Status(registry.Strategy{
			PrepareForUpdate: registry.PrepareUpdate(func(c, old *networkingv1.ServiceCIDR) { c.Spec = old.Spec }),
			ValidateUpdate: registry.CheckUpdate(func(c, _ *networkingv1.ServiceCIDR) field.ErrorList {
				return metavalidation.ValidateConditions(c.Status.Conditions, field.NewPath("status", "conditions"))
			}),
		})},
	}
}

func validateServiceCIDR(c *networkingv1.ServiceCIDR) field.ErrorList {
	at := field.NewPath("spec", "cidrs")
	cidrs := c.Spec.CIDRs
	if len(cidrs) == 0 {
		return field.ErrorList{field.Required(at, "at least one CIDR required")}
	}
	if len(cidrs) > 2 {
		return field.ErrorList{field.TooMany(at, len(cidrs), 2)}
	}
	var errs field.ErrorList
	for i, cidr := range cidrs {
		errs = append(errs, validation.IsValidCIDR(at.Index(i), cidr)...)
	}
	if len(errs) > 0 || len(cidrs) < 2 {
		return errs
	}
	if netip.MustParsePrefix(cidrs[0]).Addr().Is6() == netip.MustParsePrefix(cidrs[1]).Addr().Is6() {
		errs = append(errs, field.Invalid(at, cidrs, "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/96"))
	}
	return errs
}

// validateServiceCIDRUpdate lets a range of the other family be added, and
// nothing be taken away.
func validateServiceCIDRUpdate(c, old *networkingv1.ServiceCIDR) field.ErrorList {
	at := field.NewPath("spec", "cidrs")
	is, was := c.Spec.CIDRs, old.Spec.CIDRs
	errs := validateServiceCIDR(c)
	switch {
	case len(is) < len(was):
		errs = append(errs, field.Invalid(at, is, apivalidation.FieldImmutableErrorMsg))
	case len(was) == 2 && is[1] != was[1]:
		errs = append(errs, field.Invalid(at.Index(1), is[1], apivalidation.FieldImmutableErrorMsg))
	}
	if len(is) > 0 && len(was) > 0 && is[0] != was[0] {
		errs = append(errs, field.Invalid(at.Index(0), is[0], apivalidation.FieldImmutableErrorMsg))
	}
	return errs
}
