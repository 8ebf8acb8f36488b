package resource

import (
	"net"

	resourcev1 "k8s.io/api/resource/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
)

func validateClaimStatus(c, old *resourcev1.ResourceClaim) field.ErrorList {
	path, status := field.NewPath("status"), &c.Status
	errs := validateReservations(path.Child("reservedFor"), c, old)
	if status.Allocation != nil {
		if old.Status.Allocation != nil {
			errs = append(errs, rule.Immutable(path.Child("allocation"), status.Allocation, old.Status.Allocation)...)
		} else {
			errs = append(errs, validateAllocation(path.Child("allocation"), c)...)
		}
	}
	return append(errs, validateDeviceStatuses(path.Child("devices"), status)...)
}

// validateReservations: only what is allocated is reserved, and nobody new may
// come while the claim goes.
func validateReservations(path *field.Path, c, old *resourcev1.ResourceClaim) field.ErrorList {
	s := &c.Status
	errs := rule.MaxItems(path, len(s.ReservedFor), resourcev1.ResourceClaimReservedForMaxSize)
	seen := sets.New[types.UID]()
	for i, r := range s.ReservedFor {
		at := path.Index(i)
		errs = append(errs, rule.Required(at.Child("resource"), r.Resource)...)
		errs = append(errs, rule.Required(at.Child("name"), r.Name)...)
		errs = append(errs, rule.Required(at.Child("uid"), r.UID)...)
		if seen.Has(r.UID) {
			errs = append(errs, field.Duplicate(at, r.UID))
		}
		seen.Insert(r.UID)
	}
	if len(s.ReservedFor) == 0 {
		return errs
	}
	if s.Allocation == nil {
		return append(errs, field.Forbidden(path, "may not be specified when `allocated` is not set"))
	}
	if c.DeletionTimestamp != nil {
		before := sets.New[types.UID]()
		for _, r := range old.Status.ReservedFor {
			before.Insert(r.UID)
		}
		if !before.IsSuperset(seen) {
			errs = append(errs, field.Forbidden(path, "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"))
		}
	}
	return errs
}

func validateAllocation(path *field.Path, c *resourcev1.ResourceClaim) field.ErrorList {
	a, names := c.Status.Allocation, requestNames(&c.Spec)
	results := path.Child("devices", "results")
	errs := rule.MaxItems(results, len(a.Devices.Results), resourcev1.AllocationResultsMaxSize)
	for i := range a.Devices.Results {
		at, r := results.Index(i), &a.Devices.Results[i]
		if !names.Has(r.Request) {
			errs = append(errs, field.Invalid(at.Child("request"), r.Request,
				"must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"))
		}
		errs = append(errs, validateDriver(at.Child("driver"), r.Driver)...)
		errs = append(errs, validatePool(at.Child("pool"), r.Pool)...)
		errs = append(errs, rule.DNSLabel(at.Child("device"), r.Device)...)
		errs = append(errs, validateBinding(at.Child("bindingConditions"), r.BindingConditions, resourcev1.BindingConditionsMaxSize)...)
		errs = append(errs, validateBinding(at.Child("bindingFailureConditions"), r.BindingFailureConditions, resourcev1.BindingFailureConditionsMaxSize)...)
		errs = append(errs, validateSkips(at.Child("skipNodeOperations"), r.SkipNodeOperations)...)
	}
	config := path.Child("devices", "config")
	errs = append(errs, rule.MaxItems(config, len(a.Devices.Config), 2*resourcev1.DeviceConfigMaxSize)...)
	for i := range a.Devices.Config {
		at, entry := config.Index(i), &a.Devices.Config[i]
		errs = append(errs, rule.OneOf(at.Child("source"), entry.Source, resourcev1.AllocationConfigSourceClass, resourcev1.AllocationConfigSourceClaim)...)
		errs = append(errs, validateRequestNames(at.Child("requests"), entry.Requests, names)...)
		errs = append(errs, validateConfiguration(at, &entry.DeviceConfiguration)...)
	}
	if a.NodeSelector != nil {
		errs = append(errs, podspec.ValidateNodeSelector(path.Child("nodeSelector"), a.NodeSelector)...)
	}
	return errs
}

