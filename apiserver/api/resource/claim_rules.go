package resource

import (
	"fmt"

	resourcev1 "k8s.io/api/resource/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

func validateTemplate(t *resourcev1.ResourceClaimTemplate) field.ErrorList {
	spec := field.NewPath("spec")
	errs := apivalidation.ValidateAnnotations(t.Spec.Annotations, spec.Child("metadata", "annotations"))
	return append(errs, validateClaimSpec(spec.Child("spec"), &t.Spec.Spec)...)
}

func validateClaimSpec(path *field.Path, s *resourcev1.ResourceClaimSpec) field.ErrorList {
	devices := path.Child("devices")
	errs := rule.MaxItems(devices.Child("requests"), len(s.Devices.Requests), resourcev1.DeviceRequestsMaxSize)
	names := sets.New[string]()
	for i := range s.Devices.Requests {
		errs = append(errs, validateRequest(devices.Child("requests").Index(i), &s.Devices.Requests[i], names)...)
	}
	errs = append(errs, rule.MaxItems(devices.Child("constraints"), len(s.Devices.Constraints), resourcev1.DeviceConstraintsMaxSize)...)
	for i := range s.Devices.Constraints {
		errs = append(errs, validateConstraint(devices.Child("constraints").Index(i), &s.Devices.Constraints[i], names)...)
	}
	errs = append(errs, rule.MaxItems(devices.Child("config"), len(s.Devices.Config), resourcev1.DeviceConfigMaxSize)...)
	for i := range s.Devices.Config {
		at, c := devices.Child("config").Index(i), &s.Devices.Config[i]
		errs = append(errs, validateRequestNames(at.Child("requests"), c.Requests, names)...)
		errs = append(errs, validateConfiguration(at, &c.DeviceConfiguration)...)
	}
	return errs
}

// validateRequest adds the names by which the request may be referred to.
func validateRequest(path *field.Path, r *resourcev1.DeviceRequest, names sets.Set[string]) field.ErrorList {
	errs := uniqueName(path.Child("name"), r.Name, names)
	switch {
	case r.Exactly != nil && len(r.FirstAvailable) > 0:
		errs = append(errs, field.Invalid(path, nil, "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"))
	case r.Exactly == nil && len(r.FirstAvailable) == 0:
		errs = append(errs, field.Required(path, "exactly one of `exactly` or `firstAvailable` is required"))
	}
	if e := r.Exactly; e != nil {
		errs = append(errs, validateDeviceRequest(path.Child("exactly"), deviceRequest{
			e.DeviceClassName, e.Selectors, e.AllocationMode, e.Count, e.Tolerations, e.Capacity, e.DerivedAttributes,
		})...)
	}
	first := path.Child("firstAvailable")
	errs = append(errs, rule.MaxItems(first, len(r.FirstAvailable), resourcev1.FirstAvailableDeviceRequestMaxSize)...)
	below := sets.New[string]()
	for i := range r.FirstAvailable {
		sub := &r.FirstAvailable[i]
		errs = append(errs, uniqueName(first.Index(i).Child("name"), sub.Name, below)...)
		names.Insert(r.Name + "/" + sub.Name)
		errs = append(errs, validateDeviceRequest(first.Index(i), deviceRequest{
			sub.DeviceClassName, sub.Selectors, sub.AllocationMode, sub.Count, sub.Tolerations, sub.Capacity, sub.DerivedAttributes,
		})...)
	}
	return errs
}

func uniqueName(path *field.Path, name string, names sets.Set[string]) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	errs := rule.DNSLabel(path, name)
	if names.Has(name) {
		errs = append(errs, field.Duplicate(path, name))
	}
	names.Insert(name)
	return errs
}

// deviceRequest is what exact requests and alternatives have in common.
type deviceRequest struct {
	class       string
	selectors   []resourcev1.DeviceSelector
	mode        resourcev1.DeviceAllocationMode
	count       int64
	tolerations []resourcev1.DeviceToleration
	capacity    *resourcev1.CapacityRequirements
	derived     []resourcev1.DeviceDerivedAttribute
}

