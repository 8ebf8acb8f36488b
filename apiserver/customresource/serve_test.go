package customresource_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// widgets has one of nearly everything.
const widgets = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
	group: example.com
	scope: Namespaced
	names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wg], categories: [all, toys]}
	versions:
	- name: v1
		served: true
		storage: true
		subresources:
			status: {}
			scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.selector}
		selectableFields: [{jsonPath: .spec.color}]
		additionalPrinterColumns:
		- {name: Color, type: string, jsonPath: .spec.color}
		- {name: Replicas, type: integer, jsonPath: .spec.replicas, priority: 1}
		- {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
		schema:
			openAPIV3Schema:
				type: object
				properties:
					spec:
						type: object
						properties:
							color: {type: string, default: red, maxLength: 20}
							replicas: {type: integer, default: 1, maximum: 100}
							note: {type: string, nullable: true}
							port: {x-kubernetes-int-or-string: true}
							free: {type: object, x-kubernetes-preserve-unknown-fields: true}
							template: {type: object, x-kubernetes-embedded-resource: true, x-kubernetes-preserve-unknown-fields: true}
							tags: {type: array, x-kubernetes-list-type: set, items: {type: string}}
							ports:
								type: array
								x-kubernetes-list-type: map
								x-kubernetes-list-map-keys: [name]
								items: {type: object, required: [name], properties: {name: {type: string}, port: {type: integer}}}
						x-kubernetes-validations:
						- {rule: "self.replicas < 50 || self.color == 'blue'", messageExpression: "'no ' + self.color + ' in such numbers'"}
						- {rule: "self.color == oldSelf.color", message: "color cannot change", fieldPath: .color}
					status:
						type: object
						properties: {replicas: {type: integer}, selector: {type: string}}
`

const widget = `
apiVersion: example.com/v1
kind: Widget
metadata: {name: %s}
spec: {%s}
`

func TestAnObjectTakesTheFormOfItsSchema(t *testing.T) {
	w := newWorld(t, nil)
	w.define(widgets)
	obj := w.mustCreate("v1", "widgets", fmt.Sprintf(widget, "a", `unknown: 1, note: null, port: http, free: {x: {z: 1}},
		template: {apiVersion: v1, kind: Pod, metadata: {name: p, unknown: 1}, spec: {any: thing}}`))
	for path, want := range map[string]any{
		"color": "red", "replicas": int64(1), "unknown": nil, "port": "http", "free.x.z": int64(1),
		"template.spec.any": "thing", "template.metadata.name": "p", "template.metadata.unknown": nil,
	} {
		if got := field(obj, append([]string{"spec"}, strings.Split(path, ".")...)...); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	if spec := obj.Object["spec"].(map[string]any); !hasNull(spec, "note") {
		t.Errorf("the nullable field lost its null: %v", spec)
	}
	if obj.GetGeneration() != 1 || obj.GetUID() == "" || obj.GetAPIVersion() != "example.com/v1" || obj.GetKind() != "Widget" {
		t.Errorf("%v", obj.Object)
	}
	got, err := w.in("v1", "widgets").Get(t.Context(), "a", metav1.GetOptions{})
	if err != nil || got.GetResourceVersion() != obj.GetResourceVersion() || field(got, "spec", "color") != "red" {
		t.Errorf("read %v, %v", got, err)
	}
}

func hasNull(fields map[string]any, name string) bool {
	value, there := fields[name]
	return there && value == nil
}

func TestWhatDoesNotFitIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	w.define(widgets)
	for spec, want := range map[string]string{
		`replicas: "3"`:                     `spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"`,
		`replicas: 101`:                     `spec.replicas: Invalid value: 101: spec.replicas in body should be less than or equal to 100`,
		`color: green, replicas: 60`:        `no green in such numbers`,
		`tags: [a, a]`:                      `spec.tags[1]: Duplicate value: "a"`,
		`ports: [{name: a}, {name: a}]`:     `spec.ports[1]: Duplicate value: {"name":"a"}`,
		`template: {kind: Pod}`:             `spec.template.apiVersion: Required value`,
		`color: abcdefghijklmnopqrstuvwxyz`: `spec.color: Too long: may not be more than 20 bytes`,
		`note: 3`:                           `spec.note in body must be of type string`,
	} {
		_, err := w.create("v1", "widgets", fmt.Sprintf(widget, "bad", spec))
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", spec, err, want)
		}
	}
	w.mustCreate("v1", "widgets", fmt.Sprintf(widget, "good", "color: blue, replicas: 60"))
	_, err := w.in("v1", "widgets").Patch(t.Context(), "good", types.MergePatchType, []byte(`{"spec":{"color":"red","replicas":1}}`), metav1.PatchOptions{})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), `spec.color: Invalid value: color cannot change`) {
		t.Errorf("transition: %v", err)
	}
	_, err = w.in("v1", "widgets").Patch(t.Context(), "good", types.StrategicMergePatchType, []byte(`{}`), metav1.PatchOptions{})
	if !apierrors.IsUnsupportedMediaType(err) {
		t.Errorf("strategic merge: %v", err)
	}
}

