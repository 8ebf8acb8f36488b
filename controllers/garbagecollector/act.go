package garbagecollector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"

	"github.com/yare-io/yare/controllers/worker"
)

func (c *collector) api(o *object) metadata.ResourceInterface {
	if o.namespace == "" {
		return c.env.Metadata.Resource(o.resource)
	}
	return c.env.Metadata.Resource(o.resource).Namespace(o.namespace)
}

// live reads the object from the API; nil if it is gone or another by now. The
// monitor will notice that too.
func (c *collector) live(ctx context.Context, o *object) (*metav1.PartialObjectMetadata, error) {
	live, err := c.api(o).Get(ctx, o.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && live.UID != o.uid {
		return nil, nil
	}
	return live, err
}

// absence is an owner, as some reference names it, that is known to be gone.
type absence struct {
	namespace, apiVersion, kind, name string
	uid                               types.UID
}

// stateOf asks the API for the owner.
func (c *collector) stateOf(ctx context.Context, o *object, ref metav1.OwnerReference) (ownerState, error) {
	found, err := c.kinds.lookup(ref.APIVersion, ref.Kind)
	if err != nil {
		return solid, err
	}
	if found.namespaced && o.namespace == "" {
		return solid, errNotAnOwner
	}
	owner := &object{name: ref.Name, resource: found.resource}
	if found.namespaced {
		owner.namespace = o.namespace
	}
	key := absence{owner.namespace, ref.APIVersion, ref.Kind, ref.Name, ref.UID}
	if _, gone := c.absent.Get(key); gone {
		return dangling, nil
	}
	live, err := c.api(owner).Get(ctx, ref.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), err == nil && live.UID != ref.UID:
		c.absent.Add(key, nil)
		return dangling, nil
	case err != nil:
		return solid, fmt.Errorf("looking up owner %s %s: %w", ref.Kind, ref.Name, err)
	case live.DeletionTimestamp != nil && slices.Contains(live.Finalizers, metav1.FinalizerDeleteDependents):
		return waiting, nil
	}
	return solid, nil
}

func (c *collector) carryOut(ctx context.Context, o *object, live *metav1.PartialObjectMetadata, dependents []*object, v verdict) error {
	switch {
	case len(v.forget) > 0:
		return c.patchOwners(ctx, o, func(refs []metav1.OwnerReference) []metav1.OwnerReference {
			return slices.DeleteFunc(refs, func(ref metav1.OwnerReference) bool { return slices.Contains(v.forget, ref.UID) })
		})
	case v.delete == "":
		return nil
	case v.delete == metav1.DeletePropagationForeground && slices.ContainsFunc(dependents, (*object).waitsForDependents):
		if err := c.unblock(ctx, o); err != nil {
			return err
		}
		return c.delete(ctx, o, nil, v.delete)
	}
	return c.delete(ctx, o, live, v.delete)
}

// unblock breaks a circle of objects that wait for each other: none of this
// one's owners waits for it any more.
func (c *collector) unblock(ctx context.Context, o *object) error {
	no := false
	return c.patchOwners(ctx, o, func(refs []metav1.OwnerReference) []metav1.OwnerReference {
		for i := range refs {
			if refs[i].BlockOwnerDeletion != nil && *refs[i].BlockOwnerDeletion {
				refs[i].BlockOwnerDeletion = &no
			}
		}
		return refs
	})
}

// delete deletes the object, if it is still as it was when it was judged.
func (c *collector) delete(ctx context.Context, o *object, judged *metav1.PartialObjectMetadata, policy metav1.DeletionPropagation) error {
	preconditions := &metav1.Preconditions{UID: &o.uid}
	if judged != nil {
		preconditions.ResourceVersion = &judged.ResourceVersion
	}
	err := c.api(o).Delete(ctx, o.name, metav1.DeleteOptions{Preconditions: preconditions, PropagationPolicy: &policy})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err):
		return fmt.Errorf("changed while being judged: %w", worker.ErrAgain)
	}
	return err
}

// release lets an owner go that has waited for all its blocking dependents, or
// else sees to it that they go.
func (c *collector) release(ctx context.Context, o *object) error {
	blocking := c.graph.blocking(o.uid)
	for _, dependent := range blocking {
		if !dependent.waitsForDependents() {
			c.check.Add(dependent.uid)
		}
	}
	if len(blocking) > 0 {
		return nil
	}
	return c.removeFinalizer(ctx, o, metav1.FinalizerDeleteDependents)
}

// attemptToOrphan lets all dependents of an owner go, and then the owner.
func (c *collector) attemptToOrphan(ctx context.Context, uid types.UID) error {
	o := c.graph.get(uid)
	if o == nil {
		return nil
	}
	var errs []error
	for _, dependent := range c.graph.allDependents(uid) {
		errs = append(errs, c.patchOwners(ctx, dependent, func(refs []metav1.OwnerReference) []metav1.OwnerReference {
			return slices.DeleteFunc(refs, func(ref metav1.OwnerReference) bool { return ref.UID == uid })
		}))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("orphaning dependents: %w", err)
	}
	return c.removeFinalizer(ctx, o, metav1.FinalizerOrphanDependents)
}

func (c *collector) removeFinalizer(ctx context.Context, o *object, finalizer string) error {
	return c.patch(ctx, o, func(live *metav1.PartialObjectMetadata) map[string]any {
		if !slices.Contains(live.Finalizers, finalizer) {
			return nil
		}
		rest := slices.DeleteFunc(live.Finalizers, func(f string) bool { return f == finalizer })
		return map[string]any{"finalizers": rest}
	})
}

func (c *collector) patchOwners(ctx context.Context, o *object, change func([]metav1.OwnerReference) []metav1.OwnerReference) error {
	return c.patch(ctx, o, func(live *metav1.PartialObjectMetadata) map[string]any {
		before, err := json.Marshal(live.OwnerReferences)
		if err != nil {
			return nil
		}
		refs := change(live.OwnerReferences)
		if after, err := json.Marshal(refs); err != nil || string(before) == string(after) {
			return nil
		}
		return map[string]any{"ownerReferences": refs}
	})
}

// patch replaces fields of the live object's metadata. The patch holds the
// version it was made of, so that nothing written meanwhile is lost.
func (c *collector) patch(ctx context.Context, o *object, change func(*metav1.PartialObjectMetadata) map[string]any) error {
	live, err := c.live(ctx, o)
	if err != nil || live == nil {
		return err
	}
	fields := change(live)
	if fields == nil {
		return nil
	}
	fields["resourceVersion"] = live.ResourceVersion
	fields["uid"] = live.UID
	body, err := json.Marshal(map[string]any{"metadata": fields})
	if err != nil {
		return err
	}
	_, err = c.api(o).Patch(ctx, o.name, types.MergePatchType, body, metav1.PatchOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err):
		return fmt.Errorf("changed while being patched: %w", worker.ErrAgain)
	}
	return err
}
