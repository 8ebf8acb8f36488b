package core

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

func pods(d Deps) *registry.Resource {
	return &registry.Resource{
		Kind: kind("Pod"), Name: "pods", Singular: "pod", ShortNames: []string{"po"}, Categories: []string{"all"},
		Namespaced: true, Verbs: row.AllVerbs(), StoragePrefix: "pods",
		New: row.New[corev1.Pod], NewList: row.New[corev1.PodList],
		Strategy: registry.Strategy{
			Default:          registry.Do(podspec.DefaultPod),
			PrepareForCreate: registry.Prepare(preparePod),
			PrepareForUpdate: registry.PrepareUpdate(preparePodUpdate),
			Validate:         registry.Check(validatePod),
			ValidateUpdate:   registry.CheckUpdate(validatePodUpdate),
			Warnings:         podWarnings,
		},
		Delete:       registry.DeleteStrategy{GracePeriod: podGrace, ReturnObject: true},
		Columns:      podColumns(),
		Conditions:   registry.Conditions(podConditions),
		Fields:       podFields,
		Indexed:      []string{"spec.nodeName"},
		Subresources: podSubresources(d),
	}
}

// preparePod gives a new pod the status that the server owns.
func preparePod(p *corev1.Pod) {
	p.Generation = 1
	p.Status = corev1.PodStatus{Phase: corev1.PodPending, QOSClass: podspec.QOSClass(&p.Spec)}
	podspec.MergeLabelKeys(p)
	if len(p.Spec.SchedulingGates) > 0 {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonSchedulingGated,
			Message: "Scheduling is blocked due to non-empty scheduling gates",
		})
	}
}

func preparePodUpdate(p, old *corev1.Pod) {
	p.Status = old.Status
	podGeneration(p, old)
}

func podGeneration(p, old *corev1.Pod) { row.NextGeneration(p, old, !row.Same(p.Spec, old.Spec)) }

func validatePod(p *corev1.Pod) field.ErrorList {
	errs := podspec.ValidatePodAnnotations(field.NewPath("metadata", "annotations"), p.Annotations)
	errs = append(errs, podspec.ValidateSpec(field.NewPath("spec"), &p.Spec, podspec.Options{Pod: true})...)
	if len(p.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "ephemeralContainers"), "cannot be set on create"))
	}
	if len(p.Spec.SchedulingGates) > 0 && p.Spec.NodeName != "" {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "nodeName"), "cannot be set until all schedulingGates have been cleared"))
	}
	return append(errs, validateMirror(p)...)
}

// validateMirror checks the image of a static pod: it is on a node, and needs
// nothing that only the API has.
func validateMirror(p *corev1.Pod) field.ErrorList {
	if _, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]; !mirror || p.Spec.NodeName != "" {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("metadata", "annotations").Key(corev1.MirrorPodAnnotationKey), "",
		"must set spec.nodeName if mirror pod annotation is set")}
}

func validatePodUpdate(p, old *corev1.Pod) field.ErrorList {
	spec := field.NewPath("spec")
	errs := podspec.ValidateUpdate(spec, &p.Spec, &old.Spec)
	if len(errs) > 0 {
		return errs
	}
	errs = validateMirrorUpdate(p, old)
	errs = append(errs, podspec.ValidatePodAnnotations(field.NewPath("metadata", "annotations"), p.Annotations)...)
	return append(errs, podspec.ValidateSpec(spec, &p.Spec, podspec.Options{Pod: true, Old: &old.Spec})...)
}

func validateMirrorUpdate(p, old *corev1.Pod) field.ErrorList {
	at := field.NewPath("metadata", "annotations").Key(corev1.MirrorPodAnnotationKey)
	is, now := p.Annotations[corev1.MirrorPodAnnotationKey]
	was, before := old.Annotations[corev1.MirrorPodAnnotationKey]
	switch {
	case now && !before:
		return field.ErrorList{field.Forbidden(at, "may not add mirror pod annotation")}
	case !now && before:
		return field.ErrorList{field.Forbidden(at, "may not remove mirror pod annotation")}
	case is != was:
		return field.ErrorList{field.Forbidden(at, "may not update mirror pod annotation")}
	}
	return nil
}

func podWarnings(_ context.Context, o, old runtime.Object) []string {
	p := o.(*corev1.Pod)
	if old != nil && row.Same(p.Spec, old.(*corev1.Pod).Spec) {
		return nil
	}
	return podspec.Warnings(field.NewPath("spec"), &p.Spec)
}

// podGrace gives a pod the time it asked for to end; one that never started or
// has already ended needs none.
func podGrace(_ context.Context, o runtime.Object, options *metav1.DeleteOptions) (int64, bool) {
	p := o.(*corev1.Pod)
	var seconds int64
	switch {
	case options.GracePeriodSeconds != nil:
		seconds = *options.GracePeriodSeconds
	case p.Spec.TerminationGracePeriodSeconds != nil:
		seconds = *p.Spec.TerminationGracePeriodSeconds
	}
	if p.Spec.NodeName == "" || p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded {
		seconds = 0
	}
	if seconds < 0 {
		seconds = 1
	}
	return seconds, true
}

func podFields(o runtime.Object) fields.Set {
	p := o.(*corev1.Pod)
	var ip string
	if len(p.Status.PodIPs) > 0 {
		ip = p.Status.PodIPs[0].IP
	} else {
		ip = p.Status.PodIP
	}
	hostNetwork := "false"
	if p.Spec.HostNetwork {
		hostNetwork = "true"
	}
	return fields.Set{
		"spec.nodeName":            p.Spec.NodeName,
		"spec.host":                p.Spec.NodeName,
		"spec.restartPolicy":       string(p.Spec.RestartPolicy),
		"spec.schedulerName":       p.Spec.SchedulerName,
		"spec.serviceAccountName":  p.Spec.ServiceAccountName,
		"spec.hostNetwork":         hostNetwork,
		"status.phase":             string(p.Status.Phase),
		"status.podIP":             ip,
		"status.podIPs":            ip,
		"status.nominatedNodeName": p.Status.NominatedNodeName,
	}
}
