package nodelifecycle

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// patience is how long a node may be silent.
type patience struct {
	// grace is for nodes that have reported, startup for those that have not.
	grace, startup time.Duration
}

// sign is the last sign of life of a node: what it wrote, and when that was
// seen here. Only this process's clock is trusted.
type sign struct {
	seen      time.Time
	heartbeat metav1.Time
	renewed   metav1.MicroTime
}

// nextSign returns the sign of life after a look at the node and its lease.
func nextSign(last *sign, node *corev1.Node, lease *coordinationv1.Lease, now time.Time) sign {
	next := sign{seen: now}
	ready := conditionOf(node, corev1.NodeReady)
	if ready != nil {
		next.heartbeat = ready.LastHeartbeatTime
	}
	if lease != nil && lease.Spec.RenewTime != nil {
		next.renewed = *lease.Spec.RenewTime
	}
	switch {
	case last == nil && ready == nil:
		next.seen = node.CreationTimestamp.Time
	case last == nil:
	case next.heartbeat.Time.After(last.heartbeat.Time) || next.renewed.Time.After(last.renewed.Time):
	default:
		next.seen = last.seen
	}
	return next
}

// silent says whether the node has been silent for too long.
func (p patience) silent(node *corev1.Node, last sign, now time.Time) bool {
	grace := p.grace
	if conditionOf(node, corev1.NodeReady) == nil {
		grace = p.startup
	}
	return now.After(last.seen.Add(grace))
}

// reported are the conditions that only the kubelet can vouch for.
var reported = []corev1.NodeConditionType{
	corev1.NodeReady, corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure,
}

// doubt sets what the kubelet reports to unknown, and says whether that changed
// anything.
func doubt(node *corev1.Node, now time.Time) (changed bool) {
	for _, kind := range reported {
		current := conditionOf(node, kind)
		switch {
		case current == nil:
			node.Status.Conditions = append(node.Status.Conditions, corev1.NodeCondition{
				Type: kind, Status: corev1.ConditionUnknown,
				Reason: "NodeStatusNeverUpdated", Message: "Kubelet never posted node status.",
				LastHeartbeatTime: node.CreationTimestamp, LastTransitionTime: metav1.NewTime(now),
			})
			changed = true
		case current.Status != corev1.ConditionUnknown:
			current.Status = corev1.ConditionUnknown
			current.Reason, current.Message = "NodeStatusUnknown", "Kubelet stopped posting node status."
			current.LastTransitionTime = metav1.NewTime(now)
			changed = true
		}
	}
	return changed
}

func conditionOf(node *corev1.Node, kind corev1.NodeConditionType) *corev1.NodeCondition {
	for i := range node.Status.Conditions {
		if node.Status.Conditions[i].Type == kind {
			return &node.Status.Conditions[i]
		}
	}
	return nil
}

// readiness is the status of the node's Ready condition, unknown if it has none.
func readiness(node *corev1.Node) corev1.ConditionStatus {
	if ready := conditionOf(node, corev1.NodeReady); ready != nil {
		return ready.Status
	}
	return corev1.ConditionUnknown
}
