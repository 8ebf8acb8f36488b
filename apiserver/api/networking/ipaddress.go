package networking

import (
	"fmt"
	"net/netip"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

func ipAddresses() *registry.Resource {
	return &registry.Resource{
		Kind: kind("IPAddress"), Name: "ipaddresses", Singular: "ipaddress", ShortNames: []string{"ip"},
		Verbs: row.AllVerbs(), StoragePrefix: "ipaddresses", New: row.New[networkingv1.IPAddress], NewList: row.New[networkingv1.IPAddressList],
		Strategy: registry.Strategy{
			Validate: registry.Check(validateIPAddress),
			ValidateUpdate: registry.CheckUpdate(func(a, old *networkingv1.IPAddress) field.ErrorList {
				return append(validateIPAddress(a), rule.Immutable(field.NewPath("spec", "parentRef"), a.Spec.ParentRef, old.Spec.ParentRef)...)
			}),
			ValidName: validAddressName,
		},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("ParentRef", func(a *networkingv1.IPAddress) any { return parentCell(a.Spec.ParentRef) }),
		},
	}
}

// validAddressName wants an address written in the one way that is canonical,
// so that it can be held only once.
func validAddressName(name string, _ bool) []string {
	ip, err := netip.ParseAddr(name)
	if err != nil || ip.Zone() != "" {
		return []string{"must be a valid IP address"}
	}
	if ip.String() != name {
		return []string{"must be a canonical IP address"}
	}
	return nil
}

func validateIPAddress(a *networkingv1.IPAddress) field.ErrorList {
	at := field.NewPath("spec", "parentRef")
	ref := a.Spec.ParentRef
	if ref == nil {
		return field.ErrorList{field.Required(at, "")}
	}
	var errs field.ErrorList
	if ref.Group != "" {
		errs = append(errs, rule.DNSSubdomain(at.Child("group"), ref.Group)...)
	}
	segment := func(name, value string) {
		if value == "" {
			errs = append(errs, field.Required(at.Child(name), ""))
			return
		}
		errs = append(errs, rule.Invalid(at.Child(name), value, path.IsValidPathSegmentName(value))...)
	}
	segment("resource", ref.Resource)
	segment("name", ref.Name)
	if ref.Namespace != "" {
		errs = append(errs, rule.Invalid(at.Child("namespace"), ref.Namespace, apivalidation.ValidateNamespaceName(ref.Namespace, false))...)
	}
	return errs
}

func parentCell(r *networkingv1.ParentReference) string {
	if r == nil {
		return row.None
	}
	var b strings.Builder
	b.WriteString(r.Resource)
	if r.Group != "" {
		fmt.Fprintf(&b, ".%s", r.Group)
	}
	if r.Namespace != "" {
		fmt.Fprintf(&b, "/%s", r.Namespace)
	}
	fmt.Fprintf(&b, "/%s", r.Name)
	return b.String()
}
