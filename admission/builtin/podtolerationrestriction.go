package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/lookup"
)

// Tolerations are the settings of PodTolerationRestriction, for namespaces
// without annotations of their own.
type Tolerations struct {
	// Default is added to every pod.
	Default []corev1.Toleration
	// Allowed is all that pods may tolerate; empty: anything.
	Allowed []corev1.Toleration
}

const (
	defaultTolerationsAnnotation = "scheduler.alpha.kubernetes.io/defaultTolerations"
	allowedTolerationsAnnotation = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"
)

// podTolerationRestriction says what pods of a namespace tolerate.
type podTolerationRestriction struct {
	plugin
	namespaces lookup.Namespaces
	cluster    Tolerations
}

func newPodTolerationRestriction(deps Deps) (admission.Plugin, error) {
	return &podTolerationRestriction{
		plugin:     on("PodTolerationRestriction", admission.Create, admission.Update),
		namespaces: newNamespaces(deps),
		cluster:    deps.Config.Tolerations,
	}, nil
}

// Admit adds the namespace's tolerations, and the one of memory pressure to
// pods that requested memory.
func (p *podTolerationRestriction) Admit(ctx context.Context, a *admission.Attributes) error {
	pod, ok := changedPod(a)
	if !ok {
		return nil
	}
	var add []corev1.Toleration
	if a.Operation == admission.Create {
		defaults, err := p.tolerations(ctx, a.Namespace, defaultTolerationsAnnotation, p.cluster.Default)
		if err != nil {
			return admission.Refusal(a, err)
		}
		add = append(add, defaults...)
	}
	if requestsAnything(pod) {
		add = append(add, corev1.Toleration{
			Key: corev1.TaintNodeMemoryPressure, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule,
		})
	}
	pod.Spec.Tolerations = mergeTolerations(pod.Spec.Tolerations, add)
	return nil
}

// Validate holds the pod's tolerations against what the namespace allows.
func (p *podTolerationRestriction) Validate(ctx context.Context, a *admission.Attributes) error {
	pod, ok := changedPod(a)
	if !ok || len(pod.Spec.Tolerations) == 0 {
		return nil
	}
	allowed, err := p.tolerations(ctx, a.Namespace, allowedTolerationsAnnotation, p.cluster.Allowed)
	if err != nil {
		return admission.Refusal(a, err)
	}
	if len(allowed) == 0 {
		return nil
	}
	for _, t := range pod.Spec.Tolerations {
		if !slices.ContainsFunc(allowed, func(wide corev1.Toleration) bool { return includes(wide, t) }) {
			return admission.Forbidden(a, errors.New("pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist"))
		}
	}
	return nil
}

func (p *podTolerationRestriction) tolerations(ctx context.Context, name, annotation string, fallback []corev1.Toleration) ([]corev1.Toleration, error) {
	namespace, err := p.namespaces.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	text, ok := namespace.Annotations[annotation]
	if !ok {
		return fallback, nil
	}
	if text == "" {
		return nil, nil
	}
	var tolerations []corev1.Toleration
	if err := json.Unmarshal([]byte(text), &tolerations); err != nil {
		return nil, fmt.Errorf("annotation %s of namespace %s: %w", annotation, name, err)
	}
	return tolerations, nil
}

func mergeTolerations(have, add []corev1.Toleration) []corev1.Toleration {
	for _, t := range add {
		if !slices.ContainsFunc(have, func(h corev1.Toleration) bool { return equality.Semantic.DeepEqual(h, t) }) {
			have = append(have, t)
		}
	}
	return have
}

// requestsAnything: the pod is not of the best-effort class.
func requestsAnything(pod *corev1.Pod) bool {
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, container := range containers {
			for _, list := range []corev1.ResourceList{container.Resources.Requests, container.Resources.Limits} {
				if !list.Cpu().IsZero() || !list.Memory().IsZero() {
					return true
				}
			}
		}
	}
	return false
}

// includes reports whether wide tolerates all that t does.
func includes(wide, t corev1.Toleration) bool {
	exists := wide.Operator == corev1.TolerationOpExists
	switch {
	case wide.Key == "" && exists:
	case wide.Key != t.Key:
		return false
	case exists:
	case t.Operator == corev1.TolerationOpExists || wide.Value != t.Value:
		return false
	}
	if wide.Effect != "" && wide.Effect != t.Effect {
		return false
	}
	if wide.Effect == corev1.TaintEffectNoExecute && wide.TolerationSeconds != nil {
		return t.TolerationSeconds != nil && *t.TolerationSeconds <= *wide.TolerationSeconds
	}
	return true
}
