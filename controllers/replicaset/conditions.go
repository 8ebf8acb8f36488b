package replicaset

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// failure is why a pass could not create or delete all its pods.
type failure struct {
	reason, message string
}

// setFailure adds, keeps or removes the ReplicaFailure condition. A failure
// that is already shown is left as it is, whatever its message.
func setFailure(status *appsv1.ReplicaSetStatus, failure *failure, now time.Time) {
	if failure == nil {
		removeFailure(status)
		return
	}
	for i := range status.Conditions {
		if c := &status.Conditions[i]; c.Type == appsv1.ReplicaSetReplicaFailure {
			if c.Status == corev1.ConditionTrue {
				return
			}
		}
	}
	removeFailure(status)
	status.Conditions = append(status.Conditions, appsv1.ReplicaSetCondition{
		Type:               appsv1.ReplicaSetReplicaFailure,
		Status:             corev1.ConditionTrue,
		LastTransitionTime: metav1.NewTime(now),
		Reason:             failure.reason,
		Message:            failure.message,
	})
}

func removeFailure(status *appsv1.ReplicaSetStatus) {
	var kept []appsv1.ReplicaSetCondition
	for _, c := range status.Conditions {
		if c.Type != appsv1.ReplicaSetReplicaFailure {
			kept = append(kept, c)
		}
	}
	status.Conditions = kept
}
