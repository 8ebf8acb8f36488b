package deployment

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Reasons of the Progressing condition that decisions depend on.
const (
	reasonAvailable = "NewReplicaSetAvailable"
	reasonTimedOut  = "ProgressDeadlineExceeded"
	reasonPaused    = "DeploymentPaused"
	reasonResumed   = "DeploymentResumed"
	reasonUpdated   = "ReplicaSetUpdated"
)

func conditionOf(conditions []appsv1.DeploymentCondition, kind appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	for i := range conditions {
		if conditions[i].Type == kind {
			return &conditions[i]
		}
	}
	return nil
}

func newCondition(kind appsv1.DeploymentConditionType, status corev1.ConditionStatus, reason, message string, now time.Time) appsv1.DeploymentCondition {
	return appsv1.DeploymentCondition{
		Type:               kind,
		Status:             status,
		LastUpdateTime:     metav1.NewTime(now),
		LastTransitionTime: metav1.NewTime(now),
		Reason:             reason,
		Message:            message,
	}
}

// setCondition replaces the condition of its type, unless status and reason are
// as before. The transition time is kept while the status stays.
func setCondition(status *appsv1.DeploymentStatus, condition appsv1.DeploymentCondition) {
	current := conditionOf(status.Conditions, condition.Type)
	if current != nil && current.Status == condition.Status && current.Reason == condition.Reason {
		return
	}
	refreshCondition(status, condition)
}

// refreshCondition replaces the condition of its type in any case.
func refreshCondition(status *appsv1.DeploymentStatus, condition appsv1.DeploymentCondition) {
	if current := conditionOf(status.Conditions, condition.Type); current != nil && current.Status == condition.Status {
		condition.LastTransitionTime = current.LastTransitionTime
	}
	removeCondition(status, condition.Type)
	status.Conditions = append(status.Conditions, condition)
}

func removeCondition(status *appsv1.DeploymentStatus, kind appsv1.DeploymentConditionType) {
	var kept []appsv1.DeploymentCondition
	for _, condition := range status.Conditions {
		if condition.Type != kind {
			kept = append(kept, condition)
		}
	}
	status.Conditions = kept
}

// hasDeadline says whether progress is watched at all: the largest value means
// never.
func hasDeadline(d *appsv1.Deployment) bool {
	return d.Spec.ProgressDeadlineSeconds != nil && *d.Spec.ProgressDeadlineSeconds != 1<<31-1
}

// progress sets the Progressing condition if the deployment has a deadline.
func (p *planner) progress(status corev1.ConditionStatus, reason, message string) {
	if hasDeadline(p.d) {
		setCondition(&p.d.Status, newCondition(appsv1.DeploymentProgressing, status, reason, message, p.Now))
	}
}

// notePause shows in Progressing that the deployment was paused or resumed, so
// that time spent paused does not count against the deadline.
func (p *planner) notePause() {
	current := conditionOf(p.d.Status.Conditions, appsv1.DeploymentProgressing)
	if current != nil && current.Reason == reasonTimedOut {
		return
	}
	paused := current != nil && current.Reason == reasonPaused
	switch {
	case p.d.Spec.Paused && !paused:
		p.progress(corev1.ConditionUnknown, reasonPaused, "Deployment is paused")
	case !p.d.Spec.Paused && paused:
		p.progress(corev1.ConditionUnknown, reasonResumed, "Deployment is resumed")
	}
}
