package networking

import (
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

const classAnnotation = "kubernetes.io/ingress.class"

func ingresses() *registry.Resource {
	return &registry.Resource{
		Kind: kind("Ingress"), Name: "ingresses", Singular: "ingress", ShortNames: []string{"ing"}, Namespaced: true,
		Verbs: row.AllVerbs(), StoragePrefix: "ingress", New: row.New[networkingv1.Ingress], NewList: row.New[networkingv1.IngressList],
		Strategy: registry.Strategy{
			PrepareForCreate: registry.Prepare(func(i *networkingv1.Ingress) {
				i.Status = networkingv1.IngressStatus{}
				i.Generation = 1
			}),
			PrepareForUpdate: registry.PrepareUpdate(func(i, old *networkingv1.Ingress) {
				i.Status = old.Status
				row.NextGeneration(i, old, !row.Same(i.Spec, old.Spec))
			}),
			Validate: registry.Check(func(i *networkingv1.Ingress) field.ErrorList {
				return append(validateIngress(i), validateOneClass(i)...)
			}),
			ValidateUpdate: registry.CheckUpdate(func(i, _ *networkingv1.Ingress) field.ErrorList { return validateIngress(i) }),
		},
		Columns: ingressColumns(),
		Subresources: []registry.Subresource{row.Status(registry.Strategy{
			PrepareForUpdate: registry.PrepareUpdate(func(i, old *networkingv1.Ingress) { i.Spec = old.Spec }),
			ValidateUpdate:   registry.CheckUpdate(validateIngressStatus),
		})},
	}
}

// validateOneClass refuses a class named both ways, old and new, on create.
func validateOneClass(i *networkingv1.Ingress) field.ErrorList {
	class, annotated := i.Annotations[classAnnotation]
	if !annotated || i.Spec.IngressClassName == nil || class == *i.Spec.IngressClassName {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("annotations").Child(classAnnotation), class, "must match `ingressClassName` when both are specified")}
}

func validateIngress(i *networkingv1.Ingress) field.ErrorList {
	spec := field.NewPath("spec")
	var errs field.ErrorList
	if len(i.Spec.Rules) == 0 && i.Spec.DefaultBackend == nil {
		errs = append(errs, field.Invalid(spec, i.Spec.Rules, "either `defaultBackend` or `rules` must be specified"))
	}
	if b := i.Spec.DefaultBackend; b != nil {
		errs = append(errs, validateBackend(spec.Child("defaultBackend"), b)...)
	}
	for k := range i.Spec.Rules {
		errs = append(errs, validateIngressRule(spec.Child("rules").Index(k), &i.Spec.Rules[k])...)
	}
	for k, t := range i.Spec.TLS {
		at := spec.Child("tls").Index(k)
		for h, host := range t.Hosts {
			errs = append(errs, validateHost(at.Child("hosts").Index(h), host)...)
		}
		if t.SecretName != "" {
			errs = append(errs, rule.DNSSubdomain(at.Child("secretName"), t.SecretName)...)
		}
	}
	if c := i.Spec.IngressClassName; c != nil {
		errs = append(errs, rule.DNSSubdomain(spec.Child("ingressClassName"), *c)...)
	}
	return errs
}

func validateHost(at *field.Path, host string) field.ErrorList {
	if strings.Contains(host, "*") {
		return rule.Invalid(at, host, validation.IsWildcardDNS1123Subdomain(host))
	}
	return rule.DNSSubdomain(at, host)
}

func validateIngressRule(at *field.Path, r *networkingv1.IngressRule) field.ErrorList {
	var errs field.ErrorList
	if r.Host != "" {
		if validation.IsValidIP(at, r.Host) == nil {
			errs = append(errs, field.Invalid(at.Child("host"), r.Host, "must be a DNS name, not an IP address"))
		}
		errs = append(errs, validateHost(at.Child("host"), r.Host)...)
	}
	if r.HTTP == nil {
		return errs
	}
	paths := at.Child("http", "paths")
	if len(r.HTTP.Paths) == 0 {
		return append(errs, field.Required(paths, ""))
	}
	for i := range r.HTTP.Paths {
		errs = append(errs, validatePath(paths.Index(i), &r.HTTP.Paths[i])...)
	}
	return errs
}

var (
	badPathSequences = []string{"//", "/./", "/../", "%2f", "%2F"}
	badPathEndings   = []string{"/..", "/."}
)