func TestUnknownFieldsAreRefusedNamedOrDropped(t *testing.T) {
	w := newWorld(t, nil)
	w.define(widgets)
	path := "/apis/example.com/v1/namespaces/default/widgets?fieldValidation="
	body := `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"%s","nmae":"y"},"spec":{"colour":"x","color":"blue","color":"red","ports":[{"name":"a","prt":1}]}}`
	code, answer, _ := w.request("POST", path+"Strict", fmt.Sprintf(body, "a"))
	for _, want := range []string{`unknown field \"spec.colour\"`, `unknown field \"metadata.nmae\"`, `duplicate field \"spec.color\"`, `unknown field \"spec.ports[0].prt\"`} {
		if code != 400 || !strings.Contains(answer, want) {
			t.Errorf("strict: %d %s, want %s", code, answer, want)
		}
	}
	code, _, header := w.request("POST", path+"Warn", fmt.Sprintf(body, "b"))
	if warnings := strings.Join(header.Values("Warning"), " "); code != 201 || !strings.Contains(warnings, "spec.colour") || !strings.Contains(warnings, "nmae") {
		t.Errorf("warn: %d %s", code, warnings)
	}
	code, answer, header = w.request("POST", path+"Ignore", fmt.Sprintf(body, "c"))
	if code != 201 || len(header.Values("Warning")) != 0 || strings.Contains(answer, "colour") || strings.Contains(answer, "nmae") {
		t.Errorf("ignore: %d %s", code, answer)
	}
}

func TestStatusAndScale(t *testing.T) {
	w := newWorld(t, nil)
	w.define(widgets)
	widgets := w.in("v1", "widgets")
	obj := w.mustCreate("v1", "widgets", fmt.Sprintf(widget, "a", "replicas: 3")+"status: {replicas: 9}")
	if field(obj, "status") != nil {
		t.Errorf("a status came with the object: %v", obj.Object)
	}
	obj.Object["status"] = map[string]any{"replicas": int64(2), "selector": "app=a", "unknown": "x"}
	obj.Object["spec"].(map[string]any)["replicas"] = int64(7)
	after, err := widgets.UpdateStatus(t.Context(), obj, metav1.UpdateOptions{})
	if err != nil || field(after, "status", "replicas") != int64(2) || field(after, "status", "unknown") != nil || field(after, "spec", "replicas") != int64(3) || after.GetGeneration() != 1 {
		t.Fatalf("status: %v %v", after, err)
	}
	scale, err := widgets.Get(t.Context(), "a", metav1.GetOptions{}, "scale")
	if err != nil || scale.GetKind() != "Scale" || field(scale, "spec", "replicas") != int64(3) || field(scale, "status", "replicas") != int64(2) || field(scale, "status", "selector") != "app=a" {
		t.Fatalf("scale: %v %v", scale, err)
	}
	if _, err = widgets.Patch(t.Context(), "a", types.MergePatchType, []byte(`{"spec":{"replicas":5}}`), metav1.PatchOptions{}, "scale"); err != nil {
		t.Fatal(err)
	}
	if obj, err = widgets.Get(t.Context(), "a", metav1.GetOptions{}); err != nil || field(obj, "spec", "replicas") != int64(5) || obj.GetGeneration() != 2 {
		t.Errorf("scaled: %v %v", obj, err)
	}
}

