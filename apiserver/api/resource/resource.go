// Package resource holds the rows of the resource.k8s.io group: what devices
// there are (slices, classes, taints) and who asks for which (claims). It
// allocates nothing.
package resource

import (
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

// Deps is what the rows of this group need.
type Deps struct {
	// Clock dates taints.
	Clock clock.PassiveClock
}

// Resources returns the rows of the group.
func Resources(d Deps) []*registry.Resource {
	return []*registry.Resource{classes(), taintRules(d), claims(), claimTemplates(), slices(d)}
}

func kind(name string) schema.GroupVersionKind { return resourcev1.SchemeGroupVersion.WithKind(name) }

func classes() *registry.Resource {
	return &registry.Resource{
		Kind: kind("DeviceClass"), Name: "deviceclasses", Singular: "deviceclass", Verbs: row.AllVerbs(), StoragePrefix: "deviceclasses",
		New: row.New[resourcev1.DeviceClass], NewList: row.New[resourcev1.DeviceClassList],
		Strategy: registry.Strategy{
			PrepareForCreate: registry.Prepare(func(c *resourcev1.DeviceClass) { c.Generation = 1 }),
			PrepareForUpdate: registry.PrepareUpdate(func(c, old *resourcev1.DeviceClass) {
				row.NextGeneration(c, old, !row.Same(c.Spec, old.Spec))
			}),
			Validate:       registry.Check(func(c *resourcev1.DeviceClass) field.ErrorList { return validateClass(c, nil) }),
			ValidateUpdate: registry.CheckUpdate(validateClass),
			CreateOnUpdate: true,
		},
		Columns: []registry.Column{row.NameColumn(), row.AgeColumn()},
	}
}

func claims() *registry.Resource {
	return &registry.Resource{
		Kind: kind("ResourceClaim"), Name: "resourceclaims", Singular: "resourceclaim", Namespaced: true, Verbs: row.AllVerbs(), StoragePrefix: "resourceclaims",
		New: row.New[resourcev1.ResourceClaim], NewList: row.New[resourcev1.ResourceClaimList],
		Strategy: registry.Strategy{
			Default:          registry.Do(func(c *resourcev1.ResourceClaim) { defaultClaim(&c.Spec) }),
			PrepareForCreate: registry.Prepare(func(c *resourcev1.ResourceClaim) { c.Status = resourcev1.ResourceClaimStatus{} }),
			PrepareForUpdate: registry.PrepareUpdate(func(c, old *resourcev1.ResourceClaim) { c.Status = old.Status }),
			Validate: registry.Check(func(c *resourcev1.ResourceClaim) field.ErrorList {
				return validateClaimSpec(field.NewPath("spec"), &c.Spec)
			}),
			ValidateUpdate: registry.CheckUpdate(func(c, old *resourcev1.ResourceClaim) field.ErrorList {
				return rule.Immutable(field.NewPath("spec"), c.Spec, old.Spec)
			}),
			CreateOnUpdate: true,
		},
		Subresources: []registry.Subresource{row.Status(registry.Strategy{
			PrepareForUpdate: registry.PrepareUpdate(func(c, old *resourcev1.ResourceClaim) {
				c.Spec = old.Spec
				metav1.ResetObjectMetaForStatus(&c.ObjectMeta, &old.ObjectMeta)
				dropDeallocated(&c.Status)
			}),
			ValidateUpdate: registry.CheckUpdate(validateClaimStatus),
			Untouched:      []string{"spec", "metadata"},
		})},
		Columns: []registry.Column{row.NameColumn(), row.Text("State", claimState), row.AgeColumn()},
	}
}

// claimState says how far a claim has come.
func claimState(c *resourcev1.ResourceClaim) any {
	state := "pending"
	if c.DeletionTimestamp != nil {
		state = "deleted"
	}
	if c.Status.Allocation != nil {
		if c.DeletionTimestamp == nil {
			state = "allocated"
		} else {
			state += ",allocated"
		}
	}
	if len(c.Status.ReservedFor) > 0 {
		state += ",reserved"
	}
	return state
}

func claimTemplates() *registry.Resource {
	return &registry.Resource{
		Kind: kind("ResourceClaimTemplate"), Name: "resourceclaimtemplates", Singular: "resourceclaimtemplate", Namespaced: true,
		Verbs: row.AllVerbs(), StoragePrefix: "resourceclaimtemplates",
		New: row.New[resourcev1.ResourceClaimTemplate], NewList: row.New[resourcev1.ResourceClaimTemplateList],
		Strategy: registry.Strategy{
			Default:  registry.Do(func(c *resourcev1.ResourceClaimTemplate) { defaultClaim(&c.Spec.Spec) }),
			Validate: registry.Check(validateTemplate),
			ValidateUpdate: registry.CheckUpdate(func(c, old *resourcev1.ResourceClaimTemplate) field.ErrorList {
				return rule.Immutable(field.NewPath("spec"), c.Spec, old.Spec)
			}),
			CreateOnUpdate: true,
		},
		Columns: []registry.Column{row.NameColumn(), row.AgeColumn()},
	}
}

func slices(d Deps) *registry.Resource {
	return &registry.Resource{
		Kind: kind("ResourceSlice"), Name: "resourceslices", Singular: "resourceslice", Verbs: row.AllVerbs(), StoragePrefix: "resourceslices",
		New: row.New[resourcev1.ResourceSlice], NewList: row.New[resourcev1.ResourceSliceList],
		Strategy: registry.Strategy{
			Default: registry.Do(func(s *resourcev1.ResourceSlice) {
				for i := range s.Spec.Devices {
					for j := range s.Spec.Devices[i].Taints {
						d.dateTaint(&s.Spec.Devices[i].Taints[j])
					}
				}
			}),
			PrepareForCreate: registry.Prepare(func(s *resourcev1.ResourceSlice) { s.Generation = 1 }),
			PrepareForUpdate: registry.PrepareUpdate(func(s, old *resourcev1.ResourceSlice) {
				row.NextGeneration(s, old, !row.Same(s.Spec, old.Spec))
			}),
			Validate:       registry.Check(func(s *resourcev1.ResourceSlice) field.ErrorList { return validateSlice(s) }),
			ValidateUpdate: registry.CheckUpdate(validateSliceUpdate),
			CreateOnUpdate: true,
		},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("Node", func(s *resourcev1.ResourceSlice) any { return sliceNode(&s.Spec) }),
			row.Text("Driver", func(s *resourcev1.ResourceSlice) any { return s.Spec.Driver }),
			row.Text("Pool", func(s *resourcev1.ResourceSlice) any { return s.Spec.Pool.Name }),
			row.AgeColumn(),
		},
		Fields: func(o runtime.Object) fields.Set {
			s := &o.(*resourcev1.ResourceSlice).Spec
			return fields.Set{"spec.nodeName": row.Pointed(s.NodeName), "spec.driver": s.Driver}
		},
		Indexed: []string{"spec.nodeName"},
	}
}

