package fieldmanager

import (
	"encoding/json"
	"math/rand"
	"reflect"
	"strconv"
	"testing"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/yare-io/yare/apiserver/registry"
)

const widgetSchema = `{
 "type": "object",
 "x-kubernetes-group-version-kind": [{"group": "example.com", "version": "v1", "kind": "Widget"}],
 "properties": {
  "apiVersion": {"type": "string"}, "kind": {"type": "string"},
  "metadata": {"type": "object", "properties": {
   "name": {"type": "string"}, "uid": {"type": "string"}, "generation": {"type": "integer"},
   "labels": {"type": "object", "additionalProperties": {"type": "string"}},
   "finalizers": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
   "managedFields": {"type": "array", "x-kubernetes-list-type": "atomic", "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}
  }},
  "spec": {"type": "object", "properties": {
   "a": {"type": "integer"},
   "b": {"x-kubernetes-int-or-string": true},
   "c": {"type": "array", "items": {"type": "string"}},
   "d": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}},
   "e": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["b", "a"], "items": {"type": "object", "properties": {
    "a": {"type": "string"}, "b": {"type": "integer", "default": 7}, "c": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "integer"}}}}},
   "f": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
   "g": {"type": "boolean", "nullable": true}
  }},
  "status": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "string"}}}}
 }}`

func widgets(t *testing.T) *registry.Resource {
	widget := &spec.Schema{}
	if err := json.Unmarshal([]byte(widgetSchema), widget); err != nil {
		t.Fatal(err)
	}
	types, err := managedfields.NewTypeConverter(map[string]*spec.Schema{"com.example.v1.Widget": widget}, false)
	if err != nil {
		t.Fatal(err)
	}
	kind := schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Widget"}
	return &registry.Resource{
		Kind: kind, Name: "widgets",
		New: func() runtime.Object {
			obj := &unstructured.Unstructured{}
			obj.SetGroupVersionKind(kind)
			return obj
		},
		Schema:       &registry.Schema{Types: func() (managedfields.TypeConverter, error) { return types, nil }, Versions: asIs{}},
		Subresources: []registry.Subresource{{Name: "status", Part: &registry.Strategy{}}},
	}
}

// asIs converts what has one version.
type asIs struct{}

func (asIs) Convert(_, _, _ any) error { panic("not called") }

func (asIs) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	return in, nil
}

func (asIs) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}

// Random writes of a kind without a Go type leave the records that
// apimachinery leaves.
func TestRecordUntyped(t *testing.T) {
	row := widgets(t)
	writes, unusual := 0, 0
	for _, part := range []string{"", "status"} {
		w := writer{t: t, manager: New(row, part), row: row, random: rand.New(rand.NewSource(3))}
		for range 60 {
			live := row.New().(*unstructured.Unstructured)
			for i := range 8 {
				obj := w.widget(row)
				if record := live.GetManagedFields(); i > 0 && w.random.Intn(2) == 0 {
					obj.SetManagedFields(record)
				}
				live = w.write(live, obj, "author"+strconv.Itoa(w.random.Intn(3))).(*unstructured.Unstructured)
			}
		}
		writes, unusual = writes+w.writes, unusual+w.unusual
	}
	t.Logf("%d writes, %d of them unusual", writes, unusual)
	if unusual > writes/2 {
		t.Error("too many writes were left to apimachinery for the test to mean something")
	}
}

func (w *writer) widget(row *registry.Resource) *unstructured.Unstructured {
	obj := row.New().(*unstructured.Unstructured)
	obj.SetUID("u")
	obj.SetName("w")
	maybe := func(v any, path ...string) {
		if w.random.Intn(3) > 0 {
			if err := unstructured.SetNestedField(obj.Object, v, path...); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	n := func(n int) int64 { return int64(w.random.Intn(n)) }
	word := func() any { return words[w.random.Intn(6)] }
	var items []any
	for range n(3) {
		item := map[string]any{"a": word()}
		if n(2) == 0 {
			item["b"] = n(3) * 5
		}
		if n(2) == 0 {
			item["c"] = []any{n(20), n(20) + 20}
		}
		items = append(items, item)
	}
	maybe(map[string]any{"x": word(), "y": word()}, "metadata", "labels")
	maybe([]any{"example.com/" + words[n(3)]}, "metadata", "finalizers")
	maybe(n(2), "spec", "a")
	maybe([]any{n(2), word()}[n(2)], "spec", "b")
	maybe([]any{[]any{word()}, []any{}, nil}[n(3)], "spec", "c")
	maybe([]any{map[string]any{"a": word()}, map[string]any{}}[n(2)], "spec", "d")
	maybe(items, "spec", "e")
	maybe(map[string]any{"p": map[string]any{"q": n(2)}, "r": []any{n(2)}}, "spec", "f")
	maybe([]any{true, false, nil}[n(3)], "spec", "g")
	maybe(map[string]any{"s": map[string]any{"a": word()}}, "status")
	return obj
}

// The record of an object without a Go type is read and written as apimachinery
// does it, what is unusual included.
func TestRecordsAsApimachineryHasThem(t *testing.T) {
	const regular = `{"manager":"a<b","operation":"Update","apiVersion":"example.com/v1","time":"2026-01-02T03:04:05Z","fieldsType":"FieldsV1","subresource":"status",` +
		`"fieldsV1":{"f:spec":{".":{},"k:{\"name\":\"x<y\"}":{}}}}`
	for _, record := range []string{
		`[]`, `[` + regular + `]`, `[` + regular + `,{"manager":"b","operation":"Apply"}]`, `[{}]`, `null`, `"none"`, `[1]`,
		`[{"manager":1}]`, `[{"time":null}]`, `[{"time":"yesterday"}]`, `[{"fieldsV1":null}]`, `[{"fieldsV1":{}}]`, `[{"other":"x","manager":"a"}]`,
	} {
		u := &unstructured.Unstructured{}
		if err := json.Unmarshal([]byte(`{"metadata":{"name":"a","managedFields":`+record+`}}`), &u.Object); err != nil {
			t.Fatal(err)
		}
		got, want := recordHeld(u), u.GetManagedFields()
		if !apiequality.Semantic.DeepEqual(got, want) || (got == nil) != (want == nil) {
			t.Errorf("%s is read as %v, want %v", record, got, want)
		}
		mine, theirs := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": "a"}}}, u.DeepCopy()
		putRecord(mine, want)
		theirs.SetManagedFields(want)
		if !reflect.DeepEqual(mine.Object, theirs.Object) {
			t.Errorf("%s is written as %v, want %v", record, mine.Object, theirs.Object)
		}
	}
}
