package customresource_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// gadgets has two versions; %s is its conversion.
const gadgets = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.example.com}
spec:
	group: example.com
	scope: Namespaced
	names: {plural: gadgets, kind: Gadget}
	conversion: %s
	versions:
	- name: v1
		served: true
		storage: true
		schema:
			openAPIV3Schema: {type: object, properties: {size: {type: string}, shared: {type: string}}}
	- name: v1beta1
		served: true
		storage: false
		deprecated: true
		schema:
			openAPIV3Schema: {type: object, properties: {length: {type: string}, shared: {type: string, default: beta}}}
		selectableFields: [{jsonPath: .length}]
`

const gadget = `{apiVersion: example.com/%s, kind: Gadget, metadata: {name: %s}, %s}`

func TestVersionsThatDifferByNameAlone(t *testing.T) {
	w := newWorld(t, nil)
	w.define(fmt.Sprintf(gadgets, "{strategy: None}"))
	w.mustCreate("v1beta1", "gadgets", fmt.Sprintf(gadget, "v1beta1", "a", "length: long"))
	obj, err := w.in("v1", "gadgets").Get(t.Context(), "a", metav1.GetOptions{})
	if err != nil || obj.GetAPIVersion() != "example.com/v1" || field(obj, "length") != nil || field(obj, "shared") != "beta" {
		t.Errorf("in v1: %v %v", obj, err)
	}
	list, err := w.in("v1beta1", "gadgets").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 || list.Items[0].GetAPIVersion() != "example.com/v1beta1" {
		t.Errorf("in v1beta1: %v %v", list, err)
	}
	if _, err := w.create("v1", "gadgets", fmt.Sprintf(gadget, "v1beta1", "b", "")); err == nil || !strings.Contains(err.Error(), "does not match the expected API version") {
		t.Errorf("one version sent to another: %v", err)
	}
	_, _, header := w.request("GET", "/apis/example.com/v1beta1/gadgets", "")
	if warning := header.Get("Warning"); !strings.Contains(warning, "example.com/v1beta1 Gadget is deprecated; use example.com/v1 Gadget") {
		t.Errorf("warning: %q", warning)
	}
}

func TestTheStorageVersionMoves(t *testing.T) {
	w := newWorld(t, nil)
	w.define(fmt.Sprintf(gadgets, "{strategy: None}"))
	w.mustCreate("v1", "gadgets", fmt.Sprintf(gadget, "v1", "old", "shared: x"))
	_, err := w.client.Resource(definitions).Patch(t.Context(), "gadgets.example.com", types.JSONPatchType, []byte(
		`[{"op":"replace","path":"/spec/versions/0/storage","value":false},{"op":"replace","path":"/spec/versions/1/storage","value":true}]`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.mustCreate("v1beta1", "gadgets", fmt.Sprintf(gadget, "v1beta1", "new", "shared: z"))
	for name, want := range map[string]string{"old": "x", "new": "z"} {
		for _, version := range []string{"v1", "v1beta1"} {
			obj, err := w.in(version, "gadgets").Get(t.Context(), name, metav1.GetOptions{})
			if err != nil || field(obj, "shared") != want || obj.GetAPIVersion() != "example.com/"+version {
				t.Errorf("%s in %s: %v %v", name, version, obj, err)
			}
		}
	}
	d, err := w.client.Resource(definitions).Get(t.Context(), "gadgets.example.com", metav1.GetOptions{})
	if stored := fmt.Sprint(field(d, "status", "storedVersions")); err != nil || stored != "[v1 v1beta1]" {
		t.Errorf("stored versions: %s %v", stored, err)
	}
}

// converting is a webhook that renames size to length and back, unless it is
// told to misbehave.
type converting struct {
	calls, objects atomic.Int64
	// spoil changes an answer before it is sent.
	spoil atomic.Pointer[func(*apiextensionsv1.ConversionReview)]
}

func (c *converting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var review apiextensionsv1.ConversionReview
	body, _ := io.ReadAll(r.Body)
	if err := json.Unmarshal(body, &review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.calls.Add(1)
	review.Response = &apiextensionsv1.ConversionResponse{UID: review.Request.UID, Result: metav1.Status{Status: metav1.StatusSuccess}}
	for _, raw := range review.Request.Objects {
		c.objects.Add(1)
		obj := &unstructured.Unstructured{}
		if err := obj.UnmarshalJSON(raw.Raw); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		from, to := "size", "length"
		if review.Request.DesiredAPIVersion == "example.com/v1" {
			from, to = to, from
		}
		obj.Object[to] = obj.Object[from]
		delete(obj.Object, from)
		obj.SetAPIVersion(review.Request.DesiredAPIVersion)
		converted, _ := obj.MarshalJSON()
		review.Response.ConvertedObjects = append(review.Response.ConvertedObjects, runtime.RawExtension{Raw: converted})
	}
	review.Request = nil
	if spoil := c.spoil.Load(); spoil != nil {
		(*spoil)(&review)
	}
	_ = json.NewEncoder(w).Encode(review)
}

func withWebhook(t *testing.T) (*world, *converting) {
	hook := &converting{}
	front := httptest.NewServer(hook)
	t.Cleanup(front.Close)
	w := newWorld(t, nil)
	// A definition must name an HTTPS URL; the test's caller does not mind.
	w.define(fmt.Sprintf(gadgets, `{strategy: Webhook, webhook: {conversionReviewVersions: [v1], clientConfig: {url: "`+strings.Replace(front.URL, "http:", "https:", 1)+`"}}}`))
	return w, hook
}

func TestAWebhookConverts(t *testing.T) {
	w, hook := withWebhook(t)
	w.mustCreate("v1", "gadgets", fmt.Sprintf(gadget, "v1", "a", "size: big"))
	created := w.mustCreate("v1beta1", "gadgets", fmt.Sprintf(gadget, "v1beta1", "b", "length: long"))
	if field(created, "length") != "long" {
		t.Errorf("created: %v", created)
	}
	obj, err := w.in("v1", "gadgets").Get(t.Context(), "b", metav1.GetOptions{})
	if err != nil || field(obj, "size") != "long" || field(obj, "length") != nil {
		t.Errorf("b in v1: %v %v", obj, err)
	}
	events, err := w.in("v1beta1", "gadgets").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	list, err := w.in("v1beta1", "gadgets").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 2 || field(&list.Items[0], "length") != "big" || list.Items[0].GetAPIVersion() != "example.com/v1beta1" {
		t.Fatalf("list: %v %v", list, err)
	}
	for range list.Items {
		if event := <-events.ResultChan(); event.Type != watch.Added || field(event.Object.(*unstructured.Unstructured), "length") == nil {
			t.Errorf("event: %v", event)
		}
	}
	before := hook.objects.Load()
	if _, err := w.in("v1beta1", "gadgets").List(t.Context(), metav1.ListOptions{}); err != nil || hook.objects.Load() != before {
		t.Errorf("what was converted was converted again: %v", err)
	}
	patched, err := w.in("v1beta1", "gadgets").Patch(t.Context(), "a", types.MergePatchType, []byte(`{"length":"longer"}`), metav1.PatchOptions{})
	if err != nil || field(patched, "length") != "longer" {
		t.Errorf("patched: %v %v", patched, err)
	}
	if obj, err = w.in("v1", "gadgets").Get(t.Context(), "a", metav1.GetOptions{}); err != nil || field(obj, "size") != "longer" || obj.GetGeneration() != 2 {
		t.Errorf("a in v1: %v %v", obj, err)
	}
}

func TestAWebhookThatLiesIsNotBelieved(t *testing.T) {
	w, hook := withWebhook(t)
	w.mustCreate("v1", "gadgets", fmt.Sprintf(gadget, "v1", "a", "size: big"))
	replace := func(from, to string) func(*apiextensionsv1.ConversionReview) {
		return func(r *apiextensionsv1.ConversionReview) {
			raw := &r.Response.ConvertedObjects[0].Raw
			*raw = []byte(strings.Replace(string(*raw), from, to, 1))
		}
	}
	for want, spoil := range map[string]func(*apiextensionsv1.ConversionReview){
		"expected response.uid":          func(r *apiextensionsv1.ConversionReview) { r.Response.UID = "other" },
		"returned 0 objects, expected 1": func(r *apiextensionsv1.ConversionReview) { r.Response.ConvertedObjects = nil },
		"no response provided":           func(r *apiextensionsv1.ConversionReview) { r.Response = nil },
		"out of order": func(r *apiextensionsv1.ConversionReview) {
			r.Response.Result = metav1.Status{Status: metav1.StatusFailure, Message: "out of order"}
		},
		"must have the same name":              replace(`"name":"a"`, `"name":"b"`),
		"must have the same namespace":         replace(`"namespace":"default"`, `"namespace":"kube-system"`),
		"expected a example.com/v1beta1":       replace(`example.com/v1beta1`, `example.com/v1`),
		"missing metadata in converted object": replace(`"metadata"`, `"data"`),
		"expected webhook response of":         func(r *apiextensionsv1.ConversionReview) { r.Kind = "Other" },
	} {
		hook.spoil.Store(&spoil)
		_, err := w.in("v1beta1", "gadgets").Get(t.Context(), "a", metav1.GetOptions{})
		if !apierrors.IsInternalError(err) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "conversion webhook for example.com/v1, Kind=Gadget failed") {
			t.Errorf("%v, want %s", err, want)
		}
	}
	hook.spoil.Store(nil)
	if _, err := w.in("v1beta1", "gadgets").Get(t.Context(), "a", metav1.GetOptions{}); err != nil {
		t.Errorf("after it came to its senses: %v", err)
	}
}
