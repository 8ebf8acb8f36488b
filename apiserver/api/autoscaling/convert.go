package autoscaling

import (
	"encoding/json"
	"fmt"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// What v1 has no field for travels in annotations, in v1's own shapes.
const (
	metricsAnnotation    = "autoscaling.alpha.kubernetes.io/metrics"
	statusesAnnotation   = "autoscaling.alpha.kubernetes.io/current-metrics"
	conditionsAnnotation = "autoscaling.alpha.kubernetes.io/conditions"
	behaviorAnnotation   = "autoscaling.alpha.kubernetes.io/behavior"
)

func toV2(o runtime.Object) (runtime.Object, error) {
	h := o.(*autoscalingv1.HorizontalPodAutoscaler).DeepCopy()
	out := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: h.ObjectMeta,
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference(h.Spec.ScaleTargetRef),
			MinReplicas:    h.Spec.MinReplicas, MaxReplicas: h.Spec.MaxReplicas,
		},
		Status: autoscalingv2.HorizontalPodAutoscalerStatus{
			ObservedGeneration: h.Status.ObservedGeneration, LastScaleTime: h.Status.LastScaleTime,
			CurrentReplicas: h.Status.CurrentReplicas, DesiredReplicas: h.Status.DesiredReplicas,
		},
	}
	out.SetGroupVersionKind(autoscalingv2.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler"))
	if t := h.Spec.TargetCPUUtilizationPercentage; t != nil {
		out.Spec.Metrics = append(out.Spec.Metrics, cpuMetric(*t))
	}
	if c := h.Status.CurrentCPUUtilizationPercentage; c != nil && h.Annotations[statusesAnnotation] == "" {
		out.Status.CurrentMetrics = append(out.Status.CurrentMetrics, cpuStatus(*c))
	}
	return out, restore(h.Annotations, out)
}

// restore takes out of the annotations what v2 has fields for.
func restore(annotations map[string]string, out *autoscalingv2.HorizontalPodAutoscaler) error {
	var metrics []autoscalingv1.MetricSpec
	var statuses []autoscalingv1.MetricStatus
	var conditions []autoscalingv1.HorizontalPodAutoscalerCondition
	for key, into := range map[string]any{
		metricsAnnotation: &metrics, statusesAnnotation: &statuses, conditionsAnnotation: &conditions, behaviorAnnotation: &out.Spec.Behavior,
	} {
		text, ok := annotations[key]
		if !ok {
			continue
		}
		if err := json.Unmarshal([]byte(text), into); err != nil {
			return fmt.Errorf("annotation %s: %w", key, err)
		}
		delete(out.Annotations, key)
	}
	for i := range metrics {
		out.Spec.Metrics = append(out.Spec.Metrics, metricToV2(&metrics[i]))
	}
	for i := range statuses {
		out.Status.CurrentMetrics = append(out.Status.CurrentMetrics, statusToV2(&statuses[i]))
	}
	for _, c := range conditions {
		out.Status.Conditions = append(out.Status.Conditions, autoscalingv2.HorizontalPodAutoscalerCondition{
			Type: autoscalingv2.HorizontalPodAutoscalerConditionType(c.Type), Status: c.Status,
			LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message,
		})
	}
	return nil
}

func toV1(o runtime.Object) (runtime.Object, error) {
	h := o.(*autoscalingv2.HorizontalPodAutoscaler).DeepCopy()
	out := &autoscalingv1.HorizontalPodAutoscaler{
		ObjectMeta: h.ObjectMeta,
		Spec: autoscalingv1.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv1.CrossVersionObjectReference(h.Spec.ScaleTargetRef),
			MinReplicas:    h.Spec.MinReplicas, MaxReplicas: h.Spec.MaxReplicas,
		},
		Status: autoscalingv1.HorizontalPodAutoscalerStatus{
			ObservedGeneration: h.Status.ObservedGeneration, LastScaleTime: h.Status.LastScaleTime,
			CurrentReplicas: h.Status.CurrentReplicas, DesiredReplicas: h.Status.DesiredReplicas,
		},
	}
	out.SetGroupVersionKind(autoscalingv1.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler"))
	return out, stow(h, out)
}

// stow puts into annotations what v1 has no fields for.
func stow(h *autoscalingv2.HorizontalPodAutoscaler, out *autoscalingv1.HorizontalPodAutoscaler) error {
	var metrics []autoscalingv1.MetricSpec
	for i := range h.Spec.Metrics {
		m := &h.Spec.Metrics[i]
		if isCPU(m) && out.Spec.TargetCPUUtilizationPercentage == nil {
			out.Spec.TargetCPUUtilizationPercentage = m.Resource.Target.AverageUtilization
			continue
		}
		metrics = append(metrics, metricToV1(m))
	}
	var statuses []autoscalingv1.MetricStatus
	for i := range h.Status.CurrentMetrics {
		m := &h.Status.CurrentMetrics[i]
		if m.Type == autoscalingv2.ResourceMetricSourceType && m.Resource != nil && m.Resource.Name == corev1.ResourceCPU && m.Resource.Current.AverageUtilization != nil {
			out.Status.CurrentCPUUtilizationPercentage = m.Resource.Current.AverageUtilization
		}
		statuses = append(statuses, statusToV1(m))
	}
	var conditions []autoscalingv1.HorizontalPodAutoscalerCondition
	for _, c := range h.Status.Conditions {
		conditions = append(conditions, autoscalingv1.HorizontalPodAutoscalerCondition{
			Type: autoscalingv1.HorizontalPodAutoscalerConditionType(c.Type), Status: c.Status,
			LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message,
		})
	}
	for _, a := range []struct {
		key   string
		set   bool
		value any
	}{
		{metricsAnnotation, len(metrics) > 0, metrics}, {statusesAnnotation, len(statuses) > 0, statuses},
		{conditionsAnnotation, len(conditions) > 0, conditions}, {behaviorAnnotation, h.Spec.Behavior != nil, h.Spec.Behavior},
	} {
		if !a.set {
			continue
		}
		text, err := json.Marshal(a.value)
		if err != nil {
			return fmt.Errorf("annotation %s: %w", a.key, err)
		}
		metav1.SetMetaDataAnnotation(&out.ObjectMeta, a.key, string(text))
	}
	return nil
}

func isCPU(m *autoscalingv2.MetricSpec) bool {
	return m.Type == autoscalingv2.ResourceMetricSourceType && m.Resource != nil && m.Resource.Name == corev1.ResourceCPU && m.Resource.Target.AverageUtilization != nil
}

func cpuMetric(percent int32) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
		Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &percent},
	}}
}

func cpuStatus(percent int32) autoscalingv2.MetricStatus {
	return autoscalingv2.MetricStatus{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricStatus{
		Name: corev1.ResourceCPU, Current: autoscalingv2.MetricValueStatus{AverageUtilization: &percent},
	}}
}

// dropStatusAnnotations: status travels in annotations too, and a write of the
// main resource may not change it.
func dropStatusAnnotations(h, old *autoscalingv1.HorizontalPodAutoscaler) {
	for _, key := range []string{statusesAnnotation, conditionsAnnotation} {
		delete(h.Annotations, key)
		if old == nil {
			continue
		}
		if value, ok := old.Annotations[key]; ok {
			metav1.SetMetaDataAnnotation(&h.ObjectMeta, key, value)
		}
	}
}
