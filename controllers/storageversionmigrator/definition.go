package storageversionmigrator

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
)

// markDefinition says in the definition of a custom resource that a migration
// runs, and of which generation of the definition.
func (c *controller) markDefinition(ctx context.Context, resource metav1.GroupResource, migration string) error {
	return c.changeDefinition(ctx, resource, func(d *apiextensionsv1.CustomResourceDefinition) {
		setMigrating(d, apiextensionsv1.ConditionTrue, "MigrationRunning", fmt.Sprintf("Migration %s is running", migration))
	})
}

// concludeDefinition says how the migration went. After a success no object is
// stored in another version than the storage version, unless the definition has
// changed since the migration began.
func (c *controller) concludeDefinition(ctx context.Context, resource metav1.GroupResource, succeeded bool) error {
	return c.changeDefinition(ctx, resource, func(d *apiextensionsv1.CustomResourceDefinition) {
		if !succeeded {
			setMigrating(d, apiextensionsv1.ConditionFalse, "MigrationFailed", "The migration has failed")
			return
		}
		message := "The migration has succeeded and the stored versions have been updated"
		if before := apihelpers.FindCRDCondition(d, apiextensionsv1.StorageMigrating); before != nil && before.ObservedGeneration == d.Generation {
			d.Status.StoredVersions = []string{storageVersion(d)}
		} else {
			message = "The migration has succeeded but the stored versions have not been updated due to a generation mismatch"
		}
		setMigrating(d, apiextensionsv1.ConditionFalse, "MigrationSucceeded", message)
	})
}

func storageVersion(d *apiextensionsv1.CustomResourceDefinition) string {
	for _, version := range d.Spec.Versions {
		if version.Storage {
			return version.Name
		}
	}
	return ""
}

func setMigrating(d *apiextensionsv1.CustomResourceDefinition, status apiextensionsv1.ConditionStatus, reason, message string) {
	apihelpers.SetCRDCondition(d, apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.StorageMigrating, Status: status, Reason: reason, Message: message, ObservedGeneration: d.Generation,
	})
}

// changeDefinition edits the status of a resource's definition; resources
// without one are none of its business.
func (c *controller) changeDefinition(ctx context.Context, resource metav1.GroupResource, edit func(*apiextensionsv1.CustomResourceDefinition)) error {
	if resource.Group == "" {
		return nil
	}
	path := "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/" + resource.Resource + "." + resource.Group
	client := c.env.Client.Discovery().RESTClient()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		raw, err := client.Get().AbsPath(path).SetHeader("Accept", "application/json").DoRaw(ctx)
		if err != nil {
			return err
		}
		d := &apiextensionsv1.CustomResourceDefinition{}
		if err := json.Unmarshal(raw, d); err != nil {
			return err
		}
		edit(d)
		patch, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"resourceVersion": d.ResourceVersion},
			"status":   map[string]any{"conditions": d.Status.Conditions, "storedVersions": d.Status.StoredVersions},
		})
		if err != nil {
			return err
		}
		_, err = client.Patch(types.MergePatchType).AbsPath(path, "status").SetHeader("Accept", "application/json").
			Param("fieldManager", manager).Body(patch).DoRaw(ctx)
		return err
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
