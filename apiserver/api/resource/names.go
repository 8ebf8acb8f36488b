package resource

import (
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

// validatePool wants subdomains joined by slashes.
func validatePool(path *field.Path, name string) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	errs := rule.MaxLength(path, name, resourcev1.PoolNameMaxLength)
	for part := range strings.SplitSeq(name, "/") {
		errs = append(errs, rule.DNSSubdomain(path, part)...)
	}
	return errs
}

// validateQualifiedName wants an identifier, with or without a domain.
func validateQualifiedName(path *field.Path, name string) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "name required")}
	}
	domain, id, qualified := strings.Cut(name, "/")
	if !qualified {
		return validateIdentifier(path, name)
	}
	var errs field.ErrorList
	if domain == "" {
		errs = append(errs, field.Required(path, "the domain must not be empty"))
	} else {
		errs = append(errs, rule.MaxLength(path, domain, resourcev1.DeviceMaxDomainLength)...)
		errs = append(errs, rule.DNSSubdomain(path, domain)...)
	}
	if id == "" {
		return append(errs, field.Required(path, "the name must not be empty"))
	}
	return append(errs, validateIdentifier(path, id)...)
}

// validateFullyQualifiedName wants an identifier with its domain.
func validateFullyQualifiedName(path *field.Path, name string) field.ErrorList {
	errs := validateQualifiedName(path, name)
	if len(errs) == 0 && !strings.Contains(name, "/") {
		errs = append(errs, field.Invalid(path, name, "must include a domain"))
	}
	return errs
}

func validateIdentifier(path *field.Path, id string) field.ErrorList {
	errs := rule.MaxLength(path, id, resourcev1.DeviceMaxIDLength)
	return append(errs, rule.Invalid(path, id, validation.IsCIdentifier(id))...)
}

// isExtended reports whether a resource has a domain that is not Kubernetes'.
func isExtended(name string) bool {
	domain, _, found := strings.Cut(name, "/")
	return found && domain != "kubernetes.io" && !strings.HasSuffix(domain, ".kubernetes.io") && !strings.HasPrefix(name, "requests.")
}
