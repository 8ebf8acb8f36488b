package autoscaling

import (
	"fmt"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

// shownMetrics is how many metrics a table shows at most.
const shownMetrics = 2

func columns(as func(runtime.Object) *autoscalingv2.HorizontalPodAutoscaler) []registry.Column {
	text := func(name string, cell func(*autoscalingv2.HorizontalPodAutoscaler) any) registry.Column {
		return row.Text(name, func(o runtime.Object) any { return cell(as(o)) })
	}
	return []registry.Column{
		row.NameColumn(),
		text("Reference", func(h *autoscalingv2.HorizontalPodAutoscaler) any {
			return h.Spec.ScaleTargetRef.Kind + "/" + h.Spec.ScaleTargetRef.Name
		}),
		text("Targets", func(h *autoscalingv2.HorizontalPodAutoscaler) any { return targetsCell(h) }),
		text("MinPods", func(h *autoscalingv2.HorizontalPodAutoscaler) any {
			if h.Spec.MinReplicas == nil {
				return row.Unset
			}
			return fmt.Sprint(*h.Spec.MinReplicas)
		}),
		text("MaxPods", func(h *autoscalingv2.HorizontalPodAutoscaler) any { return int64(h.Spec.MaxReplicas) }),
		text("Replicas", func(h *autoscalingv2.HorizontalPodAutoscaler) any { return int64(h.Status.CurrentReplicas) }),
		row.AgeColumn(),
	}
}

func targetsCell(h *autoscalingv2.HorizontalPodAutoscaler) string {
	if len(h.Spec.Metrics) == 0 {
		return row.None
	}
	var cells []string
	for i := range h.Spec.Metrics {
		if i == shownMetrics {
			break
		}
		var current *autoscalingv2.MetricStatus
		if i < len(h.Status.CurrentMetrics) {
			current = &h.Status.CurrentMetrics[i]
		}
		cells = append(cells, targetCell(&h.Spec.Metrics[i], current))
	}
	text := strings.Join(cells, ", ")
	if more := len(h.Spec.Metrics) - shownMetrics; more > 0 {
		return fmt.Sprintf("%s + %d more...", text, more)
	}
	return text
}

func targetCell(m *autoscalingv2.MetricSpec, s *autoscalingv2.MetricStatus) string {
	value := func(v func(*autoscalingv2.MetricStatus) *autoscalingv2.MetricValueStatus) *autoscalingv2.MetricValueStatus {
		if s == nil {
			return nil
		}
		return v(s)
	}
	switch {
	case m.External != nil:
		return quantities(m.External.Target, value(func(s *autoscalingv2.MetricStatus) *autoscalingv2.MetricValueStatus {
			if s.External == nil {
				return nil
			}
			return &s.External.Current
		}))
	case m.Pods != nil:
		return quantities(m.Pods.Target, value(func(s *autoscalingv2.MetricStatus) *autoscalingv2.MetricValueStatus {
			if s.Pods == nil {
				return nil
			}
			return &s.Pods.Current
		}))
	case m.Object != nil:
		return quantities(m.Object.Target, value(func(s *autoscalingv2.MetricStatus) *autoscalingv2.MetricValueStatus {
			if s.Object == nil {
				return nil
			}
			return &s.Object.Current
		}))
	case m.Resource != nil:
		return string(m.Resource.Name) + ": " + usage(m.Resource.Target, value(func(s *autoscalingv2.MetricStatus) *autoscalingv2.MetricValueStatus {
			if s.Resource == nil {
				return nil
			}
			return &s.Resource.Current
		}))
	case m.ContainerResource != nil:
		return string(m.ContainerResource.Name) + ": " + usage(m.ContainerResource.Target, value(func(s *autoscalingv2.MetricStatus) *autoscalingv2.MetricValueStatus {
			if s.ContainerResource == nil {
				return nil
			}
			return &s.ContainerResource.Current
		}))
	}
	return "<unknown type>"
}

func quantities(t autoscalingv2.MetricTarget, s *autoscalingv2.MetricValueStatus) string {
	if t.AverageValue != nil {
		return shown(s, func(s *autoscalingv2.MetricValueStatus) *resource.Quantity { return s.AverageValue }) + "/" + t.AverageValue.String() + " (avg)"
	}
	if t.Value == nil {
		return row.Unknown
	}
	return shown(s, func(s *autoscalingv2.MetricValueStatus) *resource.Quantity { return s.Value }) + "/" + t.Value.String()
}

func shown(s *autoscalingv2.MetricValueStatus, value func(*autoscalingv2.MetricValueStatus) *resource.Quantity) string {
	if s == nil || value(s) == nil {
		return row.Unknown
	}
	return value(s).String()
}

func usage(t autoscalingv2.MetricTarget, s *autoscalingv2.MetricValueStatus) string {
	if t.AverageValue != nil {
		return shown(s, func(s *autoscalingv2.MetricValueStatus) *resource.Quantity { return s.AverageValue }) + "/" + t.AverageValue.String()
	}
	current, target := row.Unknown, "<auto>"
	if s != nil && s.AverageUtilization != nil {
		current = fmt.Sprintf("%d%%", *s.AverageUtilization)
	}
	if t.AverageUtilization != nil {
		target = fmt.Sprintf("%d%%", *t.AverageUtilization)
	}
	return current + "/" + target
}
