package builtin

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	schedulinglisters "k8s.io/client-go/listers/scheduling/v1"
	"k8s.io/utils/ptr"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/lookup"
)

// systemPriorities are known even before their objects exist.
var systemPriorities = map[string]int32{
	"system-cluster-critical": 2_000_000_000,
	"system-node-critical":    2_000_001_000,
}

// priority turns the name of a pod's priority class into its number.
type priority struct {
	plugin
	client  kubernetes.Interface
	classes schedulinglisters.PriorityClassLister
	synced  lookup.Synced
}

func newPriority(deps Deps) (admission.Plugin, error) {
	informer := deps.Informers.Scheduling().V1().PriorityClasses()
	return &priority{
		plugin:  on("Priority", admission.Create, admission.Update),
		client:  deps.Client,
		classes: informer.Lister(),
		synced:  lookup.Synced{Has: informer.Informer().HasSynced, Clock: deps.Clock},
	}, nil
}

// Admit computes the pod's priority and refuses one that the client computed
// otherwise.
func (p *priority) Admit(ctx context.Context, a *admission.Attributes) error {
	pod, ok := changedPod(a)
	if !ok {
		return nil
	}
	if a.Operation == admission.Update {
		if old, ok := a.OldObject.(*corev1.Pod); ok && pod.Spec.Priority == nil && old.Spec.Priority != nil {
			pod.Spec.Priority = ptr.To(*old.Spec.Priority)
		}
		return nil
	}
	class, err := p.classOf(ctx, a, pod)
	if err != nil {
		return admission.Refusal(a, err)
	}
	return admission.Refusal(a, setPriority(pod, class))
}

func setPriority(pod *corev1.Pod, class *schedulingv1.PriorityClass) error {
	if given := pod.Spec.Priority; given != nil && *given != class.Value {
		return fmt.Errorf("the integer value of priority (%d) must not be provided in pod spec; priority admission controller computed %d from the given PriorityClass name",
			*given, class.Value)
	}
	policy := ptr.Deref(class.PreemptionPolicy, corev1.PreemptLowerPriority)
	if given := pod.Spec.PreemptionPolicy; given != nil && *given != policy {
		return fmt.Errorf("the string value of PreemptionPolicy (%s) must not be provided in pod spec; priority admission controller computed %s from the given PriorityClass name",
			*given, policy)
	}
	pod.Spec.PriorityClassName = class.Name
	pod.Spec.Priority = ptr.To(class.Value)
	pod.Spec.PreemptionPolicy = &policy
	return nil
}

// classOf is the pod's class, or the default one; without any, one without a
// name and of value 0.
func (p *priority) classOf(ctx context.Context, a *admission.Attributes, pod *corev1.Pod) (*schedulingv1.PriorityClass, error) {
	name := pod.Spec.PriorityClassName
	if name == "" {
		if err := p.synced.Wait(ctx, a); err != nil {
			return nil, err
		}
		return p.defaultClass()
	}
	if class, err := p.classes.Get(name); err == nil {
		return class, nil
	}
	if value, ok := systemPriorities[name]; ok {
		return &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Value: value}, nil
	}
	class, err := p.client.SchedulingV1().PriorityClasses().Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("no PriorityClass with name %v was found", name)
	case err != nil:
		return nil, fmt.Errorf("failed to get PriorityClass with name %s: %s", name, err)
	}
	return class, nil
}

// defaultClass is the lowest of those marked as default, should there be more
// than one.
func (p *priority) defaultClass() (*schedulingv1.PriorityClass, error) {
	all, err := p.classes.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	lowest := &schedulingv1.PriorityClass{}
	for _, class := range all {
		if class.GlobalDefault && (lowest.Name == "" || class.Value < lowest.Value) {
			lowest = class
		}
	}
	return lowest, nil
}

// Validate refuses a second default class.
func (p *priority) Validate(ctx context.Context, a *admission.Attributes) error {
	class, ok := a.Object.(*schedulingv1.PriorityClass)
	if !ok || a.Subresource != "" || !class.GlobalDefault {
		return nil
	}
	if err := p.synced.Wait(ctx, a); err != nil {
		return err
	}
	current, err := p.defaultClass()
	if err != nil {
		return admission.Refusal(a, err)
	}
	if current.Name != "" && current.Name != class.Name {
		return admission.Forbidden(a, fmt.Errorf("PriorityClass %v is already marked as default. Only one default can exist", current.Name))
	}
	return nil
}
