package builtin

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/admission"
)

// taintNodesByCondition keeps pods off a new node until it is known to be
// ready.
type taintNodesByCondition struct{ plugin }

func newTaintNodesByCondition(Deps) (admission.Plugin, error) {
	return &taintNodesByCondition{on("TaintNodesByCondition", admission.Create)}, nil
}

// Admit adds the taint, which the node lifecycle controller takes away.
func (p *taintNodesByCondition) Admit(_ context.Context, a *admission.Attributes) error {
	node, ok := a.Object.(*corev1.Node)
	if !ok || !a.Is(corev1.Resource("nodes"), "") {
		return nil
	}
	notReady := corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule}
	if !slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.MatchTaint(&notReady) }) {
		node.Spec.Taints = append(node.Spec.Taints, notReady)
	}
	return nil
}
