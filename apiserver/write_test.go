package apiserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/apiserver"
)

func TestGeneratedNames(t *testing.T) {
	h := start(t)
	seen := map[string]bool{}
	for range 20 {
		made, err := h.client.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: strings.Repeat("long", 30)}}, metav1.CreateOptions{})
		if err != nil || seen[made.Name] || len(made.Name) != 63 {
			t.Fatalf("%+v, %v", made, err)
		}
		seen[made.Name] = true
	}
}

func TestUpdatesThatChangeNothingWriteNothing(t *testing.T) {
	h := start(t)
	created := h.configMap(t, "a")
	maps := h.client.CoreV1().ConfigMaps("default")
	updated, err := maps.Update(t.Context(), created, metav1.UpdateOptions{})
	if err != nil || updated.ResourceVersion != created.ResourceVersion {
		t.Errorf("update: %v, %v", updated, err)
	}
	patched, err := maps.Patch(t.Context(), "a", types.MergePatchType, []byte(`{"data":{"key":"value"}}`), metav1.PatchOptions{})
	if err != nil || patched.ResourceVersion != created.ResourceVersion {
		t.Errorf("patch: %v, %v", patched, err)
	}
}

func TestUpdatesCannotChangeWhatIsTheServers(t *testing.T) {
	h := start(t)
	created := h.configMap(t, "a")
	changed := created.DeepCopy()
	changed.UID, changed.ResourceVersion = "", ""
	changed.CreationTimestamp = metav1.Time{}
	changed.Generation = 99
	now := metav1.Now()
	changed.DeletionTimestamp = nil
	changed.Data["key"] = "changed"
	updated, err := h.client.CoreV1().ConfigMaps("default").Update(t.Context(), changed, metav1.UpdateOptions{})
	if err != nil || updated.UID != created.UID || !updated.CreationTimestamp.Equal(&created.CreationTimestamp) || updated.Generation != 0 {
		t.Errorf("%+v, %v", updated, err)
	}
	updated.DeletionTimestamp = &now
	if _, err := h.client.CoreV1().ConfigMaps("default").Update(t.Context(), updated, metav1.UpdateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("a client set the deletion timestamp: %v", err)
	}
}

func TestConcurrentPatchesAllArrive(t *testing.T) {
	h := start(t)
	h.configMap(t, "a")
	maps := h.client.CoreV1().ConfigMaps("default")
	const writers = 20
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			patch := fmt.Sprintf(`{"data":{"k%d":"v"}}`, i)
			if _, err := maps.Patch(t.Context(), "a", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got, err := maps.Get(t.Context(), "a", metav1.GetOptions{}); err != nil || len(got.Data) != writers+1 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestPatches(t *testing.T) {
	h := start(t)
	deployments := h.client.AppsV1().Deployments("default")
	made, err := deployments.Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "d"},
		Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{
			{Name: "a", Image: "a:1"}, {Name: "b", Image: "b:1"},
		}}}},
	}, metav1.CreateOptions{})
	if err != nil || *made.Spec.Replicas != 1 || made.Generation != 1 {
		t.Fatalf("%+v, %v", made, err)
	}
	merged, err := deployments.Patch(t.Context(), "d", types.StrategicMergePatchType, []byte(`{"spec":{"template":{"spec":{"containers":[{"name":"b","image":"b:2"}]}}}}`), metav1.PatchOptions{})
	if err != nil || len(merged.Spec.Template.Spec.Containers) != 2 {
		t.Fatalf("strategic: %+v, %v", merged, err)
	}
	replaced, err := deployments.Patch(t.Context(), "d", types.JSONPatchType, []byte(`[{"op":"test","path":"/spec/replicas","value":1},{"op":"replace","path":"/spec/replicas","value":4}]`), metav1.PatchOptions{})
	if err != nil || *replaced.Spec.Replicas != 4 || replaced.Generation != 2 {
		t.Fatalf("JSON: %+v, %v", replaced, err)
	}
	_, err = deployments.Patch(t.Context(), "d", types.MergePatchType, []byte(`{"metadata":{"resourceVersion":"1"}}`), metav1.PatchOptions{})
	if !apierrors.IsConflict(err) {
		t.Errorf("a patch for an old version: %v", err)
	}
	_, err = deployments.Patch(t.Context(), "d", types.MergePatchType, []byte(`{"spec":{"replicas":"x"}}`), metav1.PatchOptions{})
	if !apierrors.IsInvalid(err) {
		t.Errorf("a patch of a wrong type: %v", err)
	}
	bomb := make([]string, 200)
	for i := range bomb {
		bomb[i] = `{"op":"copy","from":"","path":"/metadata/annotations"}`
	}
	answer := h.do(t, "PATCH", "/apis/apps/v1/namespaces/default/deployments/d", "["+strings.Join(bomb, ",")+"]", "Content-Type", "application/json-patch+json")
	if answer.code != 413 && answer.code != 422 {
		t.Errorf("a copy bomb: %d", answer.code)
	}
}

func TestDryRunsWriteNothing(t *testing.T) {
	h := start(t)
	maps, all := h.client.CoreV1().ConfigMaps("default"), []string{metav1.DryRunAll}
	made, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, metav1.CreateOptions{DryRun: all})
	if err != nil || made.UID == "" {
		t.Fatalf("%+v, %v", made, err)
	}
	if _, err := maps.Get(t.Context(), "a", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a dry run created: %v", err)
	}
	real := h.configMap(t, "a")
	changed := real.DeepCopy()
	changed.Data["key"] = "changed"
	if got, err := maps.Update(t.Context(), changed, metav1.UpdateOptions{DryRun: all}); err != nil || got.Data["key"] != "changed" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := maps.Delete(t.Context(), "a", metav1.DeleteOptions{DryRun: all}); err != nil {
		t.Error(err)
	}
	if got, err := maps.Get(t.Context(), "a", metav1.GetOptions{}); err != nil || got.ResourceVersion != real.ResourceVersion {
		t.Errorf("a dry run wrote: %+v, %v", got, err)
	}
}