func validateDeviceRequest(path *field.Path, r deviceRequest) field.ErrorList {
	var errs field.ErrorList
	if class := path.Child("deviceClassName"); r.class == "" {
		errs = append(errs, field.Required(class, ""))
	} else {
		errs = append(errs, rule.DNSSubdomain(class, r.class)...)
	}
	errs = append(errs, validateSelectors(path.Child("selectors"), r.selectors)...)
	count := path.Child("count")
	switch r.mode {
	case resourcev1.DeviceAllocationModeAll:
		if r.count != 0 {
			errs = append(errs, field.Invalid(count, r.count, fmt.Sprintf("must not be specified when allocationMode is '%s'", r.mode)))
		}
	case resourcev1.DeviceAllocationModeExactCount:
		if r.count <= 0 {
			errs = append(errs, field.Invalid(count, r.count, "must be greater than zero"))
		}
	default:
		errs = append(errs, rule.Supported(path.Child("allocationMode"), r.mode, resourcev1.DeviceAllocationModeAll, resourcev1.DeviceAllocationModeExactCount)...)
	}
	errs = append(errs, rule.MaxItems(path.Child("tolerations"), len(r.tolerations), resourcev1.DeviceTolerationsMaxLength)...)
	for i := range r.tolerations {
		errs = append(errs, validateToleration(path.Child("tolerations").Index(i), &r.tolerations[i])...)
	}
	if r.capacity != nil {
		for name, amount := range r.capacity.Requests {
			at := path.Child("capacity", "requests").Key(string(name))
			errs = append(errs, validateQualifiedName(at, string(name))...)
			errs = append(errs, rule.Quantity(at, amount)...)
		}
	}
	if len(r.derived) > 0 {
		errs = append(errs, field.Forbidden(path.Child("derivedAttributes"), "derived attributes are an alpha feature that is off"))
	}
	return errs
}

func validateToleration(path *field.Path, t *resourcev1.DeviceToleration) field.ErrorList {
	var errs field.ErrorList
	if t.Key != "" {
		errs = append(errs, rule.QualifiedName(path.Child("key"), t.Key)...)
	}
	switch t.Operator {
	case resourcev1.DeviceTolerationOpExists:
		if t.Value != "" {
			errs = append(errs, field.Invalid(path.Child("value"), t.Value, "must be empty for operator `Exists`"))
		}
	case resourcev1.DeviceTolerationOpEqual:
		if t.Key == "" {
			errs = append(errs, field.Required(path.Child("key"), "must not be empty for operator `Equal`"))
		}
		errs = append(errs, rule.Invalid(path.Child("value"), t.Value, validation.IsValidLabelValue(t.Value))...)
	default:
		errs = append(errs, rule.Supported(path.Child("operator"), t.Operator, resourcev1.DeviceTolerationOpExists, resourcev1.DeviceTolerationOpEqual)...)
	}
	if t.Effect != "" {
		errs = append(errs, rule.Supported(path.Child("effect"), t.Effect, taintEffects...)...)
	}
	return errs
}

func validateConstraint(path *field.Path, c *resourcev1.DeviceConstraint, names sets.Set[string]) field.ErrorList {
	errs := validateRequestNames(path.Child("requests"), c.Requests, names)
	switch {
	case c.MatchAttribute == nil && c.DistinctAttribute == nil:
		errs = append(errs, field.Required(path, "exactly one of `matchAttribute` or `distinctAttribute` is required"))
	case c.MatchAttribute != nil && c.DistinctAttribute != nil:
		errs = append(errs, field.Invalid(path, nil, "exactly one of `matchAttribute` or `distinctAttribute` is required, but multiple fields are set"))
	}
	for name, value := range map[string]*resourcev1.FullyQualifiedName{"matchAttribute": c.MatchAttribute, "distinctAttribute": c.DistinctAttribute} {
		if value != nil {
			errs = append(errs, validateFullyQualifiedName(path.Child(name), string(*value))...)
		}
	}
	return errs
}

// validateRequestNames wants the names of requests, or of requests and their
// alternatives, each once.
func validateRequestNames(path *field.Path, requests []string, names sets.Set[string]) field.ErrorList {
	errs := rule.MaxItems(path, len(requests), resourcev1.DeviceRequestsMaxSize)
	seen := sets.New[string]()
	for i, name := range requests {
		if seen.Has(name) {
			errs = append(errs, field.Duplicate(path.Index(i), name))
		} else if !names.Has(name) {
			errs = append(errs, field.Invalid(path.Index(i), name,
				"must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"))
		}
		seen.Insert(name)
	}
	return errs
}
