// Package apiextensions holds the row of the apiextensions.k8s.io group:
// custom resource definitions. What a definition makes the server serve is
// apiserver/customresource's concern. Validation is that of the library
// k8s.io/apiextensions-apiserver.
package apiextensions

import (
	"context"
	"slices"
	"sort"
	"strings"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

// Definition is the Go type of the row.
type Definition = apiextensionsv1.CustomResourceDefinition

// Resources returns the rows of the group.
func Resources() []*registry.Resource { return []*registry.Resource{definitions()} }

func definitions() *registry.Resource {
	kind := apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition")
	return &registry.Resource{
		Kind: kind, Name: "customresourcedefinitions", Singular: "customresourcedefinition",
		ShortNames: []string{"crd", "crds"}, Categories: []string{"api-extensions"}, Verbs: row.AllVerbs(),
		StoragePrefix: "apiextensions.k8s.io/customresourcedefinitions", Codec: codecOf(kind),
		New: row.New[apiextensionsv1.CustomResourceDefinition], NewList: row.New[apiextensionsv1.CustomResourceDefinitionList],
		Strategy: registry.Strategy{
			Default:          registry.Do(setDefaults),
			PrepareForCreate: registry.Prepare(prepareForCreate),
			PrepareForUpdate: registry.PrepareUpdate(prepareForUpdate),
			Validate:         validate,
			ValidateUpdate:   validateUpdate,
			Warnings:         warnings,
			RequireVersion:   true,
		},
		Delete: registry.DeleteStrategy{
			Finalizer:        apiextensionsv1.CustomResourceCleanupFinalizer,
			PrepareForDelete: registry.Prepare(announceDeletion),
		},
		Subresources: []registry.Subresource{row.Status(registry.Strategy{
			PrepareForUpdate: registry.PrepareUpdate(func(d, old *Definition) {
				d.Spec = old.Spec
				metav1.ResetObjectMetaForStatus(&d.ObjectMeta, &old.ObjectMeta)
			}),
			ValidateUpdate: validateStatusUpdate,
			RequireVersion: true,
			Untouched:      []string{"spec", "metadata"},
		})},
		Columns: columns(),
	}
}

func setDefaults(d *Definition) {
	apiextensionsv1.SetDefaults_CustomResourceDefinition(d)
	if c := d.Spec.Conversion; c != nil && c.Webhook != nil && c.Webhook.ClientConfig != nil && c.Webhook.ClientConfig.Service != nil {
		apiextensionsv1.SetDefaults_ServiceReference(c.Webhook.ClientConfig.Service)
	}
}

func prepareForCreate(d *Definition) {
	d.Status = apiextensionsv1.CustomResourceDefinitionStatus{}
	d.Generation = 1
	addStoredVersion(d)
}

func prepareForUpdate(d, old *Definition) {
	d.Status = *old.Status.DeepCopy()
	row.NextGeneration(d, old, !row.Same(d.Spec, old.Spec))
	addStoredVersion(d)
}

// addStoredVersion notes that objects may from now on be stored in the storage
// version.
func addStoredVersion(d *Definition) {
	for _, version := range d.Spec.Versions {
		if version.Storage && !slices.Contains(d.Status.StoredVersions, version.Name) {
			d.Status.StoredVersions = append(d.Status.StoredVersions, version.Name)
		}
	}
}

func announceDeletion(d *Definition) {
	apihelpers.SetCRDCondition(d, apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.Terminating, Status: apiextensionsv1.ConditionTrue, Reason: "InstanceDeletionPending",
		Message: "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
	})
}

// internal converts to the library's internal version, which validation is
// written for.
func internal(obj runtime.Object) (*apiextensions.CustomResourceDefinition, field.ErrorList) {
	out := &apiextensions.CustomResourceDefinition{}
	// The conversion shares what it can with its argument and changes it while
	// it hoists what all versions have in common.
	in := obj.(*Definition).DeepCopy()
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(in, out, nil); err != nil {
		return nil, field.ErrorList{field.InternalError(field.NewPath("spec"), err)}
	}
	return out, nil
}

func validate(ctx context.Context, obj runtime.Object) field.ErrorList {
	d, errs := internal(obj)
	if errs != nil {
		return errs
	}
	errs = withoutMetadata(obj, validation.ValidateCustomResourceDefinition(ctx, d))
	return append(errs, checkPatterns(obj.(*Definition), nil)...)
}

// withoutMetadata leaves out what is said about metadata of every kind, except
// that the name must say what is defined.
func withoutMetadata(obj runtime.Object, errs field.ErrorList) field.ErrorList {
	d := obj.(*Definition)
	return slices.DeleteFunc(errs, func(e *field.Error) bool {
		if e.Field == "metadata.name" {
			return d.Name == d.Spec.Names.Plural+"."+d.Spec.Group
		}
		return strings.HasPrefix(e.Field, "metadata.") && !strings.HasPrefix(e.Field, "metadata.annotations[")
	})
}

func validateUpdate(ctx context.Context, obj, old runtime.Object) field.ErrorList {
	d, errs := internal(obj)
	if errs != nil {
		return errs
	}
	before, errs := internal(old)
	if errs != nil {
		return errs
	}
	errs = withoutMetadata(obj, validation.ValidateCustomResourceDefinitionUpdate(ctx, d, before))
	return append(errs, checkPatterns(obj.(*Definition), patternsOf(old.(*Definition)))...)
}

func validateStatusUpdate(ctx context.Context, obj, old runtime.Object) field.ErrorList {
	d, errs := internal(obj)
	if errs != nil {
		return errs
	}
	before, errs := internal(old)
	if errs != nil {
		return errs
	}
	return withoutMetadata(obj, validation.ValidateUpdateCustomResourceDefinitionStatus(ctx, d, before))
}

func columns() []registry.Column {
	established := row.Boolean("Established", func(d *Definition) any {
		return apihelpers.IsCRDConditionTrue(d, apiextensionsv1.Established)
	})
	return []registry.Column{
		row.NameColumn(),
		described("Cluster/Namespaced", row.Text("Scope", func(d *Definition) any { return string(d.Spec.Scope) })),
		described("Served versions", row.Text("Versions", func(d *Definition) any { return servedVersions(d) })),
		{
			Name: "Created At", Type: "date", Description: metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"],
			Cell: func(o runtime.Object, _ time.Time) any {
				return o.(*Definition).CreationTimestamp.UTC().Format(time.RFC3339)
			},
		},
		described("API group", row.Wide(row.Text("Group", func(d *Definition) any { return d.Spec.Group }))),
		described("CustomResource kind", row.Wide(row.Text("Kind", func(d *Definition) any { return d.Spec.Names.Kind }))),
		described("Short names", row.Wide(row.Text("ShortNames", func(d *Definition) any { return strings.Join(d.Spec.Names.ShortNames, ",") }))),
		described("Established status", row.Wide(established)),
	}
}

func described(text string, column registry.Column) registry.Column {
	column.Description = text
	return column
}

func servedVersions(d *Definition) string {
	var names []string
	for _, version := range d.Spec.Versions {
		name := version.Name
		if version.Storage {
			name += "(storage)"
		}
		if version.Served {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return strings.Join(names, ",")
}
