package autoscaling

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

func horizontalV2() *registry.Resource {
	return &registry.Resource{
		Kind: autoscalingv2.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler"), Name: "horizontalpodautoscalers", Singular: "horizontalpodautoscaler",
		ShortNames: []string{"hpa"}, Categories: []string{"all"}, Namespaced: true, Verbs: row.AllVerbs(), StoragePrefix: "horizontalpodautoscalers",
		New: row.New[autoscalingv2.HorizontalPodAutoscaler], NewList: row.New[autoscalingv2.HorizontalPodAutoscalerList],
		Strategy: registry.Strategy{
			Default: registry.Do(defaultV2),
			PrepareForCreate: registry.Prepare(func(h *autoscalingv2.HorizontalPodAutoscaler) {
				h.Status = autoscalingv2.HorizontalPodAutoscalerStatus{}
			}),
			PrepareForUpdate: registry.PrepareUpdate(func(h, old *autoscalingv2.HorizontalPodAutoscaler) { h.Status = old.Status }),
			Validate:         registry.Check(validateV2),
			ValidateUpdate:   registry.CheckUpdate(func(h, _ *autoscalingv2.HorizontalPodAutoscaler) field.ErrorList { return validateV2(h) }),
		},
		Columns: columns(func(o runtime.Object) *autoscalingv2.HorizontalPodAutoscaler {
			return o.(*autoscalingv2.HorizontalPodAutoscaler)
		}),
		Subresources: []registry.Subresource{row.Status(registry.Strategy{
			Default:          registry.Do(defaultV2),
			PrepareForUpdate: registry.PrepareUpdate(func(h, old *autoscalingv2.HorizontalPodAutoscaler) { h.Spec = old.Spec }),
			ValidateUpdate:   registry.CheckUpdate(func(h, _ *autoscalingv2.HorizontalPodAutoscaler) field.ErrorList { return validateStatus(h) }),
		})},
	}
}

const defaultUtilization int32 = 80

func defaultV2(h *autoscalingv2.HorizontalPodAutoscaler) {
	setDefault(&h.Spec.MinReplicas, 1)
	if len(h.Spec.Metrics) == 0 {
		utilization := defaultUtilization
		h.Spec.Metrics = []autoscalingv2.MetricSpec{{
			Type: autoscalingv2.ResourceMetricSourceType,
			Resource: &autoscalingv2.ResourceMetricSource{
				Name:   corev1.ResourceCPU,
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &utilization},
			},
		}}
	}
	if b := h.Spec.Behavior; b != nil {
		b.ScaleUp = filledRules(b.ScaleUp, upRules())
		b.ScaleDown = filledRules(b.ScaleDown, downRules())
	}
}

func setDefault[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}

// upRules: at once, as fast as the more generous of doubling and four pods, a
// quarter of a minute each.
func upRules() autoscalingv2.HPAScalingRules {
	at := int32(0)
	most := autoscalingv2.MaxChangePolicySelect
	return autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: &at, SelectPolicy: &most, Policies: []autoscalingv2.HPAScalingPolicy{
		{Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: 15},
		{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15},
	}}
}

// downRules: as fast as wished, after a window that the controller knows.
func downRules() autoscalingv2.HPAScalingRules {
	most := autoscalingv2.MaxChangePolicySelect
	return autoscalingv2.HPAScalingRules{SelectPolicy: &most, Policies: []autoscalingv2.HPAScalingPolicy{
		{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15},
	}}
}

func filledRules(r *autoscalingv2.HPAScalingRules, defaults autoscalingv2.HPAScalingRules) *autoscalingv2.HPAScalingRules {
	if r == nil {
		return &defaults
	}
	if r.StabilizationWindowSeconds == nil {
		r.StabilizationWindowSeconds = defaults.StabilizationWindowSeconds
	}
	if r.SelectPolicy == nil {
		r.SelectPolicy = defaults.SelectPolicy
	}
	if r.Policies == nil {
		r.Policies = defaults.Policies
	}
	return r
}
