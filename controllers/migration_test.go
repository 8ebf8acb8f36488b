package controllers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	migrationv1 "k8s.io/api/storagemigration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/yare-io/yare/apiserver/customresource"
	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/controllers"
)

// serveCustomResources makes the cluster's server serve what definitions define,
// until the test ends.
func (c *cluster) serveCustomResources() dynamic.Interface {
	c.Helper()
	definitions := customresource.New(customresource.Config{
		Definitions: c.server.Stored(customresource.Definitions), Objects: c.server.Objects(),
		SetRows: func(rows []*registry.Resource) error { return c.server.SetRows("customresources", rows) },
		BuiltIn: func(schema.GroupResource) bool { return false },
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- definitions.Run(ctx) }()
	c.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			c.Error(err)
		}
	})
	admin := &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated}}
	return dynamic.NewForConfigOrDie(&rest.Config{Host: "http://yare", Transport: asUser{c, admin}, QPS: -1})
}

// migrate asks for a migration and returns it when it is over.
func (c *cluster) migrate(name string, resource metav1.GroupResource) *migrationv1.StorageVersionMigration {
	c.Helper()
	client := c.client.StoragemigrationV1().StorageVersionMigrations()
	_, err := client.Create(c.Context(), &migrationv1.StorageVersionMigration{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: migrationv1.StorageVersionMigrationSpec{Resource: resource},
	}, metav1.CreateOptions{})
	if err != nil {
		c.Fatal(err)
	}
	var now *migrationv1.StorageVersionMigration
	c.eventually(name+" is over", func() error {
		if now, err = client.Get(c.Context(), name, metav1.GetOptions{}); err != nil {
			return err
		}
		if len(now.Status.Conditions) != 1 || now.Status.Conditions[0].Type == string(migrationv1.MigrationRunning) {
			return fmt.Errorf("its conditions are %v", now.Status.Conditions)
		}
		return nil
	})
	return now
}

// kept is what the store has under a key.
func (c *cluster) kept(key string) string {
	c.Helper()
	kv, err := c.store.Get(c.Context(), key)
	if err != nil {
		c.Fatal(err)
	}
	return string(kv.Value)
}

func widgets(storage string, versions ...string) *unstructured.Unstructured {
	d := apiextensionsv1.CustomResourceDefinition{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{Name: "widgets.example.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "example.com", Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "widgets", Singular: "widget", Kind: "Widget", ListKind: "WidgetList"},
		},
	}
	preserve := true
	for _, version := range versions {
		d.Spec.Versions = append(d.Spec.Versions, apiextensionsv1.CustomResourceDefinitionVersion{
			Name: version, Served: true, Storage: version == storage,
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &preserve}},
		})
	}
	raw, _ := json.Marshal(d)
	out := &unstructured.Unstructured{}
	_ = json.Unmarshal(raw, &out.Object)
	delete(out.Object, "status")
	return out
}

func TestMigrationStoresObjectsInTheStorageVersion(t *testing.T) {
	c := newCluster(t)
	client := c.serveCustomResources()
	c.startManager(controllers.Config{Controllers: []string{"storage-version-migrator-controller"}})
	definitions := client.Resource(apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions"))
	if _, err := definitions.Create(t.Context(), widgets("v1", "v1", "v2"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	objects := client.Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}).Namespace("default")
	for i := range 3 {
		obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Widget", "spec": map[string]any{"n": int64(i)}}}
		obj.SetName(fmt.Sprintf("w%d", i))
		c.eventually("widgets are served", func() error {
			_, err := objects.Create(t.Context(), obj, metav1.CreateOptions{})
			return err
		})
	}
	edit := func(change func(d *unstructured.Unstructured)) {
		t.Helper()
		c.eventually("the definition is changed", func() error {
			d, err := definitions.Get(t.Context(), "widgets.example.com", metav1.GetOptions{})
			if err != nil {
				return err
			}
			change(d)
			_, err = definitions.Update(t.Context(), d, metav1.UpdateOptions{})
			return err
		})
	}
	edit(func(d *unstructured.Unstructured) { d.Object["spec"] = widgets("v2", "v1", "v2").Object["spec"] })
	before, err := objects.Get(t.Context(), "w0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if kept := c.kept("/registry/example.com/widgets/default/w0"); !strings.Contains(kept, "example.com/v1") {
		t.Fatalf("before the migration the store has %s", kept)
	}

	done := c.migrate("widgets", metav1.GroupResource{Group: "example.com", Resource: "widgets"})
	if !meta.IsStatusConditionTrue(done.Status.Conditions, "Succeeded") || done.Status.ResourceVersion == "" {
		t.Errorf("the migration ended with %+v", done.Status)
	}
	for i := range 3 {
		if kept := c.kept(fmt.Sprintf("/registry/example.com/widgets/default/w%d", i)); !strings.Contains(kept, "example.com/v2") {
			t.Errorf("after the migration the store has %s", kept)
		}
	}
	after, err := objects.Get(t.Context(), "w0", metav1.GetOptions{})
	if err != nil || after.GetGeneration() != before.GetGeneration() || after.GetResourceVersion() == before.GetResourceVersion() {
		t.Errorf("the object was %v and is %v, %v", before, after, err)
	}
	d, err := definitions.Get(t.Context(), "widgets.example.com", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if stored, _, _ := unstructured.NestedStringSlice(d.Object, "status", "storedVersions"); len(stored) != 1 || stored[0] != "v2" {
		t.Errorf("the definition says that objects are stored in %v", stored)
	}
	again := c.migrate("again", metav1.GroupResource{Group: "example.com", Resource: "widgets"})
	same, err := client.Resource(schema.GroupVersionResource{Group: "example.com", Version: "v2", Resource: "widgets"}).Namespace("default").Get(t.Context(), "w0", metav1.GetOptions{})
	if err != nil || same.GetResourceVersion() != after.GetResourceVersion() || !meta.IsStatusConditionTrue(again.Status.Conditions, "Succeeded") {
		t.Errorf("a second migration wrote what was migrated: %v, %v", same, err)
	}
	edit(func(d *unstructured.Unstructured) { d.Object["spec"] = widgets("v2", "v2").Object["spec"] })
}

func TestMigrationOfBuiltInResources(t *testing.T) {
	c := newCluster(t)
	c.startManager(controllers.Config{Controllers: []string{"storage-version-migrator-controller"}})
	created, err := c.client.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "old"}, Data: map[string]string{"a": "b"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// Kubernetes once stored JSON.
	const key = "/registry/configmaps/default/old"
	kv, err := c.store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	created.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}
	created.ResourceVersion = ""
	raw, err := runtime.Encode(unstructured.UnstructuredJSONScheme, &unstructured.Unstructured{Object: content(t, created)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.store.Update(t.Context(), key, raw, kv.Revision, 0); err != nil {
		t.Fatal(err)
	}
	if done := c.migrate("configmaps", metav1.GroupResource{Resource: "configmaps"}); !meta.IsStatusConditionTrue(done.Status.Conditions, "Succeeded") {
		t.Errorf("the migration ended with %+v", done.Status)
	}
	if kept := c.kept(key); !strings.HasPrefix(kept, "k8s\x00") {
		t.Errorf("after the migration the store has %q", kept)
	}
	done := c.migrate("nothing", metav1.GroupResource{Group: "example.com", Resource: "nothings"})
	if !meta.IsStatusConditionTrue(done.Status.Conditions, "Failed") {
		t.Errorf("a migration of nothing ended with %+v", done.Status)
	}
}

func content(t *testing.T, obj runtime.Object) map[string]any {
	t.Helper()
	out, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
