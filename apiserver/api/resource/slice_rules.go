package resource

import (
	"fmt"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/version"

	corev1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
)

var taintEffects = []resourcev1.DeviceTaintEffect{
	resourcev1.DeviceTaintEffectNone, resourcev1.DeviceTaintEffectNoSchedule, resourcev1.DeviceTaintEffectNoExecute,
}

func validateSlice(s *resourcev1.ResourceSlice) field.ErrorList {
	path, spec := field.NewPath("spec"), &s.Spec
	errs := validateDriver(path.Child("driver"), spec.Driver)
	pool := path.Child("pool")
	errs = append(errs, validatePool(pool.Child("name"), spec.Pool.Name)...)
	if n := spec.Pool.ResourceSliceCount; n <= 0 {
		errs = append(errs, field.Invalid(pool.Child("resourceSliceCount"), n, "must be greater than zero"))
	}
	if n := spec.Pool.Generation; n < 0 {
		errs = append(errs, field.Invalid(pool.Child("generation"), n, "must be greater than or equal to zero"))
	}
	errs = append(errs, validatePlaces(path, spec)...)
	counters := sets.New[string]()
	errs = append(errs, rule.MaxItems(path.Child("sharedCounters"), len(spec.SharedCounters), resourcev1.ResourceSliceMaxCounterSets)...)
	for i, set := range spec.SharedCounters {
		at := path.Child("sharedCounters").Index(i)
		errs = append(errs, uniqueName(at.Child("name"), set.Name, counters)...)
		errs = append(errs, validateCounters(at.Child("counters"), set.Counters)...)
	}
	if len(spec.SharedCounters) > 0 && len(spec.Devices) > 0 {
		errs = append(errs, field.Invalid(path, nil, "only one of `sharedCounters` or `devices` is allowed"))
	}
	errs = append(errs, validateDevices(path.Child("devices"), spec)...)
	if spec.PartitionTypeAttribute != nil {
		errs = append(errs, field.Forbidden(path.Child("partitionTypeAttribute"), "partition types are an alpha feature that is off"))
	}
	return append(errs, validateSkips(path.Child("skipNodeOperations"), spec.SkipNodeOperations)...)
}

func validateSkips(path *field.Path, skips []resourcev1.SkipNodeOperation) field.ErrorList {
	var errs field.ErrorList
	for i, skip := range skips {
		errs = append(errs, rule.Supported(path.Index(i), skip, resourcev1.SkipNodeOperationAll,
			resourcev1.SkipNodeOperationNodePrepareResources, resourcev1.SkipNodeOperationNodeUnprepareResources)...)
	}
	return errs
}

// place is where devices are: on a node, on some, on all.
type place struct {
	node     *string
	selector *corev1.NodeSelector
	all      *bool
}

// validate returns the names of the fields that are set.
func (p place) validate(path *field.Path) (set []string, errs field.ErrorList) {
	if p.node != nil {
		set = append(set, "`nodeName`")
		errs = append(errs, rule.DNSSubdomain(path.Child("nodeName"), *p.node)...)
	}
	if p.selector != nil {
		set = append(set, "`nodeSelector`")
		errs = append(errs, podspec.ValidateNodeSelector(path.Child("nodeSelector"), p.selector)...)
		if len(p.selector.NodeSelectorTerms) != 1 {
			errs = append(errs, field.Invalid(path.Child("nodeSelector", "nodeSelectorTerms"), p.selector.NodeSelectorTerms, "must have exactly one node selector term"))
		}
	}
	if p.all != nil {
		if *p.all {
			set = append(set, "`allNodes`")
		} else {
			errs = append(errs, field.Invalid(path.Child("allNodes"), false, "must be either unset or set to true"))
		}
	}
	return set, errs
}

func validatePlaces(path *field.Path, spec *resourcev1.ResourceSliceSpec) field.ErrorList {
	set, errs := place{spec.NodeName, spec.NodeSelector, spec.AllNodes}.validate(path)
	if p := spec.PerDeviceNodeSelection; p != nil {
		if *p {
			set = append(set, "`perDeviceNodeSelection`")
		} else {
			errs = append(errs, field.Invalid(path.Child("perDeviceNodeSelection"), false, "must be either unset or set to true"))
		}
	}
	const names = "`nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection`"
	switch {
	case len(set) == 0 && len(spec.SharedCounters) == 0:
		errs = append(errs, field.Required(path, "exactly one of "+names+" is required"))
	case len(set) > 1:
		errs = append(errs, field.Invalid(path, fmt.Sprint(set), "exactly one of "+names+" is required, but multiple fields are set"))
	}
	return errs
}

func validateDevices(path *field.Path, spec *resourcev1.ResourceSliceSpec) field.ErrorList {
	most := resourcev1.ResourceSliceMaxDevices
	for i := range spec.Devices {
		if len(spec.Devices[i].Taints) > 0 || len(spec.Devices[i].ConsumesCounters) > 0 {
			most = resourcev1.ResourceSliceMaxDevicesWithAdvancedFeatures
		}
	}
	errs := rule.MaxItems(path, len(spec.Devices), most)
	names := sets.New[string]()
	for i := range spec.Devices {
		at, d := path.Index(i), &spec.Devices[i]
		errs = append(errs, uniqueName(at.Child("name"), d.Name, names)...)
		errs = append(errs, validateDevice(at, d, row.Pointed(spec.PerDeviceNodeSelection))...)
	}
	return errs
}

