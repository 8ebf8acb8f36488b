package deployment

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/controllers/worker"
)

// apply carries out a plan. It stops at the first failure: the next pass plans
// anew from what is then true.
func (c *controller) apply(ctx context.Context, d *appsv1.Deployment, plan Plan) error {
	if plan.Create != nil {
		if err := c.create(ctx, d, plan.Create); err != nil {
			return err
		}
	}
	for _, update := range plan.Update {
		if err := c.updateSet(ctx, d, update); err != nil {
			return err
		}
	}
	for _, set := range plan.Delete {
		if err := c.deleteSet(ctx, set); err != nil {
			return err
		}
	}
	if plan.Changed(d) {
		if err := c.writeStatus(ctx, plan.Deployment); err != nil {
			return err
		}
	}
	if plan.CheckAgain > 0 {
		c.loop.AddAfter(worker.KeyOf(d), plan.CheckAgain)
	}
	return nil
}

func (c *controller) create(ctx context.Context, d *appsv1.Deployment, set *appsv1.ReplicaSet) error {
	_, err := c.env.Client.AppsV1().ReplicaSets(d.Namespace).Create(ctx, set, metav1.CreateOptions{})
	switch {
	case apierrors.IsAlreadyExists(err):
		return c.resolveCollision(ctx, d, set)
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil
	case err != nil:
		return c.reportCreateError(ctx, d, set, err)
	}
	if size := wantedBy(set); size > 0 {
		c.env.Events.Eventf(d, corev1.EventTypeNormal, "ScalingReplicaSet", "Scaled up replica set %s from 0 to %d", set.Name, size)
	}
	return nil
}

// resolveCollision handles a name that is taken. If it is our own set, which
// the cache does not show yet, all is well. If not, the next attempt hashes a
// higher collision count and so gets another name.
func (c *controller) resolveCollision(ctx context.Context, d *appsv1.Deployment, wanted *appsv1.ReplicaSet) error {
	found, err := c.env.Client.AppsV1().ReplicaSets(d.Namespace).Get(ctx, wanted.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if owner := metav1.GetControllerOf(found); owner != nil && owner.UID == d.UID && sameTemplate(&found.Spec.Template, &d.Spec.Template) {
		return nil
	}
	count := int32(1)
	if d.Status.CollisionCount != nil {
		count = *d.Status.CollisionCount + 1
	}
	d = d.DeepCopy()
	d.Status.CollisionCount = &count
	if err := c.writeStatus(ctx, d); err != nil {
		return err
	}
	return fmt.Errorf("replica set name %s is taken, retrying with collision count %d", wanted.Name, count)
}

// reportCreateError shows in the deployment's status why its set cannot be made.
func (c *controller) reportCreateError(ctx context.Context, d *appsv1.Deployment, set *appsv1.ReplicaSet, cause error) error {
	cause = fmt.Errorf("failed to create new replica set %q: %w", set.Name, cause)
	c.env.Events.Event(d, corev1.EventTypeWarning, "ReplicaSetCreateError", cause.Error())
	if !hasDeadline(d) {
		return cause
	}
	d = d.DeepCopy()
	setCondition(&d.Status, newCondition(appsv1.DeploymentProgressing, corev1.ConditionFalse, "ReplicaSetCreateError", cause.Error(), c.env.Clock.Now()))
	if err := c.writeStatus(ctx, d); err != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("%w (and its status: %w)", cause, err)
	}
	return cause
}

func (c *controller) updateSet(ctx context.Context, d *appsv1.Deployment, update SetUpdate) error {
	_, err := c.env.Client.AppsV1().ReplicaSets(d.Namespace).Update(ctx, update.Set, metav1.UpdateOptions{})
	if err != nil {
		return fmt.Errorf("updating replica set %s: %w", update.Set.Name, err)
	}
	if update.Event != "" {
		c.env.Events.Event(d, corev1.EventTypeNormal, "ScalingReplicaSet", update.Event)
	}
	return nil
}

func (c *controller) deleteSet(ctx context.Context, set *appsv1.ReplicaSet) error {
	options := metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(set.UID))}
	err := c.env.Client.AppsV1().ReplicaSets(set.Namespace).Delete(ctx, set.Name, options)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// writeStatus writes status and annotations: the status endpoint of
// deployments takes both.
func (c *controller) writeStatus(ctx context.Context, d *appsv1.Deployment) error {
	_, err := c.env.Client.AppsV1().Deployments(d.Namespace).UpdateStatus(ctx, d, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
