package storageversionmigrator

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// pageSize is how many objects are listed at a time.
const pageSize = 500

// target is the version of a resource by which its objects are reached.
type target struct {
	schema.GroupVersionResource
	kind string
}

// find returns the preferred version of a resource; nil when there is none in
// which its objects can be listed and patched.
func (c *controller) find(resource metav1.GroupResource) (*target, error) {
	client := c.env.Client.Discovery()
	groups, err := client.ServerGroups()
	if err != nil {
		return nil, err
	}
	for _, group := range groups.Groups {
		if group.Name != resource.Group {
			continue
		}
		// Versions come in the order of preference.
		for _, version := range group.Versions {
			list, err := client.ServerResourcesForGroupVersion(version.GroupVersion)
			if err != nil {
				return nil, err
			}
			for _, r := range list.APIResources {
				if r.Name == resource.Resource && slices.Contains(r.Verbs, "list") && slices.Contains(r.Verbs, "patch") {
					return &target{schema.GroupVersionResource{Group: group.Name, Version: version.Version, Resource: r.Name}, r.Kind}, nil
				}
			}
		}
	}
	return nil, nil
}

// latest is the newest resource version at the beginning of a migration: what
// is written later is in the new form.
func (c *controller) latest(ctx context.Context, t *target) (string, error) {
	list, err := c.env.Metadata.Resource(t.GroupVersionResource).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return "", err
	}
	return list.ResourceVersion, nil
}

// rewrite writes all objects again. A problem is one of an object and will not
// go away by itself; err may.
func (c *controller) rewrite(ctx context.Context, t *target) (problem, err error) {
	options := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := c.env.Metadata.Resource(t.GroupVersionResource).List(ctx, options)
		if err != nil {
			return nil, err
		}
		for i := range page.Items {
			if err := c.rewriteOne(ctx, t, &page.Items[i]); err != nil {
				if passing(err) || ctx.Err() != nil {
					return nil, err
				}
				return fmt.Errorf("%s: %w", nameOf(&page.Items[i]), err), nil
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return nil, nil
		}
	}
}

func nameOf(obj *metav1.PartialObjectMetadata) string {
	return types.NamespacedName{Namespace: obj.Namespace, Name: obj.Name}.String()
}

// rewriteOne applies a configuration that wants nothing. It names the object
// and its version, so that it can neither create one nor touch one that was
// written in the meantime, which needs no migration.
func (c *controller) rewriteOne(ctx context.Context, t *target, obj *metav1.PartialObjectMetadata) error {
	configuration, err := json.Marshal(metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: t.GroupVersion().String(), Kind: t.kind},
		ObjectMeta: metav1.ObjectMeta{Name: obj.Name, Namespace: obj.Namespace, UID: obj.UID, ResourceVersion: obj.ResourceVersion},
	})
	if err != nil {
		return err
	}
	_, err = c.env.Metadata.Resource(t.GroupVersionResource).Namespace(obj.Namespace).
		Patch(ctx, obj.Name, types.ApplyPatchType, configuration, metav1.PatchOptions{FieldManager: manager})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// passing reports whether an error is about the moment and not the object.
func passing(err error) bool {
	return apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.ReasonForError(err) == metav1.StatusReasonUnknown
}
