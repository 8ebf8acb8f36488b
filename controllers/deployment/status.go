package deployment

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// plainStatus counts replicas and availability and leaves progress as it is.
func (p *planner) plainStatus() (appsv1.DeploymentStatus, time.Duration) {
	return p.count(), 0
}

// rolloutStatus also judges the rollout's progress, and says when to look again
// should nothing happen.
func (p *planner) rolloutStatus() (appsv1.DeploymentStatus, time.Duration) {
	status := p.count()
	if !hasDeadline(p.d) {
		removeCondition(&status, appsv1.DeploymentProgressing)
	}
	current := conditionOf(p.d.Status.Conditions, appsv1.DeploymentProgressing)
	settled := status.Replicas == status.UpdatedReplicas && current != nil && current.Reason == reasonAvailable
	if hasDeadline(p.d) && !settled {
		p.judge(&status, current)
	}
	p.showFailure(&status)
	return status, p.stuckIn(&status)
}

func (p *planner) judge(status *appsv1.DeploymentStatus, current *appsv1.DeploymentCondition) {
	subject := fmt.Sprintf("Deployment %q", p.d.Name)
	if p.newest != nil {
		subject = fmt.Sprintf("ReplicaSet %q", p.newest.Name)
	}
	progressing := func(status corev1.ConditionStatus, reason, predicate string) appsv1.DeploymentCondition {
		return newCondition(appsv1.DeploymentProgressing, status, reason, subject+" "+predicate, p.Now)
	}
	switch {
	case complete(p.d, status):
		setCondition(status, progressing(corev1.ConditionTrue, reasonAvailable, "has successfully progressed."))
	case progressed(&p.d.Status, status):
		refreshCondition(status, progressing(corev1.ConditionTrue, reasonUpdated, "is progressing."))
	case p.timedOut(current):
		setCondition(status, progressing(corev1.ConditionFalse, reasonTimedOut, "has timed out progressing."))
	}
}

// count returns the deployment's status with replicas and the Available
// condition as its sets show them.
func (p *planner) count() appsv1.DeploymentStatus {
	all := p.all()
	status := *p.d.Status.DeepCopy()
	status.ObservedGeneration = p.d.Generation
	status.Replicas = sum(all, actualOf)
	status.UpdatedReplicas = sum([]*appsv1.ReplicaSet{p.newest}, actualOf)
	status.ReadyReplicas = sum(all, readyOf)
	status.AvailableReplicas = sum(all, availableOf)
	status.UnavailableReplicas = max(0, status.Replicas-status.AvailableReplicas)
	status.TerminatingReplicas = terminatingOf(all)
	if status.AvailableReplicas >= replicasOf(p.d.Spec.Replicas)-maxUnavailable(p.d) {
		setCondition(&status, newCondition(appsv1.DeploymentAvailable, corev1.ConditionTrue,
			"MinimumReplicasAvailable", "Deployment has minimum availability.", p.Now))
	} else {
		setCondition(&status, newCondition(appsv1.DeploymentAvailable, corev1.ConditionFalse,
			"MinimumReplicasUnavailable", "Deployment does not have minimum availability.", p.Now))
	}
	return status
}

// terminatingOf is known only if every set says how many of its pods terminate.
func terminatingOf(sets []*appsv1.ReplicaSet) *int32 {
	var total int32
	for _, set := range sets {
		switch {
		case set.Status.TerminatingReplicas != nil:
			total += *set.Status.TerminatingReplicas
		case set.UID != "":
			return nil
		}
	}
	return &total
}

// complete says whether all wanted pods are of the newest template and available.
func complete(d *appsv1.Deployment, status *appsv1.DeploymentStatus) bool {
	wanted := replicasOf(d.Spec.Replicas)
	return status.UpdatedReplicas == wanted && status.Replicas == wanted &&
		status.AvailableReplicas == wanted && status.ObservedGeneration >= d.Generation
}

// progressed says whether anything got better between the two.
func progressed(before, after *appsv1.DeploymentStatus) bool {
	return after.UpdatedReplicas > before.UpdatedReplicas ||
		after.Replicas-after.UpdatedReplicas < before.Replicas-before.UpdatedReplicas ||
		after.ReadyReplicas > before.ReadyReplicas ||
		after.AvailableReplicas > before.AvailableReplicas
}

func (p *planner) timedOut(current *appsv1.DeploymentCondition) bool {
	switch {
	case current == nil, current.Reason == reasonAvailable:
		return false
	case current.Reason == reasonTimedOut:
		return true
	}
	return p.deadline(current).Before(p.Now)
}

func (p *planner) deadline(current *appsv1.DeploymentCondition) time.Time {
	return current.LastUpdateTime.Add(time.Duration(*p.d.Spec.ProgressDeadlineSeconds) * time.Second)
}

// stuckIn is when the deadline passes, or zero if none runs.
func (p *planner) stuckIn(status *appsv1.DeploymentStatus) time.Duration {
	current := conditionOf(status.Conditions, appsv1.DeploymentProgressing)
	if !hasDeadline(p.d) || current == nil || current.Reason == reasonTimedOut || complete(p.d, status) {
		return 0
	}
	return max(0, p.deadline(current).Sub(p.Now)) + time.Second
}

// showFailure copies a set's trouble in making pods to the deployment, the
// newest set's first.
func (p *planner) showFailure(status *appsv1.DeploymentStatus) {
	for _, set := range append([]*appsv1.ReplicaSet{p.newest}, p.old...) {
		if set == nil {
			continue
		}
		for _, c := range set.Status.Conditions {
			if c.Type == appsv1.ReplicaSetReplicaFailure {
				setCondition(status, appsv1.DeploymentCondition{
					Type: appsv1.DeploymentReplicaFailure, Status: c.Status, Reason: c.Reason, Message: c.Message,
					LastTransitionTime: c.LastTransitionTime, LastUpdateTime: c.LastTransitionTime,
				})
				return
			}
		}
	}
	removeCondition(status, appsv1.DeploymentReplicaFailure)
}
