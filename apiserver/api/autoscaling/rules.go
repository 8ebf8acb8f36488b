package autoscaling

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

const (
	maxWindowSeconds int32 = 3600
	maxPeriodSeconds int32 = 1800
)

func validateV2(h *autoscalingv2.HorizontalPodAutoscaler) field.ErrorList {
	spec := field.NewPath("spec")
	var errs field.ErrorList
	if m := h.Spec.MinReplicas; m != nil && *m < 1 {
		errs = append(errs, field.Invalid(spec.Child("minReplicas"), *m, "must be greater than or equal to 1"))
	}
	if h.Spec.MaxReplicas < 1 {
		errs = append(errs, field.Invalid(spec.Child("maxReplicas"), h.Spec.MaxReplicas, rule.NotPositive))
	}
	if m := h.Spec.MinReplicas; m != nil && h.Spec.MaxReplicas < *m {
		errs = append(errs, field.Invalid(spec.Child("maxReplicas"), h.Spec.MaxReplicas, "must be greater than or equal to `minReplicas`"))
	}
	errs = append(errs, validateReference(spec.Child("scaleTargetRef"), h.Spec.ScaleTargetRef)...)
	for i := range h.Spec.Metrics {
		errs = append(errs, validateMetric(spec.Child("metrics").Index(i), &h.Spec.Metrics[i])...)
	}
	if b := h.Spec.Behavior; b != nil {
		errs = append(errs, validateRules(spec.Child("behavior", "scaleUp"), b.ScaleUp)...)
		errs = append(errs, validateRules(spec.Child("behavior", "scaleDown"), b.ScaleDown)...)
	}
	return errs
}

func validateReference(at *field.Path, r autoscalingv2.CrossVersionObjectReference) field.ErrorList {
	segment := func(at *field.Path, value string) field.ErrorList {
		if value == "" {
			return field.ErrorList{field.Required(at, "")}
		}
		return rule.Invalid(at, value, path.IsValidPathSegmentName(value))
	}
	return append(segment(at.Child("kind"), r.Kind), segment(at.Child("name"), r.Name)...)
}

// validateMetric wants the source that the type says, and no other.
func validateMetric(at *field.Path, m *autoscalingv2.MetricSpec) field.ErrorList {
	errs := rule.OneOf(at.Child("type"), m.Type, autoscalingv2.ObjectMetricSourceType, autoscalingv2.PodsMetricSourceType,
		autoscalingv2.ResourceMetricSourceType, autoscalingv2.ExternalMetricSourceType, autoscalingv2.ContainerResourceMetricSourceType)
	sources := []struct {
		name  string
		of    autoscalingv2.MetricSourceType
		given bool
		check func(*field.Path) field.ErrorList
	}{
		{"object", autoscalingv2.ObjectMetricSourceType, m.Object != nil, func(p *field.Path) field.ErrorList {
			errs := validateReference(p.Child("describedObject"), m.Object.DescribedObject)
			errs = append(errs, validateIdentifier(p.Child("metric"), m.Object.Metric)...)
			return append(errs, validateTarget(p.Child("target"), m.Object.Target, wantsValue)...)
		}},
		{"pods", autoscalingv2.PodsMetricSourceType, m.Pods != nil, func(p *field.Path) field.ErrorList {
			return append(validateIdentifier(p.Child("metric"), m.Pods.Metric), validateTarget(p.Child("target"), m.Pods.Target, wantsAverage)...)
		}},
		{"resource", autoscalingv2.ResourceMetricSourceType, m.Resource != nil, func(p *field.Path) field.ErrorList {
			return append(rule.Required(p.Child("name"), m.Resource.Name), validateTarget(p.Child("target"), m.Resource.Target, wantsUsage)...)
		}},
		{"containerResource", autoscalingv2.ContainerResourceMetricSourceType, m.ContainerResource != nil, func(p *field.Path) field.ErrorList {
			errs := rule.Required(p.Child("name"), m.ContainerResource.Name)
			errs = append(errs, rule.Required(p.Child("container"), m.ContainerResource.Container)...)
			return append(errs, validateTarget(p.Child("target"), m.ContainerResource.Target, wantsUsage)...)
		}},
		{"external", autoscalingv2.ExternalMetricSourceType, m.External != nil, func(p *field.Path) field.ErrorList {
			return append(validateIdentifier(p.Child("metric"), m.External.Metric), validateTarget(p.Child("target"), m.External.Target, wantsValue)...)
		}},
	}
	for _, s := range sources {
		p := at.Child(s.name)
		switch {
		case s.given && m.Type == s.of:
			errs = append(errs, s.check(p)...)
		case s.given:
			errs = append(errs, field.Forbidden(p, "must populate the given metric source only"))
		case m.Type == s.of:
			errs = append(errs, field.Required(p, "must populate information for the given metric source"))
		}
	}
	return errs
}