func validatePath(at *field.Path, p *networkingv1.HTTPIngressPath) field.ErrorList {
	if p.PathType == nil {
		return append(field.ErrorList{field.Required(at.Child("pathType"), "pathType must be specified")}, validateBackend(at.Child("backend"), &p.Backend)...)
	}
	var errs field.ErrorList
	path := at.Child("path")
	absolute := func() {
		if !strings.HasPrefix(p.Path, "/") {
			errs = append(errs, field.Invalid(path, p.Path, "must be an absolute path"))
		}
	}
	switch *p.PathType {
	case networkingv1.PathTypeExact, networkingv1.PathTypePrefix:
		absolute()
		for _, s := range badPathSequences {
			if strings.Contains(p.Path, s) {
				errs = append(errs, field.Invalid(path, p.Path, "must not contain '"+s+"'"))
			}
		}
		for _, s := range badPathEndings {
			if strings.HasSuffix(p.Path, s) {
				errs = append(errs, field.Invalid(path, p.Path, "cannot end with '"+s+"'"))
			}
		}
	case networkingv1.PathTypeImplementationSpecific:
		if p.Path != "" {
			absolute()
		}
	default:
		errs = append(errs, rule.Supported(at.Child("pathType"), *p.PathType, networkingv1.PathTypeExact, networkingv1.PathTypePrefix, networkingv1.PathTypeImplementationSpecific)...)
	}
	return append(errs, validateBackend(at.Child("backend"), &p.Backend)...)
}

func validateBackend(at *field.Path, b *networkingv1.IngressBackend) field.ErrorList {
	switch {
	case b.Resource != nil && b.Service != nil:
		return field.ErrorList{field.Invalid(at, "", "cannot set both resource and service backends")}
	case b.Resource != nil:
		r := at.Child("resource")
		errs := rule.Required(r.Child("kind"), b.Resource.Kind)
		return append(errs, rule.Required(r.Child("name"), b.Resource.Name)...)
	case b.Service == nil:
		return field.ErrorList{field.Required(at.Child("name"), "")}
	}
	service, port := at.Child("service"), b.Service.Port
	var errs field.ErrorList
	if b.Service.Name == "" {
		errs = append(errs, field.Required(service.Child("name"), ""))
	} else {
		errs = append(errs, rule.Invalid(service.Child("name"), b.Service.Name, validation.IsDNS1035Label(b.Service.Name))...)
	}
	switch {
	case port.Name != "" && port.Number != 0:
		errs = append(errs, field.Invalid(at, "", "cannot set both port name & port number"))
	case port.Name != "":
		errs = append(errs, rule.Invalid(service.Child("port", "name"), port.Name, validation.IsValidPortName(port.Name))...)
	case port.Number != 0:
		errs = append(errs, rule.Port(service.Child("port", "number"), port.Number)...)
	default:
		errs = append(errs, field.Required(at, "port name or number is required"))
	}
	return errs
}

func validateIngressStatus(i, _ *networkingv1.Ingress) field.ErrorList {
	var errs field.ErrorList
	for k, in := range i.Status.LoadBalancer.Ingress {
		at := field.NewPath("status", "loadBalancer", "ingress").Index(k)
		if in.IP != "" {
			errs = append(errs, rule.IP(at.Child("ip"), in.IP)...)
		}
		if in.Hostname != "" {
			errs = append(errs, rule.DNSSubdomain(at.Child("hostname"), in.Hostname)...)
			if validation.IsValidIP(at, in.Hostname) == nil {
				errs = append(errs, field.Invalid(at.Child("hostname"), in.Hostname, "must be a DNS name, not an IP address"))
			}
		}
	}
	return errs
}

// shownHosts is how many hosts a table shows at most.
const shownHosts = 3

func ingressColumns() []registry.Column {
	return []registry.Column{
		row.NameColumn(),
		row.Text("Class", func(i *networkingv1.Ingress) any {
			if c := i.Spec.IngressClassName; c != nil {
				return *c
			}
			return row.Or(i.Annotations[classAnnotation])
		}),
		row.Text("Hosts", func(i *networkingv1.Ingress) any { return hostsCell(i) }),
		row.Text("Address", func(i *networkingv1.Ingress) any { return addressCell(i) }),
		row.Text("Ports", func(i *networkingv1.Ingress) any {
			if len(i.Spec.TLS) > 0 {
				return "80, 443"
			}
			return "80"
		}),
		row.AgeColumn(),
	}
}

func hostsCell(i *networkingv1.Ingress) string {
	var hosts []string
	more := 0
	for _, r := range i.Spec.Rules {
		if r.Host == "" {
			continue
		}
		if len(hosts) == shownHosts {
			more++
			continue
		}
		hosts = append(hosts, r.Host)
	}
	switch {
	case len(hosts) == 0:
		return "*"
	case more > 0:
		return strings.Join(hosts, ",") + moreCell(more)
	}
	return strings.Join(hosts, ",")
}

func addressCell(i *networkingv1.Ingress) string {
	addresses := sets.New[string]()
	for _, in := range i.Status.LoadBalancer.Ingress {
		switch {
		case in.IP != "":
			addresses.Insert(in.IP)
		case in.Hostname != "":
			addresses.Insert(in.Hostname)
		}
	}
	return strings.Join(sets.List(addresses), ",")
}
