package apps

import (
	appsv1 "k8s.io/api/apps/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"strings"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

func controllerRevisions() *registry.Resource {
	return &registry.Resource{
		Kind: kind("ControllerRevision"), Name: "controllerrevisions", Singular: "controllerrevision", Namespaced: true,
		Verbs: row.AllVerbs(), StoragePrefix: "controllerrevisions",
		New: row.New[appsv1.ControllerRevision], NewList: row.New[appsv1.ControllerRevisionList],
		Strategy: registry.Strategy{
			Validate: registry.Check(validateRevision),
			ValidateUpdate: registry.CheckUpdate(func(r, old *appsv1.ControllerRevision) field.ErrorList {
				errs := validateRevision(r)
				if !apiequality.Semantic.DeepEqual(r.Data, old.Data) {
					errs = append(errs, rule.Immutable(field.NewPath("data"), r.Data, old.Data)...)
				}
				return errs
			}),
		},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("Controller", func(r *appsv1.ControllerRevision) any { return row.Or(controllerCell(r)) }),
			row.Text("Revision", func(r *appsv1.ControllerRevision) any { return r.Revision }),
			row.AgeColumn(),
		},
	}
}

func validateRevision(r *appsv1.ControllerRevision) field.ErrorList {
	errs := rule.NonNegative(field.NewPath("revision"), r.Revision)
	if r.Data.Object == nil && len(r.Data.Raw) == 0 {
		errs = append(errs, field.Required(field.NewPath("data"), "data is mandatory"))
	}
	return errs
}

// controllerCell names the owner as kubectl does: deployment.apps/web.
func controllerCell(r *appsv1.ControllerRevision) string {
	owner := metav1.GetControllerOf(r)
	if owner == nil {
		return ""
	}
	name := strings.ToLower(owner.Kind)
	if gv, err := schema.ParseGroupVersion(owner.APIVersion); err == nil && gv.Group != "" {
		name += "." + gv.Group
	}
	return name + "/" + owner.Name
}