func TestListsSelectAndPrint(t *testing.T) {
	w := newWorld(t, nil)
	w.define(widgets)
	for _, color := range []string{"red", "blue", "blue"} {
		w.mustCreate("v1", "widgets", strings.Replace(fmt.Sprintf(widget, "x", "color: "+color), "name: x", "generateName: w-", 1))
	}
	list, err := w.in("v1", "widgets").List(t.Context(), metav1.ListOptions{FieldSelector: "spec.color=blue"})
	if err != nil || len(list.Items) != 2 || list.GetKind() != "WidgetList" || list.Items[0].GetKind() != "Widget" {
		t.Errorf("selected: %v %v", list, err)
	}
	if _, err := w.in("v1", "widgets").List(t.Context(), metav1.ListOptions{FieldSelector: "spec.replicas=1"}); !apierrors.IsBadRequest(err) {
		t.Errorf("a field that cannot be selected: %v", err)
	}
	_, table, _ := w.request("GET", "/apis/example.com/v1/widgets", "", "Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	for _, want := range []string{`{"name":"Color","type":"string","format":"","description":"Custom resource definition column (in JSONPath format): .spec.color","priority":0}`, `"blue",1,"`, `"priority":1`} {
		if !strings.Contains(table, want) {
			t.Errorf("no %s in %s", want, table)
		}
	}
	_, partial, _ := w.request("GET", "/apis/example.com/v1/widgets", "", "Accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")
	if strings.Contains(partial, `"spec":`) || strings.Count(partial, `"generateName":"w-"`) != 3 {
		t.Errorf("metadata: %s", partial)
	}
}

func TestApplyMergesByTheSchema(t *testing.T) {
	w := newWorld(t, nil)
	w.define(widgets)
	apply := func(manager, text string) (*unstructured.Unstructured, error) {
		obj := w.parse(text)
		return w.in("v1", "widgets").Apply(t.Context(), obj.GetName(), obj, metav1.ApplyOptions{FieldManager: manager})
	}
	if _, err := apply("one", fmt.Sprintf(widget, "a", "tags: [x], ports: [{name: a, port: 1}]")); err != nil {
		t.Fatal(err)
	}
	obj, err := apply("two", fmt.Sprintf(widget, "a", "tags: [z], ports: [{name: b, port: 2}]"))
	if err != nil {
		t.Fatal(err)
	}
	if tags := field(obj, "spec", "tags").([]any); !slices.Contains(tags, any("x")) || !slices.Contains(tags, any("z")) || len(field(obj, "spec", "ports").([]any)) != 2 {
		t.Errorf("not merged: %v", obj.Object["spec"])
	}
	if len(obj.GetManagedFields()) != 2 {
		t.Errorf("managed fields: %v", obj.GetManagedFields())
	}
	if _, err := apply("two", fmt.Sprintf(widget, "a", "ports: [{name: a, port: 3}]")); !apierrors.IsConflict(err) {
		t.Errorf("another's field: %v", err)
	}
	if _, err := apply("two", fmt.Sprintf(widget, "a", "colour: x")); err == nil || !strings.Contains(err.Error(), "field not declared in schema") {
		t.Errorf("unknown field: %v", err)
	}
}

func TestDryRunsWriteNothing(t *testing.T) {
	w := newWorld(t, nil)
	w.define(widgets)
	_, err := w.in("v1", "widgets").Create(t.Context(), w.parse(fmt.Sprintf(widget, "a", "")), metav1.CreateOptions{DryRun: []string{"All"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.in("v1", "widgets").Get(t.Context(), "a", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a dry run left something: %v", err)
	}
}

func TestWatchesOutliveAChangeOfTheDefinition(t *testing.T) {
	w := newWorld(t, nil)
	w.define(widgets)
	w.mustCreate("v1", "widgets", fmt.Sprintf(widget, "a", ""))
	events, err := w.in("v1", "widgets").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	if event := <-events.ResultChan(); event.Type != watch.Added {
		t.Fatal(event)
	}
	_, err = w.client.Resource(definitions).Patch(t.Context(), "widgets.example.com", types.JSONPatchType,
		[]byte(`[{"op":"add","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/size","value":{"type":"string","default":"L"}}]`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.wait("the stored object has the new default", func() bool {
		obj, err := w.in("v1", "widgets").Get(t.Context(), "a", metav1.GetOptions{})
		return err == nil && field(obj, "spec", "size") == "L"
	})
	w.mustCreate("v1", "widgets", fmt.Sprintf(widget, "b", "size: M"))
	event := <-events.ResultChan()
	if obj, ok := event.Object.(*unstructured.Unstructured); !ok || event.Type != watch.Added || obj.GetName() != "b" || field(obj, "spec", "size") != "M" {
		t.Errorf("%v", event)
	}
}

func TestDiscoveryAndDocumentsDescribeThem(t *testing.T) {
	w := newWorld(t, nil)
	w.define(widgets)
	for path, wants := range map[string][]string{
		"/apis":                           {`"name":"example.com"`},
		"/apis/example.com/v1":            {`"name":"widgets","singularName":"widget","namespaced":true,"kind":"Widget"`, `"shortNames":["wg"],"categories":["all","toys"]`, `"name":"widgets/scale"`, `"storageVersionHash"`},
		"/openapi/v3":                     {"apis/example.com/v1"},
		"/openapi/v3/apis/example.com/v1": {`"com.example.v1.Widget"`, `"x-kubernetes-list-map-keys":["name"]`, `"com.example.v1.WidgetList"`, `"default":"red"`, `"io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"`},
		"/openapi/v2":                     {`"com.example.v1.Widget"`, `#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta`},
	} {
		code, body, _ := w.request("GET", path, "")
		for _, want := range wants {
			if code != 200 || !strings.Contains(body, want) {
				t.Errorf("%s: %d, no %s in %.3000s", path, code, want, body)
			}
		}
	}
}

