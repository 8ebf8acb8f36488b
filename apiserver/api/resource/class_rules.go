package resource

import (
	"encoding/json"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
)

// validateClass checks a class; of an old one what stays as it is may stay.
func validateClass(c, old *resourcev1.DeviceClass) field.ErrorList {
	path, spec := field.NewPath("spec"), &c.Spec
	var errs field.ErrorList
	if old == nil || !row.Same(spec.Selectors, old.Spec.Selectors) {
		errs = append(errs, validateSelectors(path.Child("selectors"), spec.Selectors)...)
	}
	errs = append(errs, rule.MaxItems(path.Child("config"), len(spec.Config), resourcev1.DeviceConfigMaxSize)...)
	for i := range spec.Config {
		errs = append(errs, validateConfiguration(path.Child("config").Index(i), &spec.Config[i].DeviceConfiguration)...)
	}
	if name := spec.ExtendedResourceName; name != nil {
		errs = append(errs, validateExtendedName(path.Child("extendedResourceName"), *name)...)
	}
	return errs
}

// validateExtendedName wants a resource name with a domain that is not
// Kubernetes' own.
func validateExtendedName(path *field.Path, name string) field.ErrorList {
	const message = "must be a valid extended resource name"
	if !isExtended(name) {
		return field.ErrorList{field.Invalid(path, name, message)}
	}
	return rule.QualifiedName(path, "requests."+name)
}

func validateSelectors(path *field.Path, selectors []resourcev1.DeviceSelector) field.ErrorList {
	errs := rule.MaxItems(path, len(selectors), resourcev1.DeviceSelectorsMaxSize)
	for i, s := range selectors {
		at := path.Index(i).Child("cel")
		if s.CEL == nil {
			errs = append(errs, field.Required(at, ""))
			continue
		}
		expression := at.Child("expression")
		switch {
		case s.CEL.Expression == "":
			errs = append(errs, field.Required(expression, ""))
		case len(s.CEL.Expression) > resourcev1.CELSelectorExpressionMaxLength:
			errs = append(errs, field.TooLong(expression, "", resourcev1.CELSelectorExpressionMaxLength))
		default:
			if problem := compile(s.CEL.Expression); problem != "" {
				errs = append(errs, field.Invalid(expression, s.CEL.Expression, problem))
			}
		}
	}
	return errs
}

func validateConfiguration(path *field.Path, c *resourcev1.DeviceConfiguration) field.ErrorList {
	opaque := path.Child("opaque")
	if c.Opaque == nil {
		return field.ErrorList{field.Required(opaque, "")}
	}
	errs := validateDriver(opaque.Child("driver"), c.Opaque.Driver)
	return append(errs, validateRaw(opaque.Child("parameters"), &c.Opaque.Parameters, resourcev1.OpaqueParametersMaxLength)...)
}

// validateRaw wants a JSON object of limited size.
func validateRaw(path *field.Path, raw *runtime.RawExtension, most int) field.ErrorList {
	var object map[string]any
	switch {
	case len(raw.Raw) == 0:
		return field.ErrorList{field.Required(path, "")}
	case len(raw.Raw) > most:
		return field.ErrorList{field.TooLong(path, "", most)}
	}
	if err := json.Unmarshal(raw.Raw, &object); err != nil {
		return field.ErrorList{field.Invalid(path, "<value omitted>", "error parsing data as JSON: "+err.Error())}
	}
	if object == nil {
		return field.ErrorList{field.Invalid(path, "<value omitted>", "must be a valid JSON object")}
	}
	return nil
}

func validateDriver(path *field.Path, name string) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	errs := rule.MaxLength(path, name, resourcev1.DriverNameMaxLength)
	return append(errs, rule.Invalid(path, name, validation.IsDNS1123Subdomain(strings.ToLower(name)))...)
}
