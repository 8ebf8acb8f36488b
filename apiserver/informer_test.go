package apiserver_test

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
)

func TestInformersFollowTheCache(t *testing.T) {
	h := start(t)
	h.configMap(t, "before")
	source, err := h.server.ListWatch(corev1.Resource("configmaps"))
	if err != nil {
		t.Fatal(err)
	}
	h.server.Stored(corev1.Resource("configmaps")).KeepDecoded()
	informer := cache.NewSharedIndexInformer(source, &corev1.ConfigMap{}, 0, cache.Indexers{})
	go informer.RunWithContext(t.Context())
	if !cache.WaitForCacheSync(t.Context().Done(), informer.HasSynced) {
		t.Fatal("the informer does not get in step")
	}
	h.configMap(t, "after")
	changed := h.configMap(t, "changed")
	changed.Data["key"] = "other"
	maps := h.client.CoreV1().ConfigMaps("default")
	if changed, err = maps.Update(t.Context(), changed, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := maps.Delete(t.Context(), "before", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	own := h.server.Stored(corev1.Resource("configmaps"))
	err = wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		_, _, err := informer.GetStore().GetByKey("default/after")
		seen, ok, _ := informer.GetStore().GetByKey("default/changed")
		if err != nil || !ok || len(informer.GetStore().List()) != 2 || seen.(*corev1.ConfigMap).ResourceVersion != changed.ResourceVersion {
			return false, err
		}
		object, ok := own.Current("/registry/configmaps/default/changed")
		if kept, err := object.Decoded(); ok && (err != nil || kept != seen) {
			t.Error("the informer has a copy of its own", err)
		}
		return true, nil
	})
	if err != nil {
		t.Errorf("%v: %v", err, informer.GetStore().ListKeys())
	}
	if _, err := h.server.ListWatch(corev1.Resource("nothings")); err == nil {
		t.Error("followed what is not stored")
	}
}
