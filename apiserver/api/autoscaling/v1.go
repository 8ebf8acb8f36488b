package autoscaling

import (
	"context"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

func horizontalV1() *registry.Resource {
	v2 := horizontalV2()
	return &registry.Resource{
		Kind: autoscalingv1.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler"), Name: v2.Name, Singular: v2.Singular,
		ShortNames: v2.ShortNames, Categories: v2.Categories, Namespaced: true, Verbs: row.AllVerbs(), StoragePrefix: v2.StoragePrefix,
		New: row.New[autoscalingv1.HorizontalPodAutoscaler], NewList: row.New[autoscalingv1.HorizontalPodAutoscalerList],
		StoredAs: &registry.Conversion{Kind: v2.Kind, ToStored: toV2, FromStored: toV1},
		Strategy: registry.Strategy{
			Default: registry.Do(defaultV1),
			PrepareForCreate: registry.Prepare(func(h *autoscalingv1.HorizontalPodAutoscaler) {
				h.Status = autoscalingv1.HorizontalPodAutoscalerStatus{}
				dropStatusAnnotations(h, nil)
			}),
			PrepareForUpdate: registry.PrepareUpdate(func(h, old *autoscalingv1.HorizontalPodAutoscaler) {
				h.Status = old.Status
				dropStatusAnnotations(h, old)
			}),
			Validate:       validateAsV2,
			ValidateUpdate: func(ctx context.Context, o, _ runtime.Object) field.ErrorList { return validateAsV2(ctx, o) },
		},
		Columns: columns(asV2),
		Subresources: []registry.Subresource{row.Status(registry.Strategy{
			Default:          registry.Do(defaultV1),
			PrepareForUpdate: registry.PrepareUpdate(func(h, old *autoscalingv1.HorizontalPodAutoscaler) { h.Spec = old.Spec }),
			ValidateUpdate:   func(_ context.Context, o, _ runtime.Object) field.ErrorList { return validateStatus(asV2(o)) },
		})},
	}
}

func defaultV1(h *autoscalingv1.HorizontalPodAutoscaler) { setDefault(&h.Spec.MinReplicas, 1) }

// asV2 is for looking only: what cannot be converted is shown as nothing.
func asV2(o runtime.Object) *autoscalingv2.HorizontalPodAutoscaler {
	converted, err := toV2(o)
	if err != nil {
		return &autoscalingv2.HorizontalPodAutoscaler{}
	}
	return converted.(*autoscalingv2.HorizontalPodAutoscaler)
}

func validateAsV2(_ context.Context, o runtime.Object) field.ErrorList {
	converted, err := toV2(o)
	if err != nil {
		return field.ErrorList{field.Invalid(field.NewPath("metadata", "annotations"), o.(*autoscalingv1.HorizontalPodAutoscaler).Annotations, err.Error())}
	}
	h := converted.(*autoscalingv2.HorizontalPodAutoscaler)
	defaultV2(h)
	return validateV2(h)
}