// requestNames are the names by which a claim's requests are referred to.
func requestNames(s *resourcev1.ResourceClaimSpec) sets.Set[string] {
	names := sets.New[string]()
	for _, r := range s.Devices.Requests {
		names.Insert(r.Name)
		for _, sub := range r.FirstAvailable {
			names.Insert(r.Name + "/" + sub.Name)
		}
	}
	return names
}

// allocatedDevice names a device, or a share of it.
type allocatedDevice struct{ driver, pool, device, share string }

func validateDeviceStatuses(path *field.Path, s *resourcev1.ResourceClaimStatus) field.ErrorList {
	allocated := sets.New[allocatedDevice]()
	if s.Allocation != nil {
		for _, r := range s.Allocation.Devices.Results {
			allocated.Insert(allocatedDevice{r.Driver, r.Pool, r.Device, string(row.Pointed(r.ShareID))})
		}
	}
	seen := sets.New[allocatedDevice]()
	var errs field.ErrorList
	for i := range s.Devices {
		at, d := path.Index(i), &s.Devices[i]
		id := allocatedDevice{d.Driver, d.Pool, d.Device, row.Pointed(d.ShareID)}
		if seen.Has(id) {
			errs = append(errs, field.Duplicate(at, id))
		}
		seen.Insert(id)
		if !allocated.Has(id) {
			errs = append(errs, field.Invalid(at, id, "must be an allocated device in the claim"))
		}
		errs = append(errs, rule.MaxItems(at.Child("conditions"), len(d.Conditions), resourcev1.AllocatedDeviceStatusMaxConditions)...)
		errs = append(errs, metavalidation.ValidateConditions(d.Conditions, at.Child("conditions"))...)
		if d.Data != nil && len(d.Data.Raw) > 0 {
			errs = append(errs, validateRaw(at.Child("data"), d.Data, resourcev1.AllocatedDeviceStatusDataMaxLength)...)
		}
		errs = append(errs, validateNetwork(at.Child("networkData"), d.NetworkData)...)
	}
	return errs
}

func validateNetwork(path *field.Path, n *resourcev1.NetworkDeviceData) field.ErrorList {
	if n == nil {
		return nil
	}
	errs := rule.MaxLength(path.Child("interfaceName"), n.InterfaceName, resourcev1.NetworkDeviceDataInterfaceNameMaxLength)
	errs = append(errs, rule.MaxLength(path.Child("hardwareAddress"), n.HardwareAddress, resourcev1.NetworkDeviceDataHardwareAddressMaxLength)...)
	errs = append(errs, rule.MaxItems(path.Child("ips"), len(n.IPs), resourcev1.NetworkDeviceDataMaxIPs)...)
	seen := sets.New[string]()
	for i, ip := range n.IPs {
		at := path.Child("ips").Index(i)
		address, network, err := net.ParseCIDR(ip)
		if err != nil {
			errs = append(errs, field.Invalid(at, ip, "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)"))
		} else if (&net.IPNet{IP: address, Mask: network.Mask}).String() != ip {
			errs = append(errs, field.Invalid(at, ip, "must be in canonical form"))
		}
		if seen.Has(ip) {
			errs = append(errs, field.Duplicate(at, ip))
		}
		seen.Insert(ip)
	}
	return errs
}

func validateTaintRule(r *resourcev1.DeviceTaintRule) field.ErrorList {
	spec := field.NewPath("spec")
	var errs field.ErrorList
	if s := r.Spec.DeviceSelector; s != nil {
		at := spec.Child("deviceSelector")
		if s.Driver != nil {
			errs = append(errs, validateDriver(at.Child("driver"), *s.Driver)...)
		}
		if s.Pool != nil {
			errs = append(errs, validatePool(at.Child("pool"), *s.Pool)...)
		}
		if s.Device != nil {
			errs = append(errs, rule.DNSLabel(at.Child("device"), *s.Device)...)
		}
	}
	return append(errs, validateTaint(spec.Child("taint"), &r.Spec.Taint)...)
}

func validateTaintRuleStatus(r, _ *resourcev1.DeviceTaintRule) field.ErrorList {
	path := field.NewPath("status", "conditions")
	errs := rule.MaxItems(path, len(r.Status.Conditions), resourcev1.DeviceTaintRuleStatusMaxConditions)
	return append(errs, metavalidation.ValidateConditions(r.Status.Conditions, path)...)
}
