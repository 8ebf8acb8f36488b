package apiserver_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestEqualCopiesBecomeTheCachesOwnObject(t *testing.T) {
	h := start(t)
	created := h.configMap(t, "shared")
	own, err := h.server.Objects().Get(t.Context(), schema.GroupResource{Resource: "configmaps"}, "default", "shared")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := h.server.Share(created); err != nil || got != any(own) {
		t.Errorf("got %p, %v; the cache has %p", got, err, own)
	}
}

func TestOtherVersionsOfAnObjectAreLeftAlone(t *testing.T) {
	h := start(t)
	created := h.configMap(t, "shared")
	older, namesake, stranger := created.DeepCopy(), created.DeepCopy(), created.DeepCopy()
	older.ResourceVersion = "1"
	namesake.UID = "another"
	stranger.Name = "nowhere"
	for name, object := range map[string]any{
		"an older version":         older,
		"a namesake":               namesake,
		"one that is not there":    stranger,
		"a kind of no row":         &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "shared"}},
		"what is not an object":    "text",
		"a kind that is no object": &metav1.Status{},
	} {
		if got, err := h.server.Share(object); err != nil || got != object {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}
