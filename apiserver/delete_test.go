package apiserver_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

func TestDeletionAnswersWithStatusOrObject(t *testing.T) {
	h := start(t)
	made := h.configMap(t, "a")
	status := h.do(t, "DELETE", mapsPath+"/a", "").status(t)
	if status.Status != metav1.StatusSuccess || status.Details == nil || status.Details.Name != "a" || status.Details.Kind != "configmaps" || status.Details.UID != made.UID {
		t.Errorf("%+v", status)
	}
	if _, err := h.client.CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := h.do(t, "DELETE", "/api/v1/namespaces/default/pods/p", ""); got.code != 200 || got.body[:13] != `{"kind":"Pod"` {
		t.Errorf("%d %s", got.code, got.body)
	}
}

func TestFinalizersKeepAnObjectUntilTheLastIsGone(t *testing.T) {
	h := start(t)
	maps := h.client.CoreV1().ConfigMaps("default")
	if _, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", Finalizers: []string{"example.com/wait"}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := maps.Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	dying, err := maps.Get(t.Context(), "a", metav1.GetOptions{})
	if err != nil || dying.DeletionTimestamp == nil || *dying.DeletionGracePeriodSeconds != 0 {
		t.Fatalf("%+v, %v", dying, err)
	}
	dying.Finalizers = append(dying.Finalizers, "example.com/more")
	if _, err := maps.Update(t.Context(), dying, metav1.UpdateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("a dying object got a finalizer: %v", err)
	}
	events, err := maps.Watch(t.Context(), metav1.ListOptions{ResourceVersion: dying.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	if _, err := maps.Patch(t.Context(), "a", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	expect(t, events, watch.Deleted, "a")
}

func TestPropagationPoliciesBecomeFinalizers(t *testing.T) {
	h := start(t)
	maps := h.client.CoreV1().ConfigMaps("default")
	for policy, finalizer := range map[metav1.DeletionPropagation]string{
		metav1.DeletePropagationOrphan:     metav1.FinalizerOrphanDependents,
		metav1.DeletePropagationForeground: metav1.FinalizerDeleteDependents,
	} {
		name := "with-" + strings.ToLower(string(policy))
		h.configMap(t, name)
		if err := maps.Delete(t.Context(), name, metav1.DeleteOptions{PropagationPolicy: &policy}); err != nil {
			t.Fatal(err)
		}
		dying, err := maps.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || dying.DeletionTimestamp == nil || !slices.Equal(dying.Finalizers, []string{finalizer}) {
			t.Errorf("%s: %+v, %v", policy, dying, err)
		}
	}
}

func TestPodsGetTheirGrace(t *testing.T) {
	h := start(t)
	pods := h.client.CoreV1().Pods("default")
	if _, err := pods.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{NodeName: "n"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := pods.Delete(t.Context(), "p", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	pod, err := pods.Get(t.Context(), "p", metav1.GetOptions{})
	if err != nil || pod.DeletionTimestamp == nil || *pod.DeletionGracePeriodSeconds != 30 {
		t.Fatalf("%+v, %v", pod, err)
	}
	version := pod.ResourceVersion
	if err := pods.Delete(t.Context(), "p", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if pod, err = pods.Get(t.Context(), "p", metav1.GetOptions{}); err != nil || pod.ResourceVersion != version {
		t.Errorf("a second deletion wrote: %+v, %v", pod, err)
	}
	if err := pods.Delete(t.Context(), "p", *metav1.NewDeleteOptions(5)); err != nil {
		t.Fatal(err)
	}
	if pod, err = pods.Get(t.Context(), "p", metav1.GetOptions{}); err != nil || *pod.DeletionGracePeriodSeconds != 5 {
		t.Errorf("not shortened: %+v, %v", pod, err)
	}
	if err := pods.Delete(t.Context(), "p", *metav1.NewDeleteOptions(0)); err != nil {
		t.Fatal(err)
	}
	if _, err = pods.Get(t.Context(), "p", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("still there: %v", err)
	}
}

func TestPreconditionsOfDeletions(t *testing.T) {
	h := start(t)
	maps := h.client.CoreV1().ConfigMaps("default")
	made := h.configMap(t, "a")
	other := "1"
	if err := maps.Delete(t.Context(), "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &other}}); !apierrors.IsConflict(err) {
		t.Errorf("%v", err)
	}
	if err := maps.Delete(t.Context(), "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &made.UID, ResourceVersion: &made.ResourceVersion}}); err != nil {
		t.Errorf("%v", err)
	}
}

func TestNamespacesWaitForTheirContents(t *testing.T) {
	h := start(t)
	namespaces := h.client.CoreV1().Namespaces()
	made, err := namespaces.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Spec: corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{corev1.FinalizerKubernetes}}}, metav1.CreateOptions{})
	if err != nil || made.Namespace != "" {
		t.Fatalf("%+v, %v", made, err)
	}
	if err := namespaces.Delete(t.Context(), "n", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	dying, err := namespaces.Get(t.Context(), "n", metav1.GetOptions{})
	if err != nil || dying.DeletionTimestamp == nil || dying.Status.Phase != corev1.NamespaceTerminating {
		t.Fatalf("%+v, %v", dying, err)
	}
	if err := namespaces.Delete(t.Context(), "n", metav1.DeleteOptions{}); err != nil {
		t.Errorf("deleting it again: %v", err)
	}
	dying.Spec.Finalizers = nil
	if _, err := namespaces.Finalize(t.Context(), dying, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := namespaces.Get(t.Context(), "n", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("still there: %v", err)
	}
}

func TestCollectionsAreDeletedBySelector(t *testing.T) {
	h := start(t)
	for _, name := range []string{"a", "b", "c"} {
		h.configMap(t, name)
	}
	maps := h.client.CoreV1().ConfigMaps("default")
	if err := maps.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "app in (a,b)"}); err != nil {
		t.Fatal(err)
	}
	left, err := maps.List(t.Context(), metav1.ListOptions{})
	if err != nil || len(left.Items) != 1 || left.Items[0].Name != "c" {
		t.Errorf("%+v, %v", left, err)
	}
}
