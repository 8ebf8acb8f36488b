package apiserver_test

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

func TestAnObjectsLife(t *testing.T) {
	h := start(t)
	maps, ctx := h.client.CoreV1().ConfigMaps("default"), t.Context()
	events, err := maps.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()

	created := h.configMap(t, "a")
	if created.UID == "" || created.ResourceVersion == "" || created.CreationTimestamp.IsZero() || created.Namespace != "default" {
		t.Errorf("system metadata is missing: %+v", created.ObjectMeta)
	}
	expect(t, events, watch.Added, "a")

	got, err := maps.Get(ctx, "a", metav1.GetOptions{})
	if err != nil || got.Data["key"] != "value" || got.ResourceVersion != created.ResourceVersion {
		t.Errorf("get: %+v, %v", got, err)
	}
	list, err := maps.List(ctx, metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 || list.Items[0].Name != "a" {
		t.Errorf("list: %+v, %v", list, err)
	}

	got.Data["key"] = "other"
	updated, err := maps.Update(ctx, got, metav1.UpdateOptions{})
	if err != nil || updated.ResourceVersion == created.ResourceVersion {
		t.Fatalf("update: %+v, %v", updated, err)
	}
	expect(t, events, watch.Modified, "a")

	patched, err := maps.Patch(ctx, "a", types.MergePatchType, []byte(`{"data":{"new":"x"}}`), metav1.PatchOptions{})
	if err != nil || patched.Data["new"] != "x" || patched.Data["key"] != "other" {
		t.Fatalf("patch: %+v, %v", patched, err)
	}
	expect(t, events, watch.Modified, "a")

	if err := maps.Delete(ctx, "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	expect(t, events, watch.Deleted, "a")
	if _, err := maps.Get(ctx, "a", metav1.GetOptions{}); !apierrors.IsNotFound(err) || err.Error() != `configmaps "a" not found` {
		t.Errorf("get after delete: %v", err)
	}
}

func expect(t *testing.T, events watch.Interface, eventType watch.EventType, name string) metav1.Object {
	t.Helper()
	select {
	case event, ok := <-events.ResultChan():
		m, isObject := event.Object.(metav1.ObjectMetaAccessor)
		if !ok || !isObject || event.Type != eventType || m.GetObjectMeta().GetName() != name {
			t.Fatalf("want %s of %s, got %s of %+v", eventType, name, event.Type, event.Object)
		}
		return m.GetObjectMeta()
	case <-t.Context().Done():
	}
	t.Fatal("the test ended")
	return nil
}
