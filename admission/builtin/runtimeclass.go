package builtin

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	nodelisters "k8s.io/client-go/listers/node/v1"

	"github.com/yare-io/yare/admission"
)

// runtimeClass gives pods the overhead of their runtime class, and sends them
// where it is.
type runtimeClass struct {
	plugin
	client  kubernetes.Interface
	classes nodelisters.RuntimeClassLister
}

func newRuntimeClass(deps Deps) (admission.Plugin, error) {
	return &runtimeClass{
		plugin:  on("RuntimeClass", admission.Create),
		client:  deps.Client,
		classes: deps.Informers.Node().V1().RuntimeClasses().Lister(),
	}, nil
}

// Admit sets overhead, node selector and tolerations.
func (p *runtimeClass) Admit(ctx context.Context, a *admission.Attributes) error {
	pod, ok := newPod(a)
	if !ok {
		return nil
	}
	class, err := p.classOf(ctx, pod)
	if err != nil || class == nil {
		return admission.Refusal(a, err)
	}
	if class.Overhead != nil {
		if pod.Spec.Overhead != nil && !equality.Semantic.DeepEqual(class.Overhead.PodFixed, pod.Spec.Overhead) {
			return admission.Forbidden(a, errors.New("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"))
		}
		pod.Spec.Overhead = class.Overhead.PodFixed.DeepCopy()
	}
	return admission.Refusal(a, schedule(pod, class.Scheduling))
}

func schedule(pod *corev1.Pod, scheduling *nodev1.Scheduling) error {
	if scheduling == nil {
		return nil
	}
	for key, value := range scheduling.NodeSelector {
		if own, ok := pod.Spec.NodeSelector[key]; ok && own != value {
			return fmt.Errorf("conflict: runtimeClass.scheduling.nodeSelector[%s] = %s; pod.spec.nodeSelector[%s] = %s", key, value, key, own)
		}
		if pod.Spec.NodeSelector == nil {
			pod.Spec.NodeSelector = map[string]string{}
		}
		pod.Spec.NodeSelector[key] = value
	}
	pod.Spec.Tolerations = mergeTolerations(pod.Spec.Tolerations, scheduling.Tolerations)
	return nil
}

// Validate refuses an overhead that no class defines.
func (p *runtimeClass) Validate(ctx context.Context, a *admission.Attributes) error {
	pod, ok := newPod(a)
	if !ok {
		return nil
	}
	class, err := p.classOf(ctx, pod)
	if err != nil {
		return admission.Refusal(a, err)
	}
	if class != nil && class.Overhead != nil {
		if !equality.Semantic.DeepEqual(class.Overhead.PodFixed, pod.Spec.Overhead) {
			return admission.Forbidden(a, errors.New("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"))
		}
	} else if len(pod.Spec.Overhead) > 0 {
		return admission.Forbidden(a, errors.New("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"))
	}
	return nil
}

// classOf is nil for a pod that names none.
func (p *runtimeClass) classOf(ctx context.Context, pod *corev1.Pod) (*nodev1.RuntimeClass, error) {
	if pod.Spec.RuntimeClassName == nil {
		return nil, nil
	}
	name := *pod.Spec.RuntimeClassName
	if class, err := p.classes.Get(name); err == nil {
		return class, nil
	}
	class, err := p.client.NodeV1().RuntimeClasses().Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("pod rejected: RuntimeClass %q not found", name)
	case err != nil:
		return nil, fmt.Errorf("pod rejected: reading RuntimeClass %q: %s", name, err)
	}
	return class, nil
}
