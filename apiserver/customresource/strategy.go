package customresource

import (
	"context"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/apiserver/registry"
)

// strategy is that of the resource itself.
func (v *version) strategy(d *definition) registry.Strategy {
	return registry.Strategy{
		Default:          v.setDefaults,
		PrepareForCreate: v.prepareForCreate,
		PrepareForUpdate: v.prepareForUpdate,
		Validate:         v.validate,
		ValidateUpdate:   v.validateUpdate,
		Warnings:         finalizerWarnings,
		Allocate:         d.refuseWhileTerminating,
		RequireVersion:   true,
	}
}

// statusStrategy is that of the status subresource.
func (v *version) statusStrategy() registry.Strategy {
	return registry.Strategy{
		PrepareForUpdate: v.prepareStatus,
		ValidateUpdate:   v.validateStatusUpdate,
		RequireVersion:   true,
		Untouched:        []string{"spec", "metadata"},
	}
}

func content(obj runtime.Object) map[string]any { return obj.(*unstructured.Unstructured).Object }

func (v *version) prepareForCreate(_ context.Context, obj runtime.Object) {
	if v.hasStatus() {
		delete(content(obj), "status")
	}
	v.pruneAdmitted(obj)
	obj.(*unstructured.Unstructured).SetGeneration(1)
}

// pruneAdmitted drops what admission may have added against the schema.
func (v *version) pruneAdmitted(obj runtime.Object) {
	// A schema that cannot be read is validation's to report.
	_ = v.prune(obj.(*unstructured.Unstructured))
}

func (v *version) prepareForUpdate(_ context.Context, obj, old runtime.Object) {
	after, before := content(obj), content(old)
	if v.hasStatus() {
		delete(after, "status")
		if status, ok := before["status"]; ok {
			after["status"] = runtime.DeepCopyJSONValue(status)
		}
	}
	v.pruneAdmitted(obj)
	generation := old.(*unstructured.Unstructured).GetGeneration()
	if !apiequality.Semantic.DeepEqual(withoutMetadata(after), withoutMetadata(before)) {
		generation++
	}
	obj.(*unstructured.Unstructured).SetGeneration(generation)
}

func withoutMetadata(content map[string]any) map[string]any {
	rest := make(map[string]any, len(content))
	for name, value := range content {
		if name != "metadata" {
			rest[name] = value
		}
	}
	return rest
}

// prepareStatus keeps of a status update nothing but the status, and who owns
// which of its fields.
func (v *version) prepareStatus(_ context.Context, obj, old runtime.Object) {
	u := obj.(*unstructured.Unstructured)
	status, ok := u.Object["status"]
	managed := u.GetManagedFields()
	u.Object = old.DeepCopyObject().(*unstructured.Unstructured).Object
	u.SetManagedFields(managed)
	delete(u.Object, "status")
	if ok {
		u.Object["status"] = status
	}
	v.pruneAdmitted(obj)
}

// refuseWhileTerminating keeps new objects out while the definition goes.
func (d *definition) refuseWhileTerminating(_ context.Context, obj, old runtime.Object, _ bool) (func(bool), error) {
	if obj == nil || old != nil || !d.terminating.Load() {
		return nil, nil
	}
	return nil, apierrors.NewForbidden(d.resource, obj.(*unstructured.Unstructured).GetName(), errTerminating)
}
