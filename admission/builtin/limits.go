package builtin

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
)

// asked is what something asks for at least and at most.
type asked struct{ requests, limits corev1.ResourceList }

func podLimitErrors(limits *corev1.LimitRange, pod *corev1.Pod) []error {
	var errs []error
	for _, limit := range limits.Spec.Limits {
		switch limit.Type {
		case corev1.LimitTypeContainer:
			for _, containers := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
				for _, c := range containers {
					errs = append(errs, limitErrors(limit, asked{c.Resources.Requests, c.Resources.Limits})...)
				}
			}
		case corev1.LimitTypePod:
			options := resourcehelper.PodResourcesOptions{ExcludeOverhead: true}
			errs = append(errs, limitErrors(limit, asked{resourcehelper.PodRequests(pod, options), resourcehelper.PodLimits(pod, options)})...)
		}
	}
	return errs
}

func claimLimitErrors(limits *corev1.LimitRange, claim *corev1.PersistentVolumeClaim) []error {
	var errs []error
	requests := claim.Spec.Resources.Requests
	for _, limit := range limits.Spec.Limits {
		if limit.Type != corev1.LimitTypePersistentVolumeClaim {
			continue
		}
		for _, name := range names(limit.Min) {
			errs = appendError(errs, requestError("minimum", limit, name, limit.Min[name], requests, -1))
		}
		for _, name := range names(limit.Max) {
			errs = appendError(errs, requestError("maximum", limit, name, limit.Max[name], requests, 1))
		}
	}
	return errs
}

// limitErrors are the bounds of one limit that the usage breaks.
func limitErrors(limit corev1.LimitRangeItem, u asked) []error {
	var errs []error
	for _, name := range names(limit.Min) {
		errs = appendError(errs, minimumError(limit, name, limit.Min[name], u))
	}
	for _, name := range names(limit.Max) {
		errs = appendError(errs, maximumError(limit, name, limit.Max[name], u))
	}
	for _, name := range names(limit.MaxLimitRequestRatio) {
		errs = appendError(errs, ratioError(limit, name, limit.MaxLimitRequestRatio[name], u))
	}
	return errs
}

func names(list corev1.ResourceList) []corev1.ResourceName { return slices.Sorted(maps.Keys(list)) }

func appendError(errs []error, err error) []error {
	if err != nil {
		return append(errs, err)
	}
	return errs
}

func minimumError(limit corev1.LimitRangeItem, name corev1.ResourceName, bound resource.Quantity, u asked) error {
	if err := requestError("minimum", limit, name, bound, u.requests, -1); err != nil {
		return err
	}
	if got, ok := u.limits[name]; ok && got.Cmp(bound) < 0 {
		return fmt.Errorf("minimum %s usage per %s is %s, but limit is %s", name, limit.Type, bound.String(), got.String())
	}
	return nil
}

func maximumError(limit corev1.LimitRangeItem, name corev1.ResourceName, bound resource.Quantity, u asked) error {
	got, ok := u.limits[name]
	if !ok {
		return fmt.Errorf("maximum %s usage per %s is %s.  No limit is specified", name, limit.Type, bound.String())
	}
	if got.Cmp(bound) > 0 {
		return fmt.Errorf("maximum %s usage per %s is %s, but limit is %s", name, limit.Type, bound.String(), got.String())
	}
	if request, ok := u.requests[name]; ok && request.Cmp(bound) > 0 {
		return fmt.Errorf("maximum %s usage per %s is %s, but request is %s", name, limit.Type, bound.String(), request.String())
	}
	return nil
}

// requestError holds the request alone against a bound; wrong is the sign of a
// comparison that breaks it.
func requestError(which string, limit corev1.LimitRangeItem, name corev1.ResourceName, bound resource.Quantity, requests corev1.ResourceList, wrong int) error {
	got, ok := requests[name]
	if !ok {
		return fmt.Errorf("%s %s usage per %s is %s.  No request is specified", which, name, limit.Type, bound.String())
	}
	if got.Cmp(bound) == wrong {
		return fmt.Errorf("%s %s usage per %s is %s, but request is %s", which, name, limit.Type, bound.String(), got.String())
	}
	return nil
}

func ratioError(limit corev1.LimitRangeItem, name corev1.ResourceName, bound resource.Quantity, u asked) error {
	request, requested := u.requests[name]
	top, limited := u.limits[name]
	prefix := fmt.Sprintf("%s max limit to request ratio per %s is %s, but ", name, limit.Type, bound.String())
	switch {
	case !requested || request.IsZero():
		return fmt.Errorf("%sno request is specified or request is 0", prefix)
	case !limited || top.IsZero():
		return fmt.Errorf("%sno limit is specified or limit is 0", prefix)
	}
	ratio := top.AsApproximateFloat64() / request.AsApproximateFloat64()
	if ratio > bound.AsApproximateFloat64() {
		return fmt.Errorf("%sprovided ratio is %f", prefix, ratio)
	}
	return nil
}
