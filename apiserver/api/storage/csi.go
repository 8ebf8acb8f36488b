package storage

import (
	"fmt"
	"strings"

	storagev1 "k8s.io/api/storage/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

func csiDrivers() *registry.Resource {
	return &registry.Resource{
		Kind: kind("CSIDriver"), Name: "csidrivers", Singular: "csidriver",
		Verbs: row.AllVerbs(), StoragePrefix: "csidrivers", New: row.New[storagev1.CSIDriver], NewList: row.New[storagev1.CSIDriverList],
		Strategy: registry.Strategy{
			Default:          registry.Do(defaultDriver),
			PrepareForCreate: registry.Prepare(func(d *storagev1.CSIDriver) { d.Generation = 1 }),
			PrepareForUpdate: registry.PrepareUpdate(func(d, old *storagev1.CSIDriver) {
				row.NextGeneration(d, old, !row.Same(d.Spec, old.Spec))
			}),
			Validate:       registry.Check(validateDriver),
			ValidateUpdate: registry.CheckUpdate(validateDriverUpdate),
			RequireVersion: true,
		},
		Columns: driverColumns(),
	}
}

func setDefault[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}

func defaultDriver(d *storagev1.CSIDriver) {
	s := &d.Spec
	setDefault(&s.AttachRequired, true)
	setDefault(&s.PodInfoOnMount, false)
	setDefault(&s.StorageCapacity, false)
	setDefault(&s.FSGroupPolicy, storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy)
	setDefault(&s.RequiresRepublish, false)
	setDefault(&s.SELinuxMount, false)
	if len(s.VolumeLifecycleModes) == 0 {
		s.VolumeLifecycleModes = []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent}
	}
}

func validateDriver(d *storagev1.CSIDriver) field.ErrorList {
	spec := field.NewPath("spec")
	errs := podspec.ValidateCSIDriverName(field.NewPath("name"), d.Name)
	for _, f := range []struct {
		name  string
		value *bool
	}{{"attachRequired", d.Spec.AttachRequired}, {"podInfoOnMount", d.Spec.PodInfoOnMount}, {"storageCapacity", d.Spec.StorageCapacity}, {"seLinuxMount", d.Spec.SELinuxMount}} {
		errs = append(errs, rule.Required(spec.Child(f.name), f.value)...)
	}
	errs = append(errs, rule.OptionalOneOf(spec.Child("fsGroupPolicy"), d.Spec.FSGroupPolicy,
		storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy, storagev1.FileFSGroupPolicy, storagev1.NoneFSGroupPolicy)...)
	for _, m := range d.Spec.VolumeLifecycleModes {
		errs = append(errs, rule.Supported(spec.Child("volumeLifecycleModes"), m, storagev1.VolumeLifecyclePersistent, storagev1.VolumeLifecycleEphemeral)...)
	}
	return append(errs, validateTokenRequests(spec.Child("tokenRequests"), d.Spec.TokenRequests)...)
}

const minTokenSeconds = 600

func validateTokenRequests(at *field.Path, requests []storagev1.TokenRequest) field.ErrorList {
	var errs field.ErrorList
	seen := sets.New[string]()
	for i, r := range requests {
		p := at.Index(i)
		if seen.Has(r.Audience) {
			errs = append(errs, field.Duplicate(p.Child("audience"), r.Audience))
		}
		seen.Insert(r.Audience)
		if e := r.ExpirationSeconds; e != nil {
			if *e < minTokenSeconds {
				errs = append(errs, field.Invalid(p.Child("expirationSeconds"), *e, "may not specify a duration less than 10 minutes"))
			}
			if *e > 1<<32 {
				errs = append(errs, field.Invalid(p.Child("expirationSeconds"), *e, "may not specify a duration larger than 2^32 seconds"))
			}
		}
	}
	return errs
}

func validateDriverUpdate(d, old *storagev1.CSIDriver) field.ErrorList {
	spec := field.NewPath("spec")
	errs := validateDriver(d)
	errs = append(errs, rule.Immutable(spec.Child("attachRequired"), d.Spec.AttachRequired, old.Spec.AttachRequired)...)
	return append(errs, rule.Immutable(spec.Child("volumeLifecycleModes"), d.Spec.VolumeLifecycleModes, old.Spec.VolumeLifecycleModes)...)
}

func driverColumns() []registry.Column {
	flag := func(name string, value func(storagev1.CSIDriverSpec) *bool) registry.Column {
		return row.Boolean(name, func(d *storagev1.CSIDriver) any { return row.Pointed(value(d.Spec)) })
	}
	return []registry.Column{
		row.NameColumn(),
		flag("AttachRequired", func(s storagev1.CSIDriverSpec) *bool { return s.AttachRequired }),
		flag("PodInfoOnMount", func(s storagev1.CSIDriverSpec) *bool { return s.PodInfoOnMount }),
		flag("StorageCapacity", func(s storagev1.CSIDriverSpec) *bool { return s.StorageCapacity }),
		row.Text("TokenRequests", func(d *storagev1.CSIDriver) any {
			var audiences []string
			for _, r := range d.Spec.TokenRequests {
				audiences = append(audiences, r.Audience)
			}
			if len(audiences) == 0 {
				return row.Unset
			}
			return strings.Join(audiences, ",")
		}),
		flag("RequiresRepublish", func(s storagev1.CSIDriverSpec) *bool { return s.RequiresRepublish }),
		row.Text("Modes", func(d *storagev1.CSIDriver) any {
			modes := make([]string, len(d.Spec.VolumeLifecycleModes))
			for i, m := range d.Spec.VolumeLifecycleModes {
				modes[i] = string(m)
			}
			return row.Or(strings.Join(modes, ","))
		}),
		row.AgeColumn(),
	}
}

