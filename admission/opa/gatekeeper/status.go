package gatekeeper

import (
	"context"
	"errors"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// report writes into the status of the API's objects whether they are in force,
// and what is wrong with those that are not.
func (f *Follower) report(ctx context.Context, objects []*unstructured.Unstructured, problems []Problem) {
	wrong := map[*unstructured.Unstructured]error{}
	for _, problem := range problems {
		wrong[problem.Object] = errors.Join(wrong[problem.Object], problem.Err)
	}
	for _, object := range objects {
		resource, has := f.resourceOf(object)
		if object.GetUID() == "" || !has {
			continue
		}
		if err := f.reportOne(ctx, resource, object, wrong[object]); err != nil && ctx.Err() == nil {
			f.Logger.Warn("The status of a Gatekeeper object could not be written", "kind", object.GetKind(), "name", object.GetName(), "err", err)
		}
	}
}

// resourceOf is where an object's status is, false for kinds without one.
func (f *Follower) resourceOf(object *unstructured.Unstructured) (schema.GroupVersionResource, bool) {
	gvk := object.GroupVersionKind()
	switch gvk.Group {
	case TemplateGroup:
		return templateResource, true
	case ConstraintGroup:
		return constraintsResource(gvk.Kind), true
	case MutationGroup:
		for _, d := range definitions {
			if d.kind == gvk.Kind {
				return d.resource(), true
			}
		}
	}
	return schema.GroupVersionResource{}, false
}

// reportOne writes this server's part of a status, if it says anything else
// than before.
func (f *Follower) reportOne(ctx context.Context, resource schema.GroupVersionResource, object *unstructured.Unstructured, wrong error) error {
	mine := map[string]any{"id": f.ID, "observedGeneration": object.GetGeneration(), "operations": []any{"audit", "mutation-webhook", "status", "webhook"}}
	switch object.GroupVersionKind().Group {
	case TemplateGroup:
		mine["templateUID"] = string(object.GetUID())
	case ConstraintGroup:
		mine["constraintUID"], mine["enforced"] = string(object.GetUID()), wrong == nil
	case MutationGroup:
		mine["mutatorUID"], mine["enforced"] = string(object.GetUID()), wrong == nil
	}
	if wrong != nil {
		mine["errors"] = statusErrors(object, wrong)
	}
	return f.updateStatus(ctx, resource, object, func(status map[string]any) {
		servers, _, _ := unstructured.NestedSlice(status, "byPod")
		servers = slices.DeleteFunc(servers, func(one any) bool {
			entry, ok := one.(map[string]any)
			return !ok || entry["id"] == f.ID
		})
		status["byPod"] = append(servers, mine)
		if object.GroupVersionKind().Group == TemplateGroup {
			status["created"] = wrong == nil
		}
	})
}

// statusErrors are the errors of Rego each, with their places.
func statusErrors(object *unstructured.Unstructured, wrong error) []any {
	var all []any
	var list ast.Errors
	if errors.As(wrong, &list) {
		for _, one := range list {
			entry := map[string]any{"code": one.Code, "message": one.Message}
			if one.Location != nil && object.GroupVersionKind().Group == TemplateGroup {
				entry["location"] = one.Location.String()
			}
			all = append(all, entry)
		}
		return all
	}
	code := map[string]string{TemplateGroup: "create_error", ConstraintGroup: "ingest_error"}[object.GroupVersionKind().Group]
	if code == "" {
		return []any{map[string]any{"message": wrong.Error()}}
	}
	return []any{map[string]any{"code": code, "message": wrong.Error()}}
}

// updateStatus changes the status of an object as it is now in the API, unless
// the change is none.
func (f *Follower) updateStatus(ctx context.Context, resource schema.GroupVersionResource, object *unstructured.Unstructured, change func(status map[string]any)) error {
	client := f.Client.Resource(resource)
	for {
		now, err := client.Get(ctx, object.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		before, _, _ := unstructured.NestedMap(now.Object, "status")
		after, _, _ := unstructured.NestedMap(now.Object, "status")
		if after == nil {
			after = map[string]any{}
		}
		change(after)
		if equality.Semantic.DeepEqual(before, after) {
			return nil
		}
		now.Object["status"] = after
		if _, err = client.UpdateStatus(ctx, now, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
			return err
		}
	}
}
