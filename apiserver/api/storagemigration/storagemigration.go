// Package storagemigration holds the rows of the storagemigration.k8s.io
// group: requests to write all objects of a resource again, which
// controllers/storageversionmigrator fulfils.
package storagemigration

import (
	migrationv1 "k8s.io/api/storagemigration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

// Resources returns the rows of the group.
func Resources() []*registry.Resource { return []*registry.Resource{migrations()} }

func migrations() *registry.Resource {
	return &registry.Resource{
		Kind: migrationv1.SchemeGroupVersion.WithKind("StorageVersionMigration"), Name: "storageversionmigrations", Singular: "storageversionmigration",
		Verbs: row.AllVerbs(), StoragePrefix: "storageversionmigrations",
		New: row.New[migrationv1.StorageVersionMigration], NewList: row.New[migrationv1.StorageVersionMigrationList],
		Strategy: registry.Strategy{
			PrepareForCreate: registry.Prepare(func(m *migrationv1.StorageVersionMigration) {
				m.Status, m.Generation = migrationv1.StorageVersionMigrationStatus{}, 1
			}),
			PrepareForUpdate: registry.PrepareUpdate(func(m, old *migrationv1.StorageVersionMigration) {
				m.Status = old.Status
				row.NextGeneration(m, old, !row.Same(m.Spec, old.Spec))
			}),
			Validate: registry.Check(validate),
			ValidateUpdate: registry.CheckUpdate(func(m, old *migrationv1.StorageVersionMigration) field.ErrorList {
				return rule.Immutable(field.NewPath("spec"), m.Spec, old.Spec)
			}),
		},
		Subresources: []registry.Subresource{row.Status(registry.Strategy{
			PrepareForUpdate: registry.PrepareUpdate(func(m, old *migrationv1.StorageVersionMigration) {
				m.Spec = old.Spec
				metav1.ResetObjectMetaForStatus(&m.ObjectMeta, &old.ObjectMeta)
			}),
			ValidateUpdate: registry.CheckUpdate(validateStatus),
		})},
		Columns: []registry.Column{
			{Name: "Name", Type: "string", Cell: row.NameColumn().Cell},
			row.Text("Resource", func(m *migrationv1.StorageVersionMigration) any { return resourceName(m.Spec.Resource) }),
		},
	}
}

func resourceName(r metav1.GroupResource) string {
	if r.Group == "" {
		return r.Resource
	}
	return r.Resource + "." + r.Group
}

func validate(m *migrationv1.StorageVersionMigration) field.ErrorList {
	path := field.NewPath("spec", "resource")
	errs := rule.Required(path.Child("resource"), m.Spec.Resource.Resource)
	if m.Spec.Resource.Resource != "" {
		errs = append(errs, rule.DNSLabel(path.Child("resource"), m.Spec.Resource.Resource)...)
	}
	if m.Spec.Resource.Group != "" {
		errs = append(errs, rule.DNSSubdomain(path.Child("group"), m.Spec.Resource.Group)...)
	}
	return errs
}

// validateStatus: a migration that is over does not begin again, and never is
// both a success and a failure.
func validateStatus(m, old *migrationv1.StorageVersionMigration) field.ErrorList {
	path := field.NewPath("status")
	errs := metavalidation.ValidateConditions(m.Status.Conditions, path.Child("conditions"))
	if old.Status.ResourceVersion != "" {
		errs = append(errs, rule.Immutable(path.Child("resourceVersion"), m.Status.ResourceVersion, old.Status.ResourceVersion)...)
	}
	succeeded, failed := is(m, migrationv1.MigrationSucceeded), is(m, migrationv1.MigrationFailed)
	if succeeded && failed {
		errs = append(errs, field.Invalid(path.Child("conditions"), m.Status.Conditions, "Both success and failed conditions cannot be true at the same time"))
	}
	if is(m, migrationv1.MigrationRunning) && (succeeded || failed) {
		errs = append(errs, field.Invalid(path.Child("conditions"), m.Status.Conditions, "Running condition cannot be true when success or failed condition is true"))
	}
	for _, over := range []migrationv1.MigrationConditionType{migrationv1.MigrationSucceeded, migrationv1.MigrationFailed} {
		if is(old, over) && !is(m, over) {
			errs = append(errs, field.Invalid(path.Child("conditions"), m.Status.Conditions, string(over)+" condition cannot be set to false once it is true"))
		}
	}
	return errs
}

func is(m *migrationv1.StorageVersionMigration, kind migrationv1.MigrationConditionType) bool {
	for _, c := range m.Status.Conditions {
		if c.Type == string(kind) && c.Status == metav1.ConditionTrue {
			return true
		}
	}
	return false
}