func validateDevice(path *field.Path, d *resourcev1.Device, placed bool) field.ErrorList {
	errs := validateAttributes(path, d)
	errs = append(errs, rule.MaxItems(path.Child("taints"), len(d.Taints), resourcev1.DeviceTaintsMaxLength)...)
	for i := range d.Taints {
		errs = append(errs, validateTaint(path.Child("taints").Index(i), &d.Taints[i])...)
	}
	errs = append(errs, rule.MaxItems(path.Child("consumesCounters"), len(d.ConsumesCounters), resourcev1.ResourceSliceMaxDeviceCounterConsumptionsPerDevice)...)
	seen := sets.New[string]()
	for i, c := range d.ConsumesCounters {
		at := path.Child("consumesCounters").Index(i)
		errs = append(errs, uniqueName(at.Child("counterSet"), c.CounterSet, seen)...)
		errs = append(errs, validateCounters(at.Child("counters"), c.Counters)...)
	}
	set, problems := place{d.NodeName, d.NodeSelector, d.AllNodes}.validate(path)
	errs = append(errs, problems...)
	const names = "`nodeName`, `nodeSelector`, or `allNodes`"
	switch {
	case placed && len(set) == 0:
		errs = append(errs, field.Required(path, "exactly one of "+names+" is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec"))
	case placed && len(set) > 1:
		errs = append(errs, field.Invalid(path, fmt.Sprint(set), "exactly one of "+names+" is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec"))
	case !placed && len(set) > 0:
		errs = append(errs, field.Invalid(path, fmt.Sprint(set), names+" can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec"))
	}
	errs = append(errs, validateBinding(path.Child("bindingConditions"), d.BindingConditions, resourcev1.BindingConditionsMaxSize)...)
	return append(errs, validateBinding(path.Child("bindingFailureConditions"), d.BindingFailureConditions, resourcev1.BindingFailureConditionsMaxSize)...)
}

func validateBinding(path *field.Path, conditions []string, most int) field.ErrorList {
	errs := rule.MaxItems(path, len(conditions), most)
	for i, c := range conditions {
		errs = append(errs, rule.QualifiedName(path.Index(i), c)...)
	}
	return errs
}

func validateCounters(path *field.Path, counters map[string]resourcev1.Counter) field.ErrorList {
	if len(counters) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	errs := rule.MaxItems(path, len(counters), resourcev1.ResourceSliceMaxCountersPerCounterSet)
	for name := range counters {
		errs = append(errs, rule.DNSLabel(path.Key(name), name)...)
	}
	return errs
}

// validateAttributes checks what a device says of itself.
func validateAttributes(path *field.Path, d *resourcev1.Device) field.ErrorList {
	var errs field.ErrorList
	if n := len(d.Attributes) + len(d.Capacity); n > resourcev1.ResourceSliceMaxAttributesAndCapacitiesPerDevice {
		errs = append(errs, field.Invalid(path, n, fmt.Sprintf("the total number of attributes and capacities must not exceed %d", resourcev1.ResourceSliceMaxAttributesAndCapacitiesPerDevice)))
	}
	for name, value := range d.Attributes {
		at := path.Child("attributes").Key(string(name))
		errs = append(errs, validateQualifiedName(at, string(name))...)
		errs = append(errs, validateAttribute(at, value)...)
	}
	for name, c := range d.Capacity {
		at := path.Child("capacity").Key(string(name))
		errs = append(errs, validateQualifiedName(at, string(name))...)
		if c.RequestPolicy != nil && !row.Pointed(d.AllowMultipleAllocations) {
			errs = append(errs, field.Forbidden(at.Child("requestPolicy"), "allowMultipleAllocations must be true"))
		}
	}
	return errs
}

func validateAttribute(path *field.Path, a resourcev1.DeviceAttribute) field.ErrorList {
	var errs field.ErrorList
	set := 0
	count := func(there bool) {
		if there {
			set++
		}
	}
	count(a.IntValue != nil)
	count(a.BoolValue != nil)
	count(len(a.IntValues) > 0)
	count(len(a.BoolValues) > 0)
	count(a.StringValue != nil)
	count(len(a.StringValues) > 0)
	count(a.VersionValue != nil)
	count(len(a.VersionValues) > 0)
	for name, values := range map[string][]string{"string": listOf(a.StringValue), "strings": a.StringValues, "version": listOf(a.VersionValue), "versions": a.VersionValues} {
		for _, v := range values {
			errs = append(errs, rule.MaxLength(path.Child(name), v, resourcev1.DeviceAttributeMaxValueLength)...)
			if name == "version" || name == "versions" {
				if _, err := version.ParseSemantic(v); err != nil {
					errs = append(errs, field.Invalid(path.Child(name), v, "must be a string compatible with semver.org spec 2.0.0"))
				}
			}
		}
	}
	switch {
	case set == 0:
		errs = append(errs, field.Required(path, "exactly one value must be specified"))
	case set > 1:
		errs = append(errs, field.Invalid(path, a, "exactly one value must be specified"))
	}
	return errs
}

func listOf(s *string) []string {
	if s == nil {
		return nil
	}
	return []string{*s}
}

func validateTaint(path *field.Path, t *resourcev1.DeviceTaint) field.ErrorList {
	errs := rule.QualifiedName(path.Child("key"), t.Key)
	errs = append(errs, rule.Invalid(path.Child("value"), t.Value, validation.IsValidLabelValue(t.Value))...)
	return append(errs, rule.OneOf(path.Child("effect"), t.Effect, taintEffects...)...)
}

func validateSliceUpdate(s, old *resourcev1.ResourceSlice) field.ErrorList {
	spec := field.NewPath("spec")
	errs := rule.Immutable(spec.Child("driver"), s.Spec.Driver, old.Spec.Driver)
	errs = append(errs, rule.Immutable(spec.Child("pool", "name"), s.Spec.Pool.Name, old.Spec.Pool.Name)...)
	errs = append(errs, rule.Immutable(spec.Child("nodeName"), s.Spec.NodeName, old.Spec.NodeName)...)
	return append(validateSlice(s), errs...)
}
