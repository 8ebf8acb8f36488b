// Package flowcontrol holds the rows of the flowcontrol.apiserver.k8s.io
// group: flow schemas and priority levels. What they do to requests is the
// business of apiserver/flowcontrol.
package flowcontrol

import (
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

// Resources returns the rows of the group.
func Resources() []*registry.Resource {
	return []*registry.Resource{flowSchemas(), priorityLevels()}
}

func flowSchemas() *registry.Resource {
	return &registry.Resource{
		Kind: flowcontrolv1.SchemeGroupVersion.WithKind("FlowSchema"), Name: "flowschemas", Singular: "flowschema",
		Verbs: row.AllVerbs(), StoragePrefix: "flowschemas",
		New: row.New[flowcontrolv1.FlowSchema], NewList: row.New[flowcontrolv1.FlowSchemaList],
		Strategy: registry.Strategy{
			Default: registry.Do(func(s *flowcontrolv1.FlowSchema) {
				if s.Spec.MatchingPrecedence == 0 {
					s.Spec.MatchingPrecedence = 1000
				}
			}),
			PrepareForCreate: registry.Prepare(func(s *flowcontrolv1.FlowSchema) {
				s.Status, s.Generation = flowcontrolv1.FlowSchemaStatus{}, 1
			}),
			PrepareForUpdate: registry.PrepareUpdate(func(s, old *flowcontrolv1.FlowSchema) {
				s.Status = old.Status
				row.NextGeneration(s, old, !row.Same(s.Spec, old.Spec))
			}),
			Validate:       registry.Check(validateSchema),
			ValidateUpdate: registry.CheckUpdate(func(s, _ *flowcontrolv1.FlowSchema) field.ErrorList { return validateSchema(s) }),
		},
		Subresources: []registry.Subresource{row.Status(registry.Strategy{
			PrepareForUpdate: registry.PrepareUpdate(func(s, old *flowcontrolv1.FlowSchema) {
				s.Spec = old.Spec
				metav1.ResetObjectMetaForStatus(&s.ObjectMeta, &old.ObjectMeta)
			}),
			Untouched: []string{"spec", "metadata"},
			ValidateUpdate: registry.CheckUpdate(func(s, _ *flowcontrolv1.FlowSchema) field.ErrorList {
				return validateConditions(s.Status.Conditions, func(c flowcontrolv1.FlowSchemaCondition) string { return string(c.Type) })
			}),
		})},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("PriorityLevel", func(s *flowcontrolv1.FlowSchema) any { return s.Spec.PriorityLevelConfiguration.Name }),
			row.Text("MatchingPrecedence", func(s *flowcontrolv1.FlowSchema) any { return int64(s.Spec.MatchingPrecedence) }),
			row.Text("DistinguisherMethod", distinguisher),
			row.AgeColumn(),
			row.Text("MissingPL", dangling),
		},
	}
}

func distinguisher(s *flowcontrolv1.FlowSchema) any {
	if s.Spec.DistinguisherMethod == nil {
		return row.None
	}
	return string(s.Spec.DistinguisherMethod.Type)
}

func dangling(s *flowcontrolv1.FlowSchema) any {
	for _, c := range s.Status.Conditions {
		if c.Type == flowcontrolv1.FlowSchemaConditionDangling {
			return string(c.Status)
		}
	}
	return "?"
}

