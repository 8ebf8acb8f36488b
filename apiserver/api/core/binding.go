package core

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

// bindings is the old way to bind a pod: POST to the collection.
func bindings(d Deps) *registry.Resource {
	return &registry.Resource{
		Kind: kind("Binding"), Name: "bindings", Singular: "binding", Namespaced: true, Verbs: row.CreateOnly(),
		New: row.New[corev1.Binding],
		Creator: func(ctx context.Context, call registry.Call) (runtime.Object, error) {
			call.Name = call.Object.(*corev1.Binding).Name
			return bind(d.Clock)(ctx, call)
		},
	}
}

// bind assigns a pod to a node.
func bind(now clock.PassiveClock) registry.Action {
	return func(ctx context.Context, call registry.Call) (runtime.Object, error) {
		b := call.Object.(*corev1.Binding)
		if call.Name != b.Name {
			return nil, apierrors.NewBadRequest("name in URL does not match name in Binding object")
		}
		if errs := validateBinding(b); len(errs) > 0 {
			return nil, apierrors.NewInvalid(kind("Binding").GroupKind(), b.Name, errs)
		}
		success := &metav1.Status{Status: metav1.StatusSuccess}
		assign := func(o runtime.Object) error { return assignPod(o.(*corev1.Pod), b, metav1.NewTime(now.Now())) }
		if call.DryRun {
			current, err := call.Objects.Get(ctx, podResource, call.Namespace, call.Name)
			if err != nil {
				return nil, err
			}
			return success, assign(current.DeepCopyObject())
		}
		if _, err := call.Objects.Update(ctx, podResource, call.Namespace, call.Name, assign); err != nil {
			return nil, err
		}
		return success, nil
	}
}

func validateBinding(b *corev1.Binding) field.ErrorList {
	var errs field.ErrorList
	target := field.NewPath("target")
	if b.Target.Kind != "" && b.Target.Kind != "Node" {
		errs = append(errs, field.NotSupported(target.Child("kind"), b.Target.Kind, []string{"Node", "<empty>"}))
	}
	if b.Target.Name == "" {
		errs = append(errs, field.Required(target.Child("name"), ""))
	}
	return errs
}

func assignPod(p *corev1.Pod, b *corev1.Binding, now metav1.Time) error {
	conflict := func(format string, args ...any) error {
		return apierrors.NewConflict(podResource, p.Name, fmt.Errorf(format, args...))
	}
	switch {
	case b.UID != "" && b.UID != p.UID:
		return conflict("Precondition failed: UID in precondition: %v, UID in object meta: %v", b.UID, p.UID)
	case b.ResourceVersion != "" && b.ResourceVersion != p.ResourceVersion:
		return conflict("Precondition failed: ResourceVersion in precondition: %v, ResourceVersion in object meta: %v", b.ResourceVersion, p.ResourceVersion)
	case p.DeletionTimestamp != nil:
		return conflict("pod %s is being deleted, cannot be assigned to a host", p.Name)
	case p.Spec.NodeName != "":
		return conflict("pod %v is already assigned to node %q", p.Name, p.Spec.NodeName)
	case len(p.Spec.SchedulingGates) > 0:
		return conflict("pod %v has non-empty .spec.schedulingGates", p.Name)
	}
	p.Spec.NodeName = b.Target.Name
	p.Status.NominatedNodeName = ""
	if p.Annotations == nil {
		p.Annotations = map[string]string{}
	}
	maps.Copy(p.Annotations, b.Annotations)
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	maps.Copy(p.Labels, b.Labels)
	setScheduled(p, now)
	return nil
}

func setScheduled(p *corev1.Pod, now metav1.Time) {
	scheduled := corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now, ObservedGeneration: p.Generation}
	for i, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled {
			p.Status.Conditions[i] = scheduled
			return
		}
	}
	p.Status.Conditions = append(p.Status.Conditions, scheduled)
}
