package customresource_test

import (
	"encoding/json"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	clientfeatures "k8s.io/client-go/features"
	clientfeaturestesting "k8s.io/client-go/features/testing"
	"k8s.io/client-go/rest"
)

const manyTypes = `color: blue, replicas: 3, note: null, port: 80, free: {x: 1.5, y: [a, 2, true, null]}, ports: [{name: a, port: 1}]`

// TestCustomResourcesInCBOR: kinds without a Go type are what they are in
// JSON.
func TestCustomResourcesInCBOR(t *testing.T) {
	w := newWorld(t, nil)
	w.define(widgets)
	clientfeaturestesting.SetFeatureDuringTest(t, clientfeatures.ClientsAllowCBOR, true)
	clientfeaturestesting.SetFeatureDuringTest(t, clientfeatures.ClientsPreferCBOR, true)
	client := dynamic.NewForConfigOrDie(&rest.Config{Host: w.url, QPS: -1}).
		Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}).Namespace("default")
	events, err := client.Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	if _, err := client.Create(t.Context(), w.parse(fmt.Sprintf(widget, "w", manyTypes)), metav1.CreateOptions{FieldValidation: "Strict"}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Patch(t.Context(), "w", types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	applied := w.parse(fmt.Sprintf(widget, "w", manyTypes))
	applied.SetName("applied")
	if _, err := client.Apply(t.Context(), "applied", applied, metav1.ApplyOptions{FieldManager: "m"}); err != nil {
		t.Fatal(err)
	}
	inCBOR, err := client.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	inJSON, err := w.in("v1", "widgets").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a, errA := json.Marshal(inCBOR)
	b, errB := json.Marshal(inJSON)
	if errA != nil || errB != nil || string(a) != string(b) || len(inCBOR.Items) != 2 {
		t.Errorf("in CBOR\n%s\nin JSON\n%s", a, b)
	}
	for _, want := range []string{"ADDED", "MODIFIED", "ADDED"} {
		if e := <-events.ResultChan(); string(e.Type) != want {
			t.Errorf("event %+v, want %s", e, want)
		}
	}
	bad := w.parse(fmt.Sprintf(widget, "w", manyTypes))
	bad.SetName("bad")
	bad.Object["unknown"] = int64(1)
	if _, err := client.Create(t.Context(), bad, metav1.CreateOptions{FieldValidation: "Strict"}); err == nil {
		t.Error("an unknown field is taken")
	}
}