func priorityLevels() *registry.Resource {
	return &registry.Resource{
		Kind: flowcontrolv1.SchemeGroupVersion.WithKind("PriorityLevelConfiguration"),
		Name: "prioritylevelconfigurations", Singular: "prioritylevelconfiguration",
		Verbs: row.AllVerbs(), StoragePrefix: "prioritylevelconfigurations",
		New: row.New[flowcontrolv1.PriorityLevelConfiguration], NewList: row.New[flowcontrolv1.PriorityLevelConfigurationList],
		Strategy: registry.Strategy{
			Default: registry.Do(defaultLevel),
			PrepareForCreate: registry.Prepare(func(l *flowcontrolv1.PriorityLevelConfiguration) {
				l.Status, l.Generation = flowcontrolv1.PriorityLevelConfigurationStatus{}, 1
			}),
			PrepareForUpdate: registry.PrepareUpdate(func(l, old *flowcontrolv1.PriorityLevelConfiguration) {
				l.Status = old.Status
				row.NextGeneration(l, old, !row.Same(l.Spec, old.Spec))
			}),
			Validate:       registry.Check(validateLevel),
			ValidateUpdate: registry.CheckUpdate(func(l, _ *flowcontrolv1.PriorityLevelConfiguration) field.ErrorList { return validateLevel(l) }),
		},
		Subresources: []registry.Subresource{row.Status(registry.Strategy{
			PrepareForUpdate: registry.PrepareUpdate(func(l, old *flowcontrolv1.PriorityLevelConfiguration) {
				l.Spec = old.Spec
				metav1.ResetObjectMetaForStatus(&l.ObjectMeta, &old.ObjectMeta)
			}),
			Untouched: []string{"spec", "metadata"},
			ValidateUpdate: registry.CheckUpdate(func(l, _ *flowcontrolv1.PriorityLevelConfiguration) field.ErrorList {
				return validateConditions(l.Status.Conditions, func(c flowcontrolv1.PriorityLevelConfigurationCondition) string { return string(c.Type) })
			}),
		})},
		Columns: levelColumns(),
	}
}

// The defaults of a level and of its queues.
const (
	defaultShares   = 30
	defaultQueues   = 64
	defaultHandSize = 8
	defaultLength   = 50
)

func defaultLevel(l *flowcontrolv1.PriorityLevelConfiguration) {
	zero := func() *int32 { return new(int32) }
	if limited := l.Spec.Limited; limited != nil {
		if limited.NominalConcurrencyShares == nil {
			shares := int32(defaultShares)
			limited.NominalConcurrencyShares = &shares
		}
		if limited.LendablePercent == nil {
			limited.LendablePercent = zero()
		}
		defaultQueuing(limited.LimitResponse.Queuing)
	}
	if exempt := l.Spec.Exempt; exempt != nil {
		if exempt.NominalConcurrencyShares == nil {
			exempt.NominalConcurrencyShares = zero()
		}
		if exempt.LendablePercent == nil {
			exempt.LendablePercent = zero()
		}
	}
}

func defaultQueuing(q *flowcontrolv1.QueuingConfiguration) {
	if q == nil {
		return
	}
	for value, fallback := range map[*int32]int32{&q.Queues: defaultQueues, &q.HandSize: defaultHandSize, &q.QueueLengthLimit: defaultLength} {
		if *value == 0 {
			*value = fallback
		}
	}
}

func levelColumns() []registry.Column {
	queuing := func(name string, of func(*flowcontrolv1.QueuingConfiguration) int32) registry.Column {
		return row.Text(name, func(l *flowcontrolv1.PriorityLevelConfiguration) any {
			if l.Spec.Limited == nil || l.Spec.Limited.LimitResponse.Queuing == nil {
				return row.None
			}
			return int64(of(l.Spec.Limited.LimitResponse.Queuing))
		})
	}
	return []registry.Column{
		row.NameColumn(),
		row.Text("Type", func(l *flowcontrolv1.PriorityLevelConfiguration) any { return string(l.Spec.Type) }),
		row.Text("NominalConcurrencyShares", func(l *flowcontrolv1.PriorityLevelConfiguration) any {
			switch {
			case l.Spec.Limited != nil:
				return int64(row.Pointed(l.Spec.Limited.NominalConcurrencyShares))
			case l.Spec.Exempt != nil:
				return int64(row.Pointed(l.Spec.Exempt.NominalConcurrencyShares))
			}
			return row.None
		}),
		queuing("Queues", func(q *flowcontrolv1.QueuingConfiguration) int32 { return q.Queues }),
		queuing("HandSize", func(q *flowcontrolv1.QueuingConfiguration) int32 { return q.HandSize }),
		queuing("QueueLengthLimit", func(q *flowcontrolv1.QueuingConfiguration) int32 { return q.QueueLengthLimit }),
		row.AgeColumn(),
	}
}
