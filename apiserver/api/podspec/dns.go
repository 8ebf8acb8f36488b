package podspec

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

// What a resolver's configuration can hold.
const (
	maxNameservers      = 3
	maxSearchPaths      = 32
	maxSearchCharacters = 2048
)

func validateDNS(path *field.Path, s *corev1.PodSpec) field.ErrorList {
	errs := rule.OneOf(path.Child("dnsPolicy"), s.DNSPolicy,
		corev1.DNSClusterFirstWithHostNet, corev1.DNSClusterFirst, corev1.DNSDefault, corev1.DNSNone)
	errs = append(errs, validateDNSConfig(path.Child("dnsConfig"), s)...)
	return append(errs, validateHostAliases(path.Child("hostAliases"), s.HostAliases)...)
}

func validateDNSConfig(path *field.Path, s *corev1.PodSpec) field.ErrorList {
	c := s.DNSConfig
	if s.DNSPolicy == corev1.DNSNone {
		if c == nil {
			return field.ErrorList{field.Required(path, fmt.Sprintf("must provide `dnsConfig` when `dnsPolicy` is %s", corev1.DNSNone))}
		}
		if len(c.Nameservers) == 0 {
			return field.ErrorList{field.Required(path.Child("nameservers"), fmt.Sprintf("must provide at least one DNS nameserver when `dnsPolicy` is %s", corev1.DNSNone))}
		}
	}
	if c == nil {
		return nil
	}
	var errs field.ErrorList
	if len(c.Nameservers) > maxNameservers {
		errs = append(errs, field.Invalid(path.Child("nameservers"), c.Nameservers, fmt.Sprintf("must not have more than %v nameservers", maxNameservers)))
	}
	for i, ns := range c.Nameservers {
		errs = append(errs, rule.IP(path.Child("nameservers").Index(i), ns)...)
	}
	errs = append(errs, validateSearches(path.Child("searches"), c.Searches)...)
	for i, o := range c.Options {
		errs = append(errs, rule.Required(path.Child("options").Index(i), o.Name)...)
	}
	return errs
}

func validateSearches(path *field.Path, searches []string) field.ErrorList {
	var errs field.ErrorList
	if len(searches) > maxSearchPaths {
		errs = append(errs, field.Invalid(path, searches, fmt.Sprintf("must not have more than %v search paths", maxSearchPaths)))
	}
	if len(strings.Join(searches, " ")) > maxSearchCharacters {
		errs = append(errs, field.Invalid(path, searches, fmt.Sprintf("must not have more than %v characters (including spaces) in the search list", maxSearchCharacters)))
	}
	for i, s := range searches {
		if s == "." {
			continue
		}
		s = strings.TrimSuffix(s, ".")
		errs = append(errs, rule.Invalid(path.Index(i), s, validation.IsDNS1123SubdomainWithUnderscore(s))...)
	}
	return errs
}

func validateHostAliases(path *field.Path, aliases []corev1.HostAlias) field.ErrorList {
	var errs field.ErrorList
	for i, a := range aliases {
		errs = append(errs, rule.IP(path.Index(i).Child("ip"), a.IP)...)
		for j, name := range a.Hostnames {
			errs = append(errs, rule.DNSSubdomain(path.Index(i).Child("hostnames").Index(j), name)...)
		}
	}
	return errs
}
