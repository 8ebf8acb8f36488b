package apiserver_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
)

func TestServerSideApply(t *testing.T) {
	h := start(t)
	maps := h.client.CoreV1().ConfigMaps("default")
	wish := applycorev1.ConfigMap("a", "default").WithData(map[string]string{"k": "alice", "old": "x"})
	made, err := maps.Apply(t.Context(), wish, metav1.ApplyOptions{FieldManager: "alice"})
	if err != nil || made.Data["k"] != "alice" || len(made.ManagedFields) != 1 || made.ManagedFields[0].Operation != metav1.ManagedFieldsOperationApply {
		t.Fatalf("%+v, %v", made, err)
	}
	again, err := maps.Apply(t.Context(), wish, metav1.ApplyOptions{FieldManager: "alice"})
	if err != nil || again.ResourceVersion != made.ResourceVersion {
		t.Errorf("applying the same again wrote: %+v, %v", again, err)
	}
	theirs := applycorev1.ConfigMap("a", "default").WithData(map[string]string{"k": "bob"})
	if _, err := maps.Apply(t.Context(), theirs, metav1.ApplyOptions{FieldManager: "bob"}); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), `conflict with "alice": .data.k`) {
		t.Errorf("%v", err)
	}
	forced, err := maps.Apply(t.Context(), theirs, metav1.ApplyOptions{FieldManager: "bob", Force: true})
	if err != nil || forced.Data["k"] != "bob" || forced.Data["old"] != "x" {
		t.Errorf("%+v, %v", forced, err)
	}
	less, err := maps.Apply(t.Context(), applycorev1.ConfigMap("a", "default"), metav1.ApplyOptions{FieldManager: "alice"})
	if _, there := less.Data["old"]; err != nil || there || less.Data["k"] != "bob" {
		t.Errorf("what alice no longer wants: %+v, %v", less, err)
	}
}

func TestUpdatesOfAppliedObjectsAreRecorded(t *testing.T) {
	h := start(t)
	maps := h.client.CoreV1().ConfigMaps("default")
	made, err := maps.Apply(t.Context(), applycorev1.ConfigMap("a", "default").WithData(map[string]string{"k": "v", "kept": "v"}), metav1.ApplyOptions{FieldManager: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	made.Data["k"] = "other"
	made.ManagedFields = nil
	updated, err := maps.Update(t.Context(), made, metav1.UpdateOptions{FieldManager: "editor"})
	if err != nil || len(updated.ManagedFields) != 2 {
		t.Fatalf("%+v, %v", updated, err)
	}
	same, err := maps.Update(t.Context(), updated, metav1.UpdateOptions{FieldManager: "editor"})
	if err != nil || same.ResourceVersion != updated.ResourceVersion {
		t.Errorf("an update that changes nothing wrote: %v", err)
	}
	if _, err := maps.Apply(t.Context(), applycorev1.ConfigMap("a", "default").WithData(map[string]string{"k": "mine"}), metav1.ApplyOptions{FieldManager: "alice"}); !apierrors.IsConflict(err) {
		t.Errorf("%v", err)
	}
}

func TestStatusIsAppliedThroughItsOwnDoor(t *testing.T) {
	h := start(t)
	pods := h.client.CoreV1().Pods("default")
	if _, err := pods.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	wish := applycorev1.Pod("p", "default").WithStatus(applycorev1.PodStatus().WithPhase(corev1.PodRunning))
	pod, err := pods.ApplyStatus(t.Context(), wish, metav1.ApplyOptions{FieldManager: "kubelet"})
	if err != nil || pod.Status.Phase != corev1.PodRunning {
		t.Errorf("%+v, %v", pod, err)
	}
}

func TestConfigurationsThatCannotBeApplied(t *testing.T) {
	h := start(t)
	const apply = "application/apply-patch+yaml"
	for body, want := range map[string]int{
		"kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\nwrong: 1\n": 400,
		"kind: Secret\napiVersion: v1\nmetadata: {name: a}\n":              400,
		"kind: ConfigMap\napiVersion: v2\nmetadata: {name: a}\n":           400,
		"{":                   400,
		"metadata: {name: a}": 400,
		"kind: ConfigMap\napiVersion: v1\nmetadata: {name: other}\n": 400,
	} {
		if got := h.do(t, "PATCH", mapsPath+"/a?fieldManager=m", body, "Content-Type", apply); got.code != want {
			t.Errorf("%q: %d %s", body, got.code, got.body)
		}
	}
	if got := h.do(t, "PATCH", mapsPath+"/a", "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\n", "Content-Type", apply); got.code != 422 {
		t.Errorf("without a manager: %d %s", got.code, got.body)
	}
}
