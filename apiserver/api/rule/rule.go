// Package rule holds the small validations that many kinds share, with the
// wording Kubernetes uses. It knows no kind.
package rule

import (
	"fmt"
	"slices"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
)

// NotPositive is the message for a number that must be above zero.
const NotPositive = "must be greater than 0"

// Invalid turns messages of the k8s validation functions into errors.
func Invalid(path *field.Path, value any, messages []string) field.ErrorList {
	var errs field.ErrorList
	for _, m := range messages {
		errs = append(errs, field.Invalid(path, value, m))
	}
	return errs
}

// NonNegative refuses numbers below zero.
func NonNegative[N ~int32 | ~int64](path *field.Path, n N) field.ErrorList {
	return apivalidation.ValidateNonnegativeField(int64(n), path)
}

// NonNegativePtr refuses numbers below zero where there is one.
func NonNegativePtr[N ~int32 | ~int64](path *field.Path, n *N) field.ErrorList {
	if n == nil {
		return nil
	}
	return NonNegative(path, *n)
}

// Positive refuses zero and what is below.
func Positive[N ~int32 | ~int64](path *field.Path, n N) field.ErrorList {
	if n > 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, n, NotPositive)}
}

// Between refuses numbers outside of an inclusive range.
func Between[N ~int32 | ~int64](path *field.Path, n, low, high N) field.ErrorList {
	if n >= low && n <= high {
		return nil
	}
	return field.ErrorList{field.Invalid(path, n, validation.InclusiveRangeError(int(low), int(high)))}
}

// OneOf wants one of the allowed values; empty is missing.
func OneOf[S ~string](path *field.Path, value S, allowed ...S) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return Supported(path, value, allowed...)
}

// Supported wants one of the allowed values, and reports empty as any other.
func Supported[S ~string](path *field.Path, value S, allowed ...S) field.ErrorList {
	if slices.Contains(allowed, value) {
		return nil
	}
	valid := slices.Sorted(slices.Values(allowed))
	return field.ErrorList{field.NotSupported(path, value, valid)}
}

// OptionalOneOf is OneOf for a pointer; nil is fine.
func OptionalOneOf[S ~string](path *field.Path, value *S, allowed ...S) field.ErrorList {
	if value == nil {
		return nil
	}
	return Supported(path, *value, allowed...)
}

// Required wants a value that is not the zero value.
func Required[T comparable](path *field.Path, value T) field.ErrorList {
	var zero T
	if value != zero {
		return nil
	}
	return field.ErrorList{field.Required(path, "")}
}

// Immutable refuses any change.
func Immutable(path *field.Path, value, old any) field.ErrorList {
	if apiequality.Semantic.DeepEqual(value, old) {
		return nil
	}
	return field.ErrorList{field.Invalid(path, value, apivalidation.FieldImmutableErrorMsg)}
}

// DNSLabel wants an RFC 1123 label.
func DNSLabel(path *field.Path, value string) field.ErrorList {
	return Invalid(path, value, validation.IsDNS1123Label(value))
}

// DNSSubdomain wants an RFC 1123 subdomain.
func DNSSubdomain(path *field.Path, value string) field.ErrorList {
	return Invalid(path, value, validation.IsDNS1123Subdomain(value))
}

// QualifiedName wants what a label key may be.
func QualifiedName(path *field.Path, value string) field.ErrorList {
	return Invalid(path, value, validation.IsQualifiedName(value))
}

// Port wants a port number.
func Port(path *field.Path, port int32) field.ErrorList {
	return Invalid(path, int(port), validation.IsValidPortNum(int(port)))
}

// IP wants an address; forms that parsers disagree on are refused unless old
// already had them.
func IP(path *field.Path, value string, old ...string) field.ErrorList {
	return validation.IsValidIPForLegacyField(path, value, true, old)
}

// CIDR wants a network; forms that parsers disagree on are refused unless old
// already had them.
func CIDR(path *field.Path, value string, old ...string) field.ErrorList {
	return validation.IsValidCIDRForLegacyField(path, value, true, old)
}

// Selector checks a label selector.
func Selector(path *field.Path, s *metav1.LabelSelector) field.ErrorList {
	return metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, path)
}

// SelectorRatcheted checks a label selector, with leave for label values that
// old already had wrong.
func SelectorRatcheted(path *field.Path, s, old *metav1.LabelSelector) field.ErrorList {
	options := metavalidation.LabelSelectorValidationOptions{
		AllowInvalidLabelValueInSelector: old != nil && metavalidation.LabelSelectorHasInvalidLabelValue(old),
	}
	return metavalidation.ValidateLabelSelector(s, options, path)
}

// MaxLength refuses strings of more bytes.
func MaxLength(path *field.Path, value string, most int) field.ErrorList {
	if len(value) <= most {
		return nil
	}
	return field.ErrorList{field.TooLong(path, value, most)}
}

// MaxItems refuses longer lists.
func MaxItems(path *field.Path, n, most int) field.ErrorList {
	if n <= most {
		return nil
	}
	return field.ErrorList{field.TooMany(path, n, most)}
}

// MustEqual is the message that a value has to be another field's.
func MustEqual(other string) string { return fmt.Sprintf("must be equal to %s", other) }
