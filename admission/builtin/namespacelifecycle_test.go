package builtin_test

import (
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/admission"
)

func TestNamespaceLifecycle(t *testing.T) {
	dying := namespace("dying", nil)
	dying.Status.Phase = corev1.NamespaceTerminating
	w := setup{plugin: "NamespaceLifecycle", objects: append(objects(namespace("team", nil)), dying)}.build(t)
	in := func(name string) *admission.Attributes {
		return newPod(func(p *corev1.Pod) { p.Namespace = name })
	}
	w.pass(in("team"))
	if err := w.refuse(in("nowhere"), `namespaces "nowhere" not found`); !apierrors.IsNotFound(err) {
		t.Errorf("got %v", err)
	}

	err := w.refuse(in("dying"), `pods "web" is forbidden: unable to create new content in namespace dying because it is being terminated`)
	if !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		t.Errorf("no cause: %v", err)
	}
	update := in("dying")
	update.Operation = admission.Update
	w.pass(update)
	gone := in("nowhere")
	gone.Operation, gone.Object = admission.Delete, nil
	w.pass(gone)
	w.pass(request(&authorizationv1.LocalSubjectAccessReview{ObjectMeta: metav1.ObjectMeta{Namespace: "nowhere"}},
		authorizationv1.SchemeGroupVersion.WithResource("localsubjectaccessreviews")))
	w.pass(request(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, core("nodes")))
}

func TestSomeNamespacesAreImmortal(t *testing.T) {
	w := setup{plugin: "NamespaceLifecycle"}.build(t)
	remove := func(name string) *admission.Attributes {
		return &admission.Attributes{Operation: admission.Delete, Resource: core("namespaces"), Namespace: name, Name: name, User: alice}
	}
	for _, name := range []string{"default", "kube-system", "kube-public"} {
		w.refuse(remove(name), `namespaces "`+name+`" is forbidden: this namespace may not be deleted`)
	}
	w.pass(remove("team"))
}

func TestANamespaceJustDeletedIsReadLive(t *testing.T) {
	w := setup{plugin: "NamespaceLifecycle", objects: objects(namespace("team", nil))}.build(t)
	w.pass(newPod())
	w.client.ClearActions()
	w.pass(&admission.Attributes{Operation: admission.Delete, Resource: core("namespaces"), Namespace: "team", Name: "team", User: alice})
	w.pass(newPod())
	if len(w.client.Actions()) != 1 {
		t.Errorf("the cache was trusted: %v", w.client.Actions())
	}
}
