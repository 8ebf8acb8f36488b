package customresource

import (
	"context"
	"errors"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	// firstLook and longestLook bound how long the cleaner waits before it
	// looks again whether the instances are gone.
	firstLook   = 5 * time.Millisecond
	longestLook = 2 * time.Second
)

// clean removes the instances of a definition that is being deleted, and then
// lets it go. It works beside the loop, once for each definition.
func (c *Controller) clean(ctx context.Context, name string) {
	if c.cleaning[name] {
		return
	}
	c.cleaning[name] = true
	condition := apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.Terminating, Status: apiextensionsv1.ConditionFalse,
		Reason: "NeverEstablished", Message: "resource was never established",
	}
	remove := func() (bool, error) { return true, nil }
	switch d := c.serving[name]; {
	case d != nil:
		condition.Reason, condition.Message = "InstanceDeletionCompleted", "removed all instances"
		remove = func() (bool, error) { return c.removeInstances(ctx, name, d.resource) }
	case served(c.known[name]):
		condition.Reason, condition.Message = "OverlappingBuiltInResource", "instances overlap with built-in resources in storage"
	}
	c.cleaners.Go(func() {
		c.untilDone(ctx, name, func() (bool, error) {
			done, err := remove()
			if err != nil || !done {
				return false, err
			}
			return true, c.release(ctx, name, condition)
		})
	})
}

// untilDone repeats a step until it is done, the definition is gone, or ctx
// ends.
func (c *Controller) untilDone(ctx context.Context, name string, step func() (bool, error)) {
	for delay := firstLook; ; delay = min(2*delay, longestLook) {
		done, err := step()
		if done && err == nil || apierrors.IsNotFound(err) || ctx.Err() != nil {
			return
		}
		if err != nil {
			c.logger.Warn("cannot remove the instances of a custom resource definition yet", "definition", name, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
	}
}

// removeInstances asks to delete every object that nobody has asked to delete,
// and reports whether there were none.
func (c *Controller) removeInstances(ctx context.Context, name string, resource schema.GroupResource) (bool, error) {
	if err := c.tell(ctx, name, "InstanceDeletionInProgress", "CustomResource deletion is in progress"); err != nil {
		return false, err
	}
	objects, err := c.config.Objects.List(ctx, resource, "")
	if err != nil {
		return false, err
	}
	var errs []error
	for _, obj := range objects {
		m, err := meta.Accessor(obj)
		if err != nil {
			return false, err
		}
		if m.GetDeletionTimestamp() != nil {
			continue
		}
		if err := c.config.Objects.Delete(ctx, resource, m.GetNamespace(), m.GetName(), nil); err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		return len(objects) == 0, nil
	}
	err = errors.Join(errs...)
	return false, errors.Join(err, c.tell(ctx, name, "InstanceDeletionFailed", "could not issue all deletes: "+err.Error()))
}

// tell says how the removal goes.
func (c *Controller) tell(ctx context.Context, name, reason, message string) error {
	return c.change(ctx, name, func(d *apiextensionsv1.CustomResourceDefinition) error {
		condition := apiextensionsv1.CustomResourceDefinitionCondition{
			Type: apiextensionsv1.Terminating, Status: apiextensionsv1.ConditionTrue, Reason: reason, Message: message,
		}
		if apihelpers.IsCRDConditionEquivalent(&condition, apihelpers.FindCRDCondition(d, apiextensionsv1.Terminating)) {
			return errUnchanged
		}
		apihelpers.SetCRDCondition(d, condition)
		return nil
	})
}

// release takes the finalizer away.
func (c *Controller) release(ctx context.Context, name string, condition apiextensionsv1.CustomResourceDefinitionCondition) error {
	return c.change(ctx, name, func(d *apiextensionsv1.CustomResourceDefinition) error {
		if d.DeletionTimestamp == nil {
			return errUnchanged
		}
		apihelpers.SetCRDCondition(d, condition)
		apihelpers.CRDRemoveFinalizer(d, apiextensionsv1.CustomResourceCleanupFinalizer)
		return nil
	})
}

// change edits a definition; an edit that ends with errUnchanged does nothing.
func (c *Controller) change(ctx context.Context, name string, edit func(*apiextensionsv1.CustomResourceDefinition) error) error {
	unchanged := false
	_, err := c.config.Objects.Update(ctx, Definitions, "", name, func(obj runtime.Object) error {
		err := edit(obj.(*apiextensionsv1.CustomResourceDefinition))
		unchanged = errors.Is(err, errUnchanged)
		return err
	})
	if unchanged {
		return nil
	}
	return err
}
