package builtin

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/yare-io/yare/admission"
)

// podTopologyLabels tells pods in which zone and region they are, by the labels
// of their node.
type podTopologyLabels struct {
	plugin
	client kubernetes.Interface
	nodes  corelisters.NodeLister
}

func newPodTopologyLabels(deps Deps) (admission.Plugin, error) {
	return &podTopologyLabels{
		plugin: on("PodTopologyLabels", admission.Create),
		client: deps.Client,
		nodes:  deps.Informers.Core().V1().Nodes().Lister(),
	}, nil
}

// Admit labels bindings, whose labels go to the pod, and pods that come with a
// node. A node that is not there labels nothing.
func (p *podTopologyLabels) Admit(ctx context.Context, a *admission.Attributes) error {
	switch object := a.Object.(type) {
	case *corev1.Binding:
		if a.Is(corev1.Resource("pods"), "binding") || a.Is(corev1.Resource("bindings"), "") {
			p.label(ctx, object, object.Target.Name)
		}
	case *corev1.Pod:
		if a.Is(corev1.Resource("pods"), "") {
			p.label(ctx, object, object.Spec.NodeName)
		}
	}
	return nil
}

func (p *podTopologyLabels) label(ctx context.Context, object metav1.Object, node string) {
	if node == "" {
		return
	}
	found, err := p.nodes.Get(node)
	if err != nil {
		if found, err = p.client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{}); err != nil {
			return
		}
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