func csiNodes() *registry.Resource {
	return &registry.Resource{
		Kind: kind("CSINode"), Name: "csinodes", Singular: "csinode",
		Verbs: row.AllVerbs(), StoragePrefix: "csinodes", New: row.New[storagev1.CSINode], NewList: row.New[storagev1.CSINodeList],
		Strategy: registry.Strategy{
			PrepareForCreate: registry.Prepare(func(n *storagev1.CSINode) { n.Status = storagev1.CSINodeStatus{} }),
			PrepareForUpdate: registry.PrepareUpdate(func(n, old *storagev1.CSINode) { n.Status = old.Status }),
			Validate:         registry.Check(validateNode),
			ValidateUpdate:   registry.CheckUpdate(validateNodeUpdate),
			RequireVersion:   true,
		},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Integer("Drivers", func(n *storagev1.CSINode) any { return int64(len(n.Spec.Drivers)) }),
			row.AgeColumn(),
		},
		Subresources: []registry.Subresource{row.Status(registry.Strategy{
			PrepareForUpdate: registry.PrepareUpdate(func(n, old *storagev1.CSINode) { n.Spec = old.Spec }),
		})},
	}
}

const maxNodeID = 256

func validateNode(n *storagev1.CSINode) field.ErrorList {
	at := field.NewPath("spec", "drivers")
	var errs field.ErrorList
	seen := sets.New[string]()
	for i, d := range n.Spec.Drivers {
		p := at.Index(i)
		errs = append(errs, podspec.ValidateCSIDriverName(p.Child("name"), d.Name)...)
		if d.NodeID == "" {
			errs = append(errs, field.Required(p.Child("nodeID"), d.NodeID))
		}
		if len(d.NodeID) > maxNodeID {
			errs = append(errs, field.Invalid(p.Child("nodeID"), d.NodeID, fmt.Sprintf("nodeID length must be less than or equal to %d", maxNodeID)))
		}
		if d.Allocatable != nil {
			errs = append(errs, rule.NonNegativePtr(p.Child("allocatable", "count"), d.Allocatable.Count)...)
		}
		keys := sets.New[string]()
		for _, key := range d.TopologyKeys {
			if keys.Has(key) {
				errs = append(errs, field.Duplicate(p.Child("topologyKeys"), key))
			}
			keys.Insert(key)
			errs = append(errs, rule.QualifiedName(p.Child("topologyKeys"), key)...)
		}
		if seen.Has(d.Name) {
			errs = append(errs, field.Duplicate(p.Child("name"), d.Name))
		}
		seen.Insert(d.Name)
	}
	return errs
}

// validateNodeUpdate: a driver that is there stays as it is, but for how much
// it can take.
func validateNodeUpdate(n, old *storagev1.CSINode) field.ErrorList {
	errs := validateNode(n)
	had := map[string]storagev1.CSINodeDriver{}
	for _, d := range old.Spec.Drivers {
		had[d.Name] = d
	}
	for i, d := range n.Spec.Drivers {
		was, ok := had[d.Name]
		if !ok {
			continue
		}
		was.Allocatable = d.Allocatable
		if !row.Same(d, was) {
			errs = append(errs, field.Invalid(field.NewPath("spec", "drivers").Index(i), d, apivalidation.FieldImmutableErrorMsg))
		}
	}
	return errs
}

func csiStorageCapacities() *registry.Resource {
	return &registry.Resource{
		Kind: kind("CSIStorageCapacity"), Name: "csistoragecapacities", Singular: "csistoragecapacity", Namespaced: true,
		Verbs: row.AllVerbs(), StoragePrefix: "csistoragecapacities", New: row.New[storagev1.CSIStorageCapacity], NewList: row.New[storagev1.CSIStorageCapacityList],
		Strategy: registry.Strategy{
			Validate: registry.Check(validateStorageCapacity),
			ValidateUpdate: registry.CheckUpdate(func(c, old *storagev1.CSIStorageCapacity) field.ErrorList {
				errs := validateStorageCapacity(c)
				errs = append(errs, rule.Immutable(field.NewPath("nodeTopology"), c.NodeTopology, old.NodeTopology)...)
				return append(errs, rule.Immutable(field.NewPath("storageClassName"), c.StorageClassName, old.StorageClassName)...)
			}),
			RequireVersion: true,
		},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("StorageClassName", func(c *storagev1.CSIStorageCapacity) any { return c.StorageClassName }),
			row.Text("Capacity", func(c *storagev1.CSIStorageCapacity) any {
				if c.Capacity == nil {
					return row.Unset
				}
				return c.Capacity.String()
			}),
		},
	}
}

func validateStorageCapacity(c *storagev1.CSIStorageCapacity) field.ErrorList {
	errs := rule.Selector(field.NewPath("nodeTopology"), c.NodeTopology)
	errs = append(errs, rule.DNSSubdomain(field.NewPath("storageClassName"), c.StorageClassName)...)
	if c.Capacity != nil {
		errs = append(errs, rule.Quantity(field.NewPath("capacity"), *c.Capacity)...)
	}
	if c.MaximumVolumeSize != nil {
		errs = append(errs, rule.Quantity(field.NewPath("maximumVolumeSize"), *c.MaximumVolumeSize)...)
	}
	return errs
}
