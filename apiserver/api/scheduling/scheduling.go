// Package scheduling holds the rows of the scheduling.k8s.io group: priority
// classes.
package scheduling

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

// What is above the highest that users can have belongs to the system.
const (
	highestUserPriority = 1000000000
	systemPrefix        = "system-"
)

// systemClasses are the classes that every cluster has.
var systemClasses = map[string]int32{
	"system-node-critical":    2*highestUserPriority + 1000,
	"system-cluster-critical": 2 * highestUserPriority,
}

// Resources returns the rows of the group.
func Resources() []*registry.Resource { return []*registry.Resource{priorityClasses()} }

func priorityClasses() *registry.Resource {
	return &registry.Resource{
		Kind: schedulingv1.SchemeGroupVersion.WithKind("PriorityClass"), Name: "priorityclasses", Singular: "priorityclass", ShortNames: []string{"pc"},
		Verbs: row.AllVerbs(), StoragePrefix: "priorityclasses", New: row.New[schedulingv1.PriorityClass], NewList: row.New[schedulingv1.PriorityClassList],
		Strategy: registry.Strategy{
			Default: registry.Do(func(c *schedulingv1.PriorityClass) {
				if c.PreemptionPolicy == nil {
					preempts := corev1.PreemptLowerPriority
					c.PreemptionPolicy = &preempts
				}
			}),
			PrepareForCreate: registry.Prepare(func(c *schedulingv1.PriorityClass) { c.Generation = 1 }),
			Validate:         registry.Check(validateClass),
			ValidateUpdate:   registry.CheckUpdate(validateClassUpdate),
		},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Integer("Value", func(c *schedulingv1.PriorityClass) any { return int64(c.Value) }),
			row.Boolean("Global-Default", func(c *schedulingv1.PriorityClass) any { return c.GlobalDefault }),
			row.AgeColumn(),
			row.Text("PreemptionPolicy", func(c *schedulingv1.PriorityClass) any { return string(row.Pointed(c.PreemptionPolicy)) }),
		},
	}
}

func validateClass(c *schedulingv1.PriorityClass) field.ErrorList {
	var errs field.ErrorList
	if strings.HasPrefix(c.Name, systemPrefix) {
		if value, known := systemClasses[c.Name]; !known || value != c.Value || c.GlobalDefault {
			errs = append(errs, field.Forbidden(field.NewPath("metadata", "name"),
				"priority class names with '"+systemPrefix+"' prefix are reserved for system use only. error: "+systemMismatch(c)))
		}
	} else if c.Value > highestUserPriority {
		errs = append(errs, field.Forbidden(field.NewPath("value"), fmt.Sprintf("maximum allowed value of a user defined priority is %v", highestUserPriority)))
	}
	return append(errs, rule.OptionalOneOf(field.NewPath("preemptionPolicy"), c.PreemptionPolicy, corev1.PreemptLowerPriority, corev1.PreemptNever)...)
}

func systemMismatch(c *schedulingv1.PriorityClass) string {
	value, known := systemClasses[c.Name]
	switch {
	case !known:
		return fmt.Sprintf("%v is not a known system priority class", c.Name)
	case value != c.Value:
		return fmt.Sprintf("value of %v PriorityClass must be %v", c.Name, value)
	}
	return fmt.Sprintf("globalDefault of %v PriorityClass must be %v", c.Name, false)
}

func validateClassUpdate(c, old *schedulingv1.PriorityClass) field.ErrorList {
	var errs field.ErrorList
	if c.Value != old.Value {
		errs = append(errs, field.Forbidden(field.NewPath("value"), "may not be changed in an update."))
	}
	return append(errs, rule.Immutable(field.NewPath("preemptionPolicy"), c.PreemptionPolicy, old.PreemptionPolicy)...)
}
