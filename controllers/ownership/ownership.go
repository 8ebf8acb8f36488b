// Package ownership decides which objects a controller's object owns, and
// writes that down in their owner references: matching orphans are adopted,
// owned objects that no longer match are released. It never deletes.
package ownership

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// Claims is what Decide says of each candidate; those of other owners are left out.
type Claims[T metav1.Object] struct {
	Owned, Adopt, Release []T
}

// Decide sorts candidates by what owner should do with them. An owner that is
// being deleted neither adopts nor releases.
func Decide[T metav1.Object](owner metav1.Object, selector labels.Selector, candidates []T) Claims[T] {
	var claims Claims[T]
	dying := owner.GetDeletionTimestamp() != nil
	for _, candidate := range candidates {
		matches := selector.Matches(labels.Set(candidate.GetLabels()))
		controller := metav1.GetControllerOfNoCopy(candidate)
		switch {
		case controller != nil && controller.UID != owner.GetUID():
		case controller != nil && matches:
			claims.Owned = append(claims.Owned, candidate)
		case controller != nil && !dying:
			claims.Release = append(claims.Release, candidate)
		case controller == nil && matches && !dying && candidate.GetDeletionTimestamp() == nil &&
			candidate.GetNamespace() == owner.GetNamespace():
			claims.Adopt = append(claims.Adopt, candidate)
		}
	}
	return claims
}

// Claimer writes claims for one owner.
type Claimer[T metav1.Object] struct {
	Owner metav1.Object
	Kind  schema.GroupVersionKind
	// Fresh reads the owner from the API itself, not from a cache.
	Fresh func(ctx context.Context) (metav1.Object, error)
	// Patch sends a strategic merge patch to the named object.
	Patch func(ctx context.Context, name string, patch []byte) error
}

// Claim decides over candidates, writes adoptions and releases, and returns
// what is owned afterwards. Objects that vanish meanwhile are left out. On
// error the result is what could be claimed.
func (c *Claimer[T]) Claim(ctx context.Context, selector labels.Selector, candidates []T) ([]T, error) {
	claims := Decide(c.Owner, selector, candidates)
	owned := claims.Owned
	var firstErr error
	if len(claims.Adopt) > 0 {
		if err := c.mayAdopt(ctx); err != nil {
			return owned, err
		}
	}
	for _, orphan := range claims.Adopt {
		adopted, err := c.write(ctx, orphan, c.adoptPatch(orphan))
		if adopted {
			owned = append(owned, orphan)
		}
		firstErr = first(firstErr, err)
	}
	for _, stranger := range claims.Release {
		_, err := c.write(ctx, stranger, c.releasePatch(stranger))
		firstErr = first(firstErr, err)
	}
	return owned, firstErr
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// mayAdopt checks with the API that the owner is still the same and not being
// deleted: the cache may not know yet.
func (c *Claimer[T]) mayAdopt(ctx context.Context) error {
	fresh, err := c.Fresh(ctx)
	if err != nil {
		return fmt.Errorf("checking the adopting owner: %w", err)
	}
	if fresh.GetUID() != c.Owner.GetUID() {
		return fmt.Errorf("original %s %s/%s is gone: got uid %s, wanted %s", c.Kind.Kind,
			c.Owner.GetNamespace(), c.Owner.GetName(), fresh.GetUID(), c.Owner.GetUID())
	}
	if fresh.GetDeletionTimestamp() != nil {
		return fmt.Errorf("%s %s/%s has just been deleted at %s", c.Kind.Kind,
			fresh.GetNamespace(), fresh.GetName(), fresh.GetDeletionTimestamp())
	}
	return nil
}

// write reports whether the patch was applied. An object that is gone, or is
// another by now (its UID does not match), is no error.
func (c *Claimer[T]) write(ctx context.Context, object T, patch any) (bool, error) {
	body, err := json.Marshal(patch)
	if err != nil {
		return false, err
	}
	err = c.Patch(ctx, object.GetName(), body)
	switch {
	case err == nil:
		return true, nil
	case apierrors.IsNotFound(err), apierrors.IsInvalid(err):
		return false, nil
	}
	return false, fmt.Errorf("claiming %s: %w", object.GetName(), err)
}

type patchMeta struct {
	UID             types.UID `json:"uid"`
	OwnerReferences []any     `json:"ownerReferences"`
}

func (c *Claimer[T]) adoptPatch(object T) any {
	return map[string]patchMeta{"metadata": {
		UID:             object.GetUID(),
		OwnerReferences: []any{metav1.NewControllerRef(c.Owner, c.Kind)},
	}}
}

func (c *Claimer[T]) releasePatch(object T) any {
	return map[string]patchMeta{"metadata": {
		UID:             object.GetUID(),
		OwnerReferences: []any{map[string]any{"$patch": "delete", "uid": c.Owner.GetUID()}},
	}}
}
