package customresource_test

import (
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/memory"
)

func TestADefinitionTakesItsInstancesWithIt(t *testing.T) {
	w := newWorld(t, nil)
	w.define(widgets)
	w.mustCreate("v1", "widgets", fmt.Sprintf(widget, "a", ""))
	w.mustCreate("v1", "widgets", strings.Replace(fmt.Sprintf(widget, "held", ""), "name: held", "name: held, finalizers: [example.com/hold]", 1))
	if err := w.client.Resource(definitions).Delete(t.Context(), "widgets.example.com", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.wait("the free instance is gone", func() bool {
		_, err := w.in("v1", "widgets").Get(t.Context(), "a", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	if w.condition("widgets.example.com", "Terminating") != "True" {
		t.Error("the definition does not say that it is terminating")
	}
	if _, err := w.create("v1", "widgets", fmt.Sprintf(widget, "late", "")); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "create not allowed while custom resource definition is terminating") {
		t.Errorf("a new instance: %v", err)
	}
	if _, err := w.in("v1", "widgets").Patch(t.Context(), "held", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	w.wait("the definition is gone", func() bool {
		_, err := w.client.Resource(definitions).Get(t.Context(), "widgets.example.com", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	w.wait("its resource is gone", func() bool {
		_, err := w.in("v1", "widgets").List(t.Context(), metav1.ListOptions{})
		return apierrors.IsNotFound(err)
	})
	w.define(widgets)
	if list, err := w.in("v1", "widgets").List(t.Context(), metav1.ListOptions{}); err != nil || len(list.Items) != 0 {
		t.Errorf("defined again: %v %v", list, err)
	}
}

func TestNamesAreTakenOnce(t *testing.T) {
	w := newWorld(t, nil)
	w.define(widgets)
	rival := strings.NewReplacer("widgets.example.com", "rivals.example.com", "plural: widgets, singular: widget, kind: Widget", "plural: rivals, singular: rival, kind: Widget").Replace(widgets)
	if _, err := w.client.Resource(definitions).Create(t.Context(), w.parse(rival), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.wait("the rival is refused its names", func() bool { return w.condition("rivals.example.com", "NamesAccepted") == "False" })
	if got := w.condition("rivals.example.com", "Established"); got != "False" {
		t.Errorf("established: %q", got)
	}
	if _, err := w.in("v1", "rivals").List(t.Context(), metav1.ListOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("served without names: %v", err)
	}
	if err := w.client.Resource(definitions).Delete(t.Context(), "widgets.example.com", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.wait("the rival has them now", func() bool { return w.condition("rivals.example.com", "Established") == "True" })
}

func TestDefinitionsAreChecked(t *testing.T) {
	w := newWorld(t, nil)
	for change, want := range map[string]string{
		"name: widgets.example.com=>name: others.example.com":        `must be spec.names.plural+"."+spec.group`,
		"type: object, x-kubernetes-embedded=>x-kubernetes-embedded": "must be object if x-kubernetes-embedded-resource is true",
		"self.replicas < 50=>self.replicaz < 50":                     "undefined field 'replicaz'",
		"default: red=>default: 3":                                   `must be of type string: "integer"`,
		"storage: true=>storage: false":                              "must have exactly one version marked as storage version",
		"group: example.com=>group: example":                         "should be a domain with at least one dot",
	} {
		from, to, _ := strings.Cut(change, "=>")
		text := strings.Replace(widgets, from, to, 1)
		_, err := w.client.Resource(definitions).Create(t.Context(), w.parse(text), metav1.CreateOptions{})
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", change, err)
		}
	}
}

func TestAnotherServerFindsWhatWasStored(t *testing.T) {
	store := memory.New(memory.Config{})
	t.Cleanup(func() { _ = store.Close() })
	first := newWorld(t, store)
	first.define(widgets)
	first.mustCreate("v1", "widgets", fmt.Sprintf(widget, "a", "color: blue"))
	second := newWorld(t, store)
	obj, err := second.in("v1", "widgets").Get(t.Context(), "a", metav1.GetOptions{})
	if err != nil || field(obj, "spec", "color") != "blue" {
		t.Fatalf("%v %v", obj, err)
	}
	for key, want := range map[string]string{
		"/registry/example.com/widgets/default/a":                                      `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{`,
		"/registry/apiextensions.k8s.io/customresourcedefinitions/widgets.example.com": `{"kind":"CustomResourceDefinition","apiVersion":"apiextensions.k8s.io/v1beta1"`,
	} {
		if got := storedAt(t, store, key); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", key, got)
		}
	}
}

func storedAt(t *testing.T, store storage.Store, key string) string {
	t.Helper()
	kv, err := store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(kv.Value)
}