func TestConditionsOfDefinitionsAreOwnedOneByOne(t *testing.T) {
	w := newWorld(t, nil)
	w.define(fmt.Sprintf(gadgets, "{strategy: None}"))
	apply := func(manager, kind string) {
		t.Helper()
		wish := w.parse(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.example.com}
status: {conditions: [{type: ` + kind + `, status: "True", reason: Because}]}`)
		if _, err := w.client.Resource(definitions).ApplyStatus(t.Context(), "gadgets.example.com", wish, metav1.ApplyOptions{FieldManager: manager}); err != nil {
			t.Fatal(err)
		}
	}
	apply("one", "First")
	apply("two", "Second")
	for _, kind := range []string{"First", "Second", "Established", "NamesAccepted"} {
		if w.condition("gadgets.example.com", kind) != "True" {
			t.Errorf("the condition %s is gone", kind)
		}
	}
}

// What changes nothing is not stored, in whatever words it is said.
func TestAnUpdateThatChangesNothingWritesNothing(t *testing.T) {
	w := newWorld(t, nil)
	w.define(fmt.Sprintf(gadgets, "{strategy: None}"))
	first := w.mustCreate("v1", "gadgets", fmt.Sprintf(gadget, "v1", "a", "size: big"))
	send := func(kind types.PatchType, body string) *unstructured.Unstructured {
		t.Helper()
		obj, err := w.in("v1", "gadgets").Patch(t.Context(), "a", kind, []byte(body), metav1.PatchOptions{FieldManager: "other"})
		if err != nil {
			t.Fatal(err)
		}
		return obj
	}
	for _, same := range []string{`{}`, `{"size":"big"}`, `{"metadata":{"generation":1.0}}`, `{"metadata":{"labels":{}}}`} {
		if obj := send(types.MergePatchType, same); obj.GetResourceVersion() != first.GetResourceVersion() {
			t.Errorf("%s was written: %v", same, obj)
		}
	}
	last := first
	for _, other := range []string{`{"size":"small"}`, `{"shared":"x"}`, `{"metadata":{"labels":{"a":"b"}}}`, `{"shared":null}`, `{"metadata":{"labels":{"a":"c"}}}`} {
		obj := send(types.MergePatchType, other)
		if obj.GetResourceVersion() == last.GetResourceVersion() {
			t.Errorf("%s was not written: %v", other, obj)
		}
		last = obj
	}
	// Whose fields they are is told by the record alone.
	if obj := send(types.ApplyPatchType, fmt.Sprintf(gadget, "v1", "a", "size: small")); obj.GetResourceVersion() == last.GetResourceVersion() {
		t.Errorf("another owner was not written: %v", obj)
	}
}
