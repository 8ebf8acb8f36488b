package networking

import (
	"fmt"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

const maxController = 250

func ingressClasses() *registry.Resource {
	return &registry.Resource{
		Kind: kind("IngressClass"), Name: "ingressclasses", Singular: "ingressclass",
		Verbs: row.AllVerbs(), StoragePrefix: "ingressclasses", New: row.New[networkingv1.IngressClass], NewList: row.New[networkingv1.IngressClassList],
		Strategy: registry.Strategy{
			Default: registry.Do(func(c *networkingv1.IngressClass) {
				if p := c.Spec.Parameters; p != nil && p.Scope == nil {
					scope := networkingv1.IngressClassParametersReferenceScopeCluster
					p.Scope = &scope
				}
			}),
			PrepareForCreate: registry.Prepare(func(c *networkingv1.IngressClass) { c.Generation = 1 }),
			PrepareForUpdate: registry.PrepareUpdate(func(c, old *networkingv1.IngressClass) {
				row.NextGeneration(c, old, !row.Same(c.Spec, old.Spec))
			}),
			Validate: registry.Check(validateIngressClass),
			ValidateUpdate: registry.CheckUpdate(func(c, old *networkingv1.IngressClass) field.ErrorList {
				return append(validateIngressClass(c), rule.Immutable(field.NewPath("spec", "controller"), c.Spec.Controller, old.Spec.Controller)...)
			}),
		},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("Controller", func(c *networkingv1.IngressClass) any { return c.Spec.Controller }),
			row.Text("Parameters", func(c *networkingv1.IngressClass) any { return parametersCell(c.Spec.Parameters) }),
			row.AgeColumn(),
		},
	}
}

func validateIngressClass(c *networkingv1.IngressClass) field.ErrorList {
	spec := field.NewPath("spec")
	var errs field.ErrorList
	if len(c.Spec.Controller) > maxController {
		errs = append(errs, field.TooLong(spec.Child("controller"), c.Spec.Controller, maxController))
	}
	errs = append(errs, validation.IsDomainPrefixedPath(spec.Child("controller"), c.Spec.Controller)...)
	p := c.Spec.Parameters
	if p == nil {
		return errs
	}
	at := spec.Child("parameters")
	if p.APIGroup != nil {
		errs = append(errs, rule.DNSSubdomain(at.Child("apiGroup"), *p.APIGroup)...)
	}
	errs = append(errs, rule.Required(at.Child("kind"), p.Kind)...)
	errs = append(errs, rule.Required(at.Child("name"), p.Name)...)
	if p.Scope == nil {
		return append(errs, field.Required(at.Child("scope"), ""))
	}
	namespace := at.Child("namespace")
	switch *p.Scope {
	case networkingv1.IngressClassParametersReferenceScopeNamespace:
		if p.Namespace == nil || *p.Namespace == "" {
			errs = append(errs, field.Required(namespace, "`parameters.scope` is set to 'Namespace'"))
		} else {
			errs = append(errs, rule.DNSLabel(namespace, *p.Namespace)...)
		}
	case networkingv1.IngressClassParametersReferenceScopeCluster:
		if p.Namespace != nil {
			errs = append(errs, field.Forbidden(namespace, "`parameters.scope` is set to 'Cluster'"))
		}
	default:
		errs = append(errs, rule.Supported(at.Child("scope"), *p.Scope,
			networkingv1.IngressClassParametersReferenceScopeCluster, networkingv1.IngressClassParametersReferenceScopeNamespace)...)
	}
	return errs
}

func parametersCell(p *networkingv1.IngressClassParametersReference) string {
	if p == nil {
		return row.None
	}
	text := p.Kind
	if p.APIGroup != nil {
		text += "." + *p.APIGroup
	}
	return text + "/" + p.Name
}

func moreCell(n int) string { return fmt.Sprintf(" + %d more...", n) }