func sliceNode(s *resourcev1.ResourceSliceSpec) string { return row.PointedOrUnset(s.NodeName) }

func taintRules(d Deps) *registry.Resource {
	return &registry.Resource{
		Kind: kind("DeviceTaintRule"), Name: "devicetaintrules", Singular: "devicetaintrule", Verbs: row.AllVerbs(), StoragePrefix: "devicetaintrules",
		New: row.New[resourcev1.DeviceTaintRule], NewList: row.New[resourcev1.DeviceTaintRuleList],
		Strategy: registry.Strategy{
			Default: registry.Do(func(r *resourcev1.DeviceTaintRule) { d.dateTaint(&r.Spec.Taint) }),
			PrepareForCreate: registry.Prepare(func(r *resourcev1.DeviceTaintRule) {
				r.Status, r.Generation = resourcev1.DeviceTaintRuleStatus{}, 1
			}),
			PrepareForUpdate: registry.PrepareUpdate(func(r, old *resourcev1.DeviceTaintRule) {
				r.Status = old.Status
				if r.Spec.Taint.Effect != old.Spec.Taint.Effect && row.Same(r.Spec.Taint.TimeAdded, old.Spec.Taint.TimeAdded) {
					r.Spec.Taint.TimeAdded = nil
					d.dateTaint(&r.Spec.Taint)
				}
				row.NextGeneration(r, old, !row.Same(r.Spec, old.Spec))
			}),
			Validate:       registry.Check(func(r *resourcev1.DeviceTaintRule) field.ErrorList { return validateTaintRule(r) }),
			ValidateUpdate: registry.CheckUpdate(func(r, _ *resourcev1.DeviceTaintRule) field.ErrorList { return validateTaintRule(r) }),
			CreateOnUpdate: true,
		},
		Subresources: []registry.Subresource{row.Status(registry.Strategy{
			PrepareForUpdate: registry.PrepareUpdate(func(r, old *resourcev1.DeviceTaintRule) {
				r.Spec = old.Spec
				metav1.ResetObjectMetaForStatus(&r.ObjectMeta, &old.ObjectMeta)
			}),
			Untouched:      []string{"spec", "metadata"},
			ValidateUpdate: registry.CheckUpdate(validateTaintRuleStatus),
		})},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("Key", func(r *resourcev1.DeviceTaintRule) any { return r.Spec.Taint.Key }),
			row.Text("Value", func(r *resourcev1.DeviceTaintRule) any { return r.Spec.Taint.Value }),
			row.Text("Effect", func(r *resourcev1.DeviceTaintRule) any { return string(r.Spec.Taint.Effect) }),
			row.Aged("TimeAdded", taintAge),
			row.AgeColumn(),
		},
	}
}