func validateIdentifier(at *field.Path, m autoscalingv2.MetricIdentifier) field.ErrorList {
	if m.Name == "" {
		return field.ErrorList{field.Required(at.Child("name"), "must specify a metric name")}
	}
	errs := rule.Invalid(at.Child("name"), m.Name, path.IsValidPathSegmentName(m.Name))
	return append(errs, rule.Selector(at.Child("selector"), m.Selector)...)
}

// want is which of a target's values a source can use.
type want int

const (
	wantsValue want = iota
	wantsAverage
	wantsUsage
)

func validateTarget(at *field.Path, t autoscalingv2.MetricTarget, w want) field.ErrorList {
	errs := rule.OneOf(at.Child("type"), t.Type, autoscalingv2.UtilizationMetricType, autoscalingv2.ValueMetricType, autoscalingv2.AverageValueMetricType)
	if t.Value != nil && t.Value.Sign() != 1 {
		errs = append(errs, field.Invalid(at.Child("value"), t.Value, "must be positive"))
	}
	if t.AverageValue != nil && t.AverageValue.Sign() != 1 {
		errs = append(errs, field.Invalid(at.Child("averageValue"), t.AverageValue, "must be positive"))
	}
	if t.AverageUtilization != nil && *t.AverageUtilization < 1 {
		errs = append(errs, field.Invalid(at.Child("averageUtilization"), t.AverageUtilization, rule.NotPositive))
	}
	switch w {
	case wantsValue:
		if t.Value == nil && t.AverageValue == nil {
			errs = append(errs, field.Required(at.Child("averageValue"), "must set either a target value for metric or a per-pod target"))
		}
	case wantsAverage:
		if t.AverageValue == nil {
			errs = append(errs, field.Required(at.Child("averageValue"), "must specify a positive target averageValue"))
		}
	case wantsUsage:
		if t.AverageUtilization == nil && t.AverageValue == nil {
			errs = append(errs, field.Required(at.Child("averageUtilization"), "must set either a target raw value or a target utilization"))
		}
		if t.AverageUtilization != nil && t.AverageValue != nil {
			errs = append(errs, field.Forbidden(at.Child("averageValue"), "may not set both a target raw value and a target utilization"))
		}
	}
	return errs
}

func validateRules(at *field.Path, r *autoscalingv2.HPAScalingRules) field.ErrorList {
	if r == nil {
		return nil
	}
	var errs field.ErrorList
	if w := r.StabilizationWindowSeconds; w != nil {
		window := at.Child("stabilizationWindowSeconds")
		errs = append(errs, rule.NonNegative(window, *w)...)
		if *w > maxWindowSeconds {
			errs = append(errs, field.Invalid(window, *w, "must be less than or equal to 3600"))
		}
	}
	errs = append(errs, rule.OptionalOneOf(at.Child("selectPolicy"), r.SelectPolicy,
		autoscalingv2.MaxChangePolicySelect, autoscalingv2.MinChangePolicySelect, autoscalingv2.DisabledPolicySelect)...)
	policies := at.Child("policies")
	if len(r.Policies) == 0 {
		errs = append(errs, field.Required(policies, "must specify at least one Policy"))
	}
	if r.Tolerance != nil {
		errs = append(errs, rule.Quantity(at.Child("tolerance"), *r.Tolerance)...)
	}
	for i, p := range r.Policies {
		path := policies.Index(i)
		errs = append(errs, rule.Supported(path.Child("type"), p.Type, autoscalingv2.PodsScalingPolicy, autoscalingv2.PercentScalingPolicy)...)
		errs = append(errs, rule.Positive(path.Child("value"), p.Value)...)
		errs = append(errs, rule.Positive(path.Child("periodSeconds"), p.PeriodSeconds)...)
		if p.PeriodSeconds > maxPeriodSeconds {
			errs = append(errs, field.Invalid(path.Child("periodSeconds"), p.PeriodSeconds, "must be less than or equal to 1800"))
		}
	}
	return errs
}

func validateStatus(h *autoscalingv2.HorizontalPodAutoscaler) field.ErrorList {
	status := field.NewPath("status")
	errs := rule.NonNegative(status.Child("currentReplicas"), h.Status.CurrentReplicas)
	return append(errs, rule.NonNegative(status.Child("desiredReplicas"), h.Status.DesiredReplicas)...)
}
