package core

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

// Component is a part of the cluster whose health componentstatuses shows.
type Component struct {
	Name  string
	Check func(context.Context) error
}

func componentStatuses(components []Component) *registry.Resource {
	return &registry.Resource{
		Kind: kind("ComponentStatus"), Name: "componentstatuses", Singular: "componentstatus", ShortNames: []string{"cs"},
		Verbs: []string{"get", "list"}, New: row.New[corev1.ComponentStatus], NewList: row.New[corev1.ComponentStatusList],
		Computed: func(ctx context.Context) ([]runtime.Object, error) {
			var objects []runtime.Object
			for _, c := range components {
				objects = append(objects, componentStatus(ctx, c))
			}
			return objects, nil
		},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("Status", func(s *corev1.ComponentStatus) any { return componentCell(s, healthWord) }),
			row.Text("Message", func(s *corev1.ComponentStatus) any {
				return componentCell(s, func(c *corev1.ComponentCondition) string { return c.Message })
			}),
			row.Text("Error", func(s *corev1.ComponentStatus) any {
				return componentCell(s, func(c *corev1.ComponentCondition) string { return c.Error })
			}),
		},
	}
}

func componentStatus(ctx context.Context, c Component) *corev1.ComponentStatus {
	condition := corev1.ComponentCondition{Type: corev1.ComponentHealthy, Status: corev1.ConditionTrue, Message: "ok"}
	if err := c.Check(ctx); err != nil {
		condition.Status, condition.Message, condition.Error = corev1.ConditionFalse, "", err.Error()
	}
	return &corev1.ComponentStatus{
		ObjectMeta: metav1.ObjectMeta{Name: c.Name},
		Conditions: []corev1.ComponentCondition{condition},
	}
}

func healthWord(c *corev1.ComponentCondition) string {
	if c.Status == corev1.ConditionTrue {
		return "Healthy"
	}
	return "Unhealthy"
}

// componentCell shows something of the condition that says whether a component
// is well.
func componentCell(s *corev1.ComponentStatus, of func(*corev1.ComponentCondition) string) any {
	for i := range s.Conditions {
		if s.Conditions[i].Type == corev1.ComponentHealthy {
			return of(&s.Conditions[i])
		}
	}
	return "Unknown"
}
