package builtin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/lookup"
)

const limitRangerAnnotation = "kubernetes.io/limit-ranger"

// limitRanger gives containers the resources that a namespace's LimitRanges
// have as default, and holds pods and claims to their bounds.
type limitRanger struct {
	plugin
	limits corelisters.LimitRangeLister
	synced lookup.Synced
}

func newLimitRanger(deps Deps) (admission.Plugin, error) {
	informer := deps.Informers.Core().V1().LimitRanges()
	return &limitRanger{
		plugin: on("LimitRanger", admission.Create, admission.Update),
		limits: informer.Lister(),
		synced: lookup.Synced{Has: informer.Informer().HasSynced, Clock: deps.Clock},
	}, nil
}

// Admit fills in defaults; they are only for new pods.
func (p *limitRanger) Admit(ctx context.Context, a *admission.Attributes) error {
	pod, ok := newPod(a)
	if !ok {
		return nil
	}
	ranges, err := p.ranges(ctx, a)
	if err != nil {
		return err
	}
	for _, limits := range ranges {
		fillResources(limits, pod)
	}
	return nil
}

// Validate holds new pods, resized pods and claims against every limit.
func (p *limitRanger) Validate(ctx context.Context, a *admission.Attributes) error {
	var check func(*corev1.LimitRange) []error
	switch object := a.Object.(type) {
	case *corev1.Pod:
		created := a.Operation == admission.Create && a.Is(corev1.Resource("pods"), "")
		resized := a.Operation == admission.Update && a.Is(corev1.Resource("pods"), "resize")
		if !created && !resized {
			return nil
		}
		check = func(limits *corev1.LimitRange) []error { return podLimitErrors(limits, object) }
	case *corev1.PersistentVolumeClaim:
		if a.Subresource != "" || object.DeletionTimestamp != nil {
			return nil
		}
		check = func(limits *corev1.LimitRange) []error { return claimLimitErrors(limits, object) }
	default:
		return nil
	}
	ranges, err := p.ranges(ctx, a)
	if err != nil {
		return err
	}
	for _, limits := range ranges {
		if errs := check(limits); len(errs) > 0 {
			return admission.Forbidden(a, utilerrors.NewAggregate(errs))
		}
	}
	return nil
}

// ranges are the namespace's limits by name, so that the first default that
// counts is always the same.
func (p *limitRanger) ranges(ctx context.Context, a *admission.Attributes) ([]*corev1.LimitRange, error) {
	if err := p.synced.Wait(ctx, a); err != nil {
		return nil, err
	}
	ranges, err := p.limits.LimitRanges(a.Namespace).List(labels.Everything())
	if err != nil {
		return nil, admission.Refusal(a, fmt.Errorf("unable to %s %v at this time because there was an error enforcing limit ranges", a.Operation, a.Resource))
	}
	slices.SortFunc(ranges, func(x, y *corev1.LimitRange) int { return strings.Compare(x.Name, y.Name) })
	return ranges, nil
}

// fillResources sets what containers leave out, and says so in an annotation.
func fillResources(limits *corev1.LimitRange, pod *corev1.Pod) {
	requests, caps := corev1.ResourceList{}, corev1.ResourceList{}
	for _, limit := range limits.Spec.Limits {
		if limit.Type == corev1.LimitTypeContainer {
			maps.Copy(requests, limit.DefaultRequest)
			maps.Copy(caps, limit.Default)
		}
	}
	var notes []string
	for i := range pod.Spec.Containers {
		notes = append(notes, fillContainer(&pod.Spec.Containers[i], "container", requests, caps)...)
	}
	for i := range pod.Spec.InitContainers {
		notes = append(notes, fillContainer(&pod.Spec.InitContainers[i], "init container", requests, caps)...)
	}
	if len(notes) == 0 {
		return
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[limitRangerAnnotation] = "LimitRanger plugin set: " + strings.Join(notes, "; ")
}

func fillContainer(container *corev1.Container, kind string, requests, caps corev1.ResourceList) []string {
	var notes []string
	note := func(what string, names []string) {
		if len(names) > 0 {
			notes = append(notes, fmt.Sprintf("%s %s for %s %s", strings.Join(names, ", "), what, kind, container.Name))
		}
	}
	note("request", fill(&container.Resources.Requests, requests))
	note("limit", fill(&container.Resources.Limits, caps))
	return notes
}

// fill returns the names that it set, sorted.
func fill(list *corev1.ResourceList, defaults corev1.ResourceList) []string {
	var names []string
	for name, quantity := range defaults {
		if _, set := (*list)[name]; set {
			continue
		}
		if *list == nil {
			*list = corev1.ResourceList{}
		}
		(*list)[name] = quantity.DeepCopy()
		names = append(names, string(name))
	}
	slices.Sort(names)
	return names
}
