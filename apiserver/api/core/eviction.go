package core

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	pdbhelper "k8s.io/component-helpers/apps/poddisruptionbudget"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/apiserver/registry"
)

var budgetResource = schema.GroupResource{Group: policyv1.GroupName, Resource: "poddisruptionbudgets"}

// maxDisruptedPods bounds the evictions that the disruption controller has not
// confirmed.
const maxDisruptedPods = 2000

// evict deletes a pod when its disruption budget allows.
func evict(now clock.PassiveClock) registry.Action {
	return func(ctx context.Context, call registry.Call) (runtime.Object, error) {
		e := call.Object.(*policyv1.Eviction)
		if e.Name != call.Name {
			return nil, apierrors.NewBadRequest("name in URL does not match name in Eviction object")
		}
		o, err := call.Objects.Get(ctx, podResource, call.Namespace, call.Name)
		if err != nil {
			return nil, err
		}
		pod := o.(*corev1.Pod)
		options := e.DeleteOptions
		if options == nil {
			options = &metav1.DeleteOptions{}
		}
		if call.DryRun {
			options.DryRun = []string{metav1.DryRunAll}
		}
		if !ignoresBudget(pod) {
			if err := takeFromBudget(ctx, call, pod, options, metav1.NewTime(now.Now())); err != nil {
				return nil, err
			}
		}
		if err := call.Objects.Delete(ctx, podResource, call.Namespace, call.Name, options); err != nil {
			return nil, err
		}
		return &metav1.Status{Status: metav1.StatusSuccess}, nil
	}
}

// ignoresBudget: a pod that does not serve, or is going anyway, cannot be
// missed.
func ignoresBudget(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed ||
		p.Status.Phase == corev1.PodPending || p.DeletionTimestamp != nil
}

func takeFromBudget(ctx context.Context, call registry.Call, pod *corev1.Pod, options *metav1.DeleteOptions, now metav1.Time) error {
	budgets, err := budgetsOf(ctx, call.Objects, pod)
	if err != nil || len(budgets) == 0 {
		return err
	}
	if len(budgets) > 1 {
		return apierrors.NewInternalError(fmt.Errorf("This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.")) //nolint:staticcheck // Kubernetes' words
	}
	budget := budgets[0]
	if !hasPodCondition(pod, corev1.PodReady) && unhealthyMayGo(budget) {
		// Make sure that it is this very pod, unready as it is, that goes.
		pinVersion(options, pod)
		return nil
	}
	take := func(o runtime.Object) error { return disrupt(o.(*policyv1.PodDisruptionBudget), pod.Name, now) }
	if call.DryRun {
		return take(budget.DeepCopy())
	}
	_, err = call.Objects.Update(ctx, budgetResource, budget.Namespace, budget.Name, take)
	return err
}

func budgetsOf(ctx context.Context, objects registry.Objects, pod *corev1.Pod) ([]*policyv1.PodDisruptionBudget, error) {
	if len(pod.Labels) == 0 {
		return nil, nil
	}
	all, err := objects.List(ctx, budgetResource, pod.Namespace)
	if err != nil {
		return nil, err
	}
	var matching []*policyv1.PodDisruptionBudget
	for _, o := range all {
		b := o.(*policyv1.PodDisruptionBudget)
		selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err == nil && selector.Matches(labels.Set(pod.Labels)) {
			matching = append(matching, b)
		}
	}
	return matching, nil
}

// unhealthyMayGo reports whether a pod that does not serve may be evicted
// without being counted.
func unhealthyMayGo(b *policyv1.PodDisruptionBudget) bool {
	if p := b.Spec.UnhealthyPodEvictionPolicy; p != nil && *p == policyv1.AlwaysAllow {
		return true
	}
	return b.Status.CurrentHealthy >= b.Status.DesiredHealthy && b.Status.DesiredHealthy > 0
}

func pinVersion(options *metav1.DeleteOptions, pod *corev1.Pod) {
	if options.Preconditions == nil {
		options.Preconditions = &metav1.Preconditions{}
	}
	if options.Preconditions.ResourceVersion == nil {
		version := pod.ResourceVersion
		options.Preconditions.ResourceVersion = &version
	}
}

// disrupt takes one disruption from a budget in the name of a pod.
func disrupt(b *policyv1.PodDisruptionBudget, pod string, now metav1.Time) error {
	if b.Status.ObservedGeneration < b.Generation {
		return overBudget(fmt.Sprintf("The disruption budget %s is still being processed by the server.", b.Name), 10)
	}
	forbidden := func(text string) error {
		return apierrors.NewForbidden(budgetResource, b.Name, fmt.Errorf("%s", text))
	}
	switch {
	case b.Status.DisruptionsAllowed < 0:
		return forbidden("pdb disruptions allowed is negative")
	case len(b.Status.DisruptedPods) > maxDisruptedPods:
		return forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller")
	case b.Status.DisruptionsAllowed == 0:
		return overBudget(fmt.Sprintf("The disruption budget %s needs %d healthy pods and has %d currently",
			b.Name, b.Status.DesiredHealthy, b.Status.CurrentHealthy), 0)
	}
	b.Status.DisruptionsAllowed--
	if b.Status.DisruptionsAllowed == 0 {
		pdbhelper.UpdateDisruptionAllowedCondition(b)
	}
	if b.Status.DisruptedPods == nil {
		b.Status.DisruptedPods = map[string]metav1.Time{}
	}
	b.Status.DisruptedPods[pod] = now
	return nil
}

func overBudget(cause string, retryAfter int) error {
	err := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", retryAfter)
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{Type: policyv1.DisruptionBudgetCause, Message: cause})
	return err
}
