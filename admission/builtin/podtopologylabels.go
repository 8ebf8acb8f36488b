package builtin

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/yare-io/yare/admission"
)

// podTopologyLabels tells pods in which zone and region they are, by the labels
// of their node.
type podTopologyLabels struct {
	plugin
	nodes corelisters.NodeLister
}

func newPodTopologyLabels(deps Deps) (admission.Plugin, error) {
	return &podTopologyLabels{
		plugin: on("PodTopologyLabels", admission.Create),
		nodes:  deps.Informers.Core().V1().Nodes().Lister(),
	}, nil
}

// Admit labels bindings, whose labels go to the pod, and pods that come with a
// node. A node that is not there labels nothing. As in Kubernetes, it is looked
// for among those that the informer has, and nowhere else.
func (p *podTopologyLabels) Admit(_ context.Context, a *admission.Attributes) error {
	switch object := a.Object.(type) {
	case *corev1.Binding:
		if a.Is(corev1.Resource("pods"), "binding") || a.Is(corev1.Resource("bindings"), "") {
			p.label(object, object.Target.Name)
		}
	case *corev1.Pod:
		if a.Is(corev1.Resource("pods"), "") {
			p.label(object, object.Spec.NodeName)
		}
	}
	return nil
}

func (p *podTopologyLabels) label(object metav1.Object, node string) {
	if node == "" {
		return
	}
	found, err := p.nodes.Get(node)
	if err != nil {
		return
	}
	for _, key := range []string{corev1.LabelTopologyZone, corev1.LabelTopologyRegion} {
		value, ok := found.Labels[key]
		if !ok {
			continue
		}
		labels := object.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[key] = value
		object.SetLabels(labels)
	}
}