func TestPutCreatesWhereTheRowAllowsIt(t *testing.T) {
	h := start(t)
	made := h.do(t, "PUT", mapsPath+"/new", `{"metadata":{"name":"new"}}`)
	if made.code != 201 {
		t.Errorf("%d %s", made.code, made.body)
	}
	if pod := h.do(t, "PUT", "/api/v1/namespaces/default/pods/new", `{"metadata":{"name":"new"}}`); pod.code != 404 {
		t.Errorf("%d %s", pod.code, pod.body)
	}
}

func TestScaleWritesThroughToTheObject(t *testing.T) {
	h := start(t)
	deployments := h.client.AppsV1().Deployments("default")
	if _, err := deployments.Create(t.Context(), &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "d"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	scale, err := deployments.GetScale(t.Context(), "d", metav1.GetOptions{})
	if err != nil || scale.Spec.Replicas != 1 {
		t.Fatalf("%+v, %v", scale, err)
	}
	scale.Spec.Replicas = 5
	if scale, err = deployments.UpdateScale(t.Context(), "d", scale, metav1.UpdateOptions{}); err != nil || scale.Spec.Replicas != 5 {
		t.Fatalf("%+v, %v", scale, err)
	}
	got, err := deployments.Get(t.Context(), "d", metav1.GetOptions{})
	if err != nil || *got.Spec.Replicas != 5 || got.Generation != 2 || got.ResourceVersion != scale.ResourceVersion {
		t.Errorf("%+v, %v", got, err)
	}
	patched := h.do(t, "PATCH", "/apis/apps/v1/namespaces/default/deployments/d/scale", `{"spec":{"replicas":7}}`, "Content-Type", "application/merge-patch+json")
	var answer autoscalingv1.Scale
	if err := json.Unmarshal([]byte(patched.body), &answer); err != nil || answer.Kind != "Scale" || answer.APIVersion != "autoscaling/v1" || answer.Spec.Replicas != 7 {
		t.Errorf("%d %s", patched.code, patched.body)
	}
	if _, err := deployments.UpdateScale(t.Context(), "d", &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: "d"}, Spec: autoscalingv1.ScaleSpec{Replicas: -1}}, metav1.UpdateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("a negative scale: %v", err)
	}
	old := scale.DeepCopy()
	if _, err := deployments.UpdateScale(t.Context(), "d", old, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("an old scale: %v", err)
	}
}

func TestStatusAndBindingChangeOnlyTheirPart(t *testing.T) {
	h := start(t)
	pods := h.client.CoreV1().Pods("default")
	if _, err := pods.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := pods.Bind(t.Context(), &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Target: corev1.ObjectReference{Kind: "Node", Name: "n"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod, err := pods.Get(t.Context(), "p", metav1.GetOptions{})
	if err != nil || pod.Spec.NodeName != "n" {
		t.Fatalf("%+v, %v", pod, err)
	}
	pod.Status.Phase, pod.Spec.NodeName = corev1.PodRunning, "other"
	if pod, err = pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil || pod.Spec.NodeName != "n" || pod.Status.Phase != corev1.PodRunning {
		t.Errorf("%+v, %v", pod, err)
	}
	if got := h.do(t, "POST", "/api/v1/namespaces/default/pods/absent/binding", `{"target":{"name":"n"}}`); got.code != 404 {
		t.Errorf("%d %s", got.code, got.body)
	}
}

// stamp is a plugin that leaves its mark, and refuses what is marked "evil".
type stamp struct{}

func (stamp) Name() string                       { return "Stamp" }
func (stamp) Handles(o admission.Operation) bool { return o != admission.Connect }

func (stamp) Admit(_ context.Context, a *admission.Attributes) error {
	if m, ok := a.Object.(*corev1.ConfigMap); ok {
		m.Annotations = map[string]string{"stamp": string(a.Operation) + " by " + a.User.GetName()}
		a.Warn("stamped")
	}
	return nil
}

func (stamp) Validate(_ context.Context, a *admission.Attributes) error {
	if strings.HasPrefix(a.Name, "evil") || (a.Operation == admission.Delete && a.OldObject.(*corev1.ConfigMap).Data["keep"] != "") {
		return fmt.Errorf("no evil")
	}
	return nil
}

func TestAdmissionChangesAndRefuses(t *testing.T) {
	h := start(t, func(c *apiserver.Config) { c.Admission = []admission.Plugin{stamp{}} })
	made := h.do(t, "POST", mapsPath, `{"metadata":{"name":"a"},"data":{"keep":"me"}}`)
	if made.code != 201 || !strings.Contains(made.body, `"stamp":"CREATE by admin"`) || made.header.Get("Warning") != `299 - "stamped"` {
		t.Errorf("%d %v %s", made.code, made.header, made.body)
	}
	refused := h.do(t, "POST", mapsPath, `{"metadata":{"name":"evil"}}`)
	if status := refused.status(t); refused.code != 403 || status.Message != `configmaps "evil" is forbidden: no evil` {
		t.Errorf("%d %+v", refused.code, status)
	}
	if kept := h.do(t, "DELETE", mapsPath+"/a", ""); kept.code != 403 {
		t.Errorf("%d %s", kept.code, kept.body)
	}
	if updated := h.do(t, "PUT", mapsPath+"/a", `{"metadata":{"name":"a"}}`); !strings.Contains(updated.body, `"stamp":"UPDATE by admin"`) {
		t.Error(updated.body)
	}
}
