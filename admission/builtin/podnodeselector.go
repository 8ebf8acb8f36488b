package builtin

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/lookup"
)

// NodeSelectors are the settings of PodNodeSelector: label selectors of the
// form "a=b,c=d".
type NodeSelectors struct {
	// ClusterDefault is for namespaces without an annotation of their own.
	ClusterDefault string
	// Namespaces are all that pods of a namespace may select, where given.
	Namespaces map[string]string
}

const nodeSelectorAnnotation = "scheduler.alpha.kubernetes.io/node-selector"

// podNodeSelector restricts the nodes that pods of a namespace run on.
type podNodeSelector struct {
	plugin
	namespaces     lookup.Namespaces
	clusterDefault labels.Set
	allowed        map[string]labels.Set
}

func newPodNodeSelector(deps Deps) (admission.Plugin, error) {
	p := &podNodeSelector{
		plugin:     on("PodNodeSelector", admission.Create),
		namespaces: newNamespaces(deps),
		allowed:    map[string]labels.Set{},
	}
	var err error
	if p.clusterDefault, err = labels.ConvertSelectorToLabelsMap(deps.Config.NodeSelectors.ClusterDefault); err != nil {
		return nil, fmt.Errorf("cluster default: %w", err)
	}
	for namespace, selector := range deps.Config.NodeSelectors.Namespaces {
		if p.allowed[namespace], err = labels.ConvertSelectorToLabelsMap(selector); err != nil {
			return nil, fmt.Errorf("namespace %s: %w", namespace, err)
		}
	}
	return p, nil
}

// Admit merges the namespace's selector into the pod's.
func (p *podNodeSelector) Admit(ctx context.Context, a *admission.Attributes) error {
	pod, ok := newPod(a)
	if !ok {
		return nil
	}
	selector, err := p.selector(ctx, a.Namespace)
	if err != nil {
		return admission.Refusal(a, err)
	}
	if labels.Conflicts(selector, pod.Spec.NodeSelector) {
		return admission.Forbidden(a, errors.New("pod node label selector conflicts with its namespace node label selector"))
	}
	if len(selector) > 0 {
		pod.Spec.NodeSelector = labels.Merge(selector, pod.Spec.NodeSelector)
	}
	return nil
}

// Validate holds the merged selector against what the namespace allows.
func (p *podNodeSelector) Validate(ctx context.Context, a *admission.Attributes) error {
	pod, ok := newPod(a)
	if !ok {
		return nil
	}
	selector, err := p.selector(ctx, a.Namespace)
	if err != nil {
		return admission.Refusal(a, err)
	}
	if labels.Conflicts(selector, pod.Spec.NodeSelector) {
		return admission.Forbidden(a, errors.New("pod node label selector conflicts with its namespace node label selector"))
	}
	allowed, limited := p.allowed[a.Namespace]
	if limited && !within(allowed, pod.Spec.NodeSelector) {
		return admission.Forbidden(a, errors.New("pod node label selector labels conflict with its namespace whitelist"))
	}
	return nil
}

func (p *podNodeSelector) selector(ctx context.Context, name string) (labels.Set, error) {
	namespace, err := p.namespaces.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	annotation, ok := namespace.Annotations[nodeSelectorAnnotation]
	if !ok {
		return maps.Clone(p.clusterDefault), nil
	}
	return labels.ConvertSelectorToLabelsMap(annotation)
}

func within(allowed, selector map[string]string) bool {
	for key, value := range selector {
		if have, ok := allowed[key]; !ok || have != value {
			return false
		}
	}
	return true
}
