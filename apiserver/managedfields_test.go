package apiserver_test

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
)

// record words who owns what in an object.
func record(m metav1.Object) string {
	var lines []string
	for _, e := range m.GetManagedFields() {
		who := e.Manager + " " + string(e.Operation)
		if e.Subresource != "" {
			who += " " + e.Subresource
		}
		lines = append(lines, who+": "+e.FieldsV1.GetRawString())
	}
	return strings.Join(lines, "\n")
}

func expectRecord(t *testing.T, m metav1.Object, err error, want ...string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if got := record(m); got != strings.Join(want, "\n") {
		t.Errorf("the record is\n%s\nand should be\n%s", got, strings.Join(want, "\n"))
	}
}

func TestWritesAreRecorded(t *testing.T) {
	h := start(t)
	maps := h.client.CoreV1().ConfigMaps("default")
	made, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"l": "1"}}, Data: map[string]string{"x": "1", "y": "1"}}, metav1.CreateOptions{})
	expectRecord(t, made, err, `apiserver.test Update: {"f:data":{".":{},"f:x":{},"f:y":{}},"f:metadata":{"f:labels":{".":{},"f:l":{}}}}`)
	if made.ManagedFields[0].Time == nil || made.ManagedFields[0].APIVersion != "v1" {
		t.Errorf("%+v", made.ManagedFields[0])
	}
	made.Data["y"], made.ManagedFields = "2", nil
	updated, err := maps.Update(t.Context(), made, metav1.UpdateOptions{FieldManager: "editor"})
	expectRecord(t, updated, err,
		`apiserver.test Update: {"f:data":{".":{},"f:x":{}},"f:metadata":{"f:labels":{".":{},"f:l":{}}}}`, `editor Update: {"f:data":{"f:y":{}}}`)
	same, err := maps.Update(t.Context(), updated, metav1.UpdateOptions{FieldManager: "third"})
	if err != nil || same.ResourceVersion != updated.ResourceVersion || len(same.ManagedFields) != 2 {
		t.Errorf("an update that changes nothing: %+v, %v", same, err)
	}
	patched, err := maps.Patch(t.Context(), "a", types.MergePatchType, []byte(`{"data":{"x":null}}`), metav1.PatchOptions{FieldManager: "patcher"})
	expectRecord(t, patched, err, `apiserver.test Update: {"f:data":{},"f:metadata":{"f:labels":{".":{},"f:l":{}}}}`, `editor Update: {"f:data":{"f:y":{}}}`)
	if _, err := maps.Apply(t.Context(), applycorev1.ConfigMap("a", "default").WithData(map[string]string{"y": "3"}), metav1.ApplyOptions{FieldManager: "applier"}); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), `conflict with "editor" using v1`) {
		t.Errorf("an apply over an update: %v", err)
	}
}

func TestRecordsAreReset(t *testing.T) {
	h := start(t)
	h.configMap(t, "a")
	maps := h.client.CoreV1().ConfigMaps("default")
	reset, err := maps.Patch(t.Context(), "a", types.MergePatchType, []byte(`{"metadata":{"managedFields":[{}]}}`), metav1.PatchOptions{})
	expectRecord(t, reset, err, "")
	reset.Data["key"] = "other"
	updated, err := maps.Update(t.Context(), reset, metav1.UpdateOptions{})
	expectRecord(t, updated, err, "")
	applied, err := maps.Apply(t.Context(), applycorev1.ConfigMap("a", "default").WithData(map[string]string{"new": "x"}), metav1.ApplyOptions{FieldManager: "alice"})
	expectRecord(t, applied, err, `alice Apply: {"f:data":{"f:new":{}}}`,
		`before-first-apply Update: {"f:data":{".":{},"f:key":{}},"f:metadata":{"f:labels":{".":{},"f:app":{}}}}`)
}

func TestPartsAreRecordedApart(t *testing.T) {
	h := start(t)
	pods := h.client.CoreV1().Pods("default")
	pod, err := pods.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{Hostname: "h"}, Status: corev1.PodStatus{Message: "mine"}}, metav1.CreateOptions{FieldManager: "m"})
	expectRecord(t, pod, err, `m Update: {"f:spec":{"f:hostname":{}}}`)
	pod.Spec.Hostname, pod.Status.Message = "other", "theirs"
	pod, err = pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{FieldManager: "m"})
	expectRecord(t, pod, err, `m Update: {"f:spec":{"f:hostname":{}}}`, `m Update status: {"f:status":{"f:message":{}}}`)

	deployments := h.client.AppsV1().Deployments("default")
	if _, err := deployments.Create(t.Context(), &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "d"}}, metav1.CreateOptions{FieldManager: "m"}); err != nil {
		t.Fatal(err)
	}
	if _, err := deployments.Patch(t.Context(), "d", types.MergePatchType, []byte(`{"spec":{"replicas":3}}`), metav1.PatchOptions{FieldManager: "m"}, "scale"); err != nil {
		t.Fatal(err)
	}
	deployment, err := deployments.Get(t.Context(), "d", metav1.GetOptions{})
	if err != nil || !strings.HasSuffix(record(deployment), `m Update scale: {"f:spec":{"f:replicas":{}}}`) {
		t.Errorf("%s, %v", record(deployment), err)
	}
}

func TestManyUpdatersAreMerged(t *testing.T) {
	h := start(t)
	h.configMap(t, "a")
	maps := h.client.CoreV1().ConfigMaps("default")
	var last *corev1.ConfigMap
	for i := range 14 {
		var err error
		if last, err = maps.Patch(t.Context(), "a", types.MergePatchType, fmt.Appendf(nil, `{"data":{"k%d":"v"}}`, i), metav1.PatchOptions{FieldManager: fmt.Sprint("m", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(last.ManagedFields); n != 10 || !strings.Contains(record(last), "ancient-changes Update") {
		t.Errorf("%d entries:\n%s", n, record(last))
	}
}
