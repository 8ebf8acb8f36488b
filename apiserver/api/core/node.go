package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

func nodes() *registry.Resource {
	return &registry.Resource{
		Kind: kind("Node"), Name: "nodes", Singular: "node", ShortNames: []string{"no"},
		Verbs: row.AllVerbs(), StoragePrefix: "minions", New: row.New[corev1.Node], NewList: row.New[corev1.NodeList],
		Strategy: registry.Strategy{
			Default:          registry.Do(defaultNode),
			PrepareForUpdate: registry.PrepareUpdate(func(n, old *corev1.Node) { n.Status = old.Status }),
			Validate:         registry.Check(validateNode),
			ValidateUpdate:   registry.CheckUpdate(validateNodeUpdate),
		},
		Columns: nodeColumns(),
		Fields: func(o runtime.Object) fields.Set {
			unschedulable := "false"
			if o.(*corev1.Node).Spec.Unschedulable {
				unschedulable = "true"
			}
			return fields.Set{"spec.unschedulable": unschedulable}
		},
		Subresources: []registry.Subresource{
			{Name: "proxy", Kind: kind("NodeProxyOptions"), New: row.New[corev1.NodeProxyOptions], Verbs: row.Proxy(), Connect: true},
			row.Status(registry.Strategy{
				Default:          registry.Do(defaultNode),
				PrepareForUpdate: registry.PrepareUpdate(func(n, old *corev1.Node) { n.Spec = old.Spec }),
				ValidateUpdate:   registry.CheckUpdate(validateNodeUpdate),
			}),
		},
	}
}

func defaultNode(n *corev1.Node) {
	podspec.RoundUp(n.Status.Capacity)
	podspec.RoundUp(n.Status.Allocatable)
	if n.Status.Allocatable == nil && n.Status.Capacity != nil {
		n.Status.Allocatable = n.Status.Capacity.DeepCopy()
	}
}

func validateNode(n *corev1.Node) field.ErrorList {
	spec, status := field.NewPath("spec"), field.NewPath("status")
	errs := validateTaints(spec.Child("taints"), n.Spec.Taints)
	errs = append(errs, validateNodeResources(status, n)...)
	return append(errs, validatePodCIDRs(spec, n.Spec.PodCIDRs)...)
}
