package nodelifecycle

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// conditionTaints says which status of which condition keeps new pods away, and
// by which taint.
var conditionTaints = []struct {
	condition corev1.NodeConditionType
	status    corev1.ConditionStatus
	taint     string
}{
	{corev1.NodeReady, corev1.ConditionFalse, corev1.TaintNodeNotReady},
	{corev1.NodeReady, corev1.ConditionUnknown, corev1.TaintNodeUnreachable},
	{corev1.NodeMemoryPressure, corev1.ConditionTrue, corev1.TaintNodeMemoryPressure},
	{corev1.NodeDiskPressure, corev1.ConditionTrue, corev1.TaintNodeDiskPressure},
	{corev1.NodeNetworkUnavailable, corev1.ConditionTrue, corev1.TaintNodeNetworkUnavailable},
	{corev1.NodePIDPressure, corev1.ConditionTrue, corev1.TaintNodePIDPressure},
}

// noScheduleTaints returns the node's taints with the NoSchedule ones that its
// conditions and its spec call for, and none of these that they do not.
func noScheduleTaints(node *corev1.Node, now time.Time) []corev1.Taint {
	wanted := map[string]bool{corev1.TaintNodeUnschedulable: node.Spec.Unschedulable}
	for _, rule := range conditionTaints {
		condition := conditionOf(node, rule.condition)
		wanted[rule.taint] = condition != nil && condition.Status == rule.status
	}
	return withTaints(node.Spec.Taints, corev1.TaintEffectNoSchedule, wanted, now)
}

// noExecuteTaints returns the node's taints with the one NoExecute taint that
// its readiness calls for, if it may be given one now. One that it has of the
// other kind is exchanged at once: its pods are on notice already.
func noExecuteTaints(node *corev1.Node, mayAdd bool, now time.Time) []corev1.Taint {
	status := readiness(node)
	has := hasNoExecute(node)
	wanted := map[string]bool{
		corev1.TaintNodeNotReady:    status == corev1.ConditionFalse && (has || mayAdd),
		corev1.TaintNodeUnreachable: status == corev1.ConditionUnknown && (has || mayAdd),
	}
	return withTaints(node.Spec.Taints, corev1.TaintEffectNoExecute, wanted, now)
}

// withoutNoExecute returns the node's taints without ours of effect NoExecute.
func withoutNoExecute(node *corev1.Node, now time.Time) []corev1.Taint {
	none := map[string]bool{corev1.TaintNodeNotReady: false, corev1.TaintNodeUnreachable: false}
	return withTaints(node.Spec.Taints, corev1.TaintEffectNoExecute, none, now)
}

func hasNoExecute(node *corev1.Node) bool {
	return slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool {
		return t.Effect == corev1.TaintEffectNoExecute && (t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable)
	})
}

// withTaints returns taints with exactly the wanted ones of the named keys and
// the effect; all others stay.
func withTaints(taints []corev1.Taint, effect corev1.TaintEffect, wanted map[string]bool, now time.Time) []corev1.Taint {
	present := map[string]bool{}
	var after []corev1.Taint
	for _, taint := range taints {
		want, ours := wanted[taint.Key]
		if taint.Effect == effect && ours {
			if !want || present[taint.Key] {
				continue
			}
			present[taint.Key] = true
		}
		after = append(after, taint)
	}
	var added []string
	for key, want := range wanted {
		if want && !present[key] {
			added = append(added, key)
		}
	}
	slices.Sort(added)
	since := metav1.NewTime(now)
	for _, key := range added {
		after = append(after, corev1.Taint{Key: key, Effect: effect, TimeAdded: &since})
	}
	return after
}

// sameTaints compares by key, value and effect.
func sameTaints(a, b []corev1.Taint) bool {
	return slices.EqualFunc(a, b, func(x, y corev1.Taint) bool { return x.MatchTaint(&y) && x.Value == y.Value })
}
