package apiserver_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	clientfeatures "k8s.io/client-go/features"
	clientfeaturestesting "k8s.io/client-go/features/testing"
	"k8s.io/client-go/rest"
)

// mediaTypes remembers in what a client and its server talk.
type mediaTypes struct {
	mu           sync.Mutex
	sent, gotten map[string]int
}

func (m *mediaTypes) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := http.DefaultTransport.RoundTrip(r)
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Body != nil {
		m.sent[r.Header.Get("Content-Type")]++
	}
	if err == nil {
		m.gotten[answer.Header.Get("Content-Type")]++
	}
	return answer, err
}

// cborClient is client-go's dynamic client with CBOR switched on.
func cborClient(t *testing.T, url string) (dynamic.Interface, *mediaTypes) {
	t.Helper()
	clientfeaturestesting.SetFeatureDuringTest(t, clientfeatures.ClientsAllowCBOR, true)
	clientfeaturestesting.SetFeatureDuringTest(t, clientfeatures.ClientsPreferCBOR, true)
	seen := &mediaTypes{sent: map[string]int{}, gotten: map[string]int{}}
	client, err := dynamic.NewForConfig(&rest.Config{Host: url, QPS: -1, Transport: seen})
	if err != nil {
		t.Fatal(err)
	}
	return client, seen
}

// TestClientsThatSpeakCBOR: every verb of client-go's dynamic client, in CBOR
// both ways.
func TestClientsThatSpeakCBOR(t *testing.T) {
	h := start(t)
	client, seen := cborClient(t, h.http.URL)
	maps, ctx := client.Resource(corev1.SchemeGroupVersion.WithResource("configmaps")).Namespace("default"), t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	events, err := maps.Watch(ctx, metav1.ListOptions{})
	check(err)
	defer events.Stop()
	object := func(name string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name, "labels": map[string]any{"l": name}},
			"data": map[string]any{"k": "ü"}, "binaryData": map[string]any{"b": "AP8="},
		}}
	}
	created, err := maps.Create(ctx, object("a"), metav1.CreateOptions{FieldValidation: "Strict"})
	check(err)
	got, err := maps.Get(ctx, "a", metav1.GetOptions{})
	check(err)
	if created.GetResourceVersion() != got.GetResourceVersion() || got.GetKind() != "ConfigMap" || got.GetAPIVersion() != "v1" {
		t.Errorf("created %v, got %v", created, got)
	}
	if b, _, _ := unstructured.NestedString(got.Object, "binaryData", "b"); b != "AP8=" {
		t.Errorf("bytes are %q", b)
	}
	check(unstructured.SetNestedField(got.Object, "new", "data", "k"))
	_, err = maps.Update(ctx, got, metav1.UpdateOptions{})
	check(err)
	if got, err = maps.Patch(ctx, "a", types.MergePatchType, []byte(`{"data":{"p":"q"}}`), metav1.PatchOptions{}); err != nil || got.Object["data"].(map[string]any)["p"] != "q" {
		t.Errorf("patch: %v %v", got, err)
	}
	if got, err = maps.Apply(ctx, "applied", object("applied"), metav1.ApplyOptions{FieldManager: "m"}); err != nil || len(got.GetManagedFields()) != 1 {
		t.Errorf("apply: %v %v", got, err)
	}
	list, err := maps.List(ctx, metav1.ListOptions{LabelSelector: "l=a"})
	check(err)
	if len(list.Items) != 1 || list.Items[0].GetKind() != "ConfigMap" || list.GetResourceVersion() == "" {
		t.Errorf("list: %+v", list)
	}
	if _, err = maps.Get(ctx, "missing", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("an error in CBOR: %v", err)
	}
	bad := object("bad")
	bad.Object["unknown"] = int64(1)
	if _, err = maps.Create(ctx, bad, metav1.CreateOptions{FieldValidation: "Strict"}); !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), "strict decoding error") {
		t.Errorf("an unknown field: %v", err)
	}
	grace := int64(0)
	check(maps.Delete(ctx, "a", metav1.DeleteOptions{GracePeriodSeconds: &grace}))
	check(maps.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}))
	want := []watch.EventType{watch.Added, watch.Modified, watch.Modified, watch.Added, watch.Deleted, watch.Deleted}
	for i, want := range want {
		e := <-events.ResultChan()
		if m, ok := e.Object.(*unstructured.Unstructured); e.Type != want || !ok || m.GetKind() != "ConfigMap" {
			t.Fatalf("event %d is %+v, want %s", i, e, want)
		}
	}
	if seen.gotten["application/json"] > 0 || seen.gotten["application/cbor"] < 10 || seen.gotten["application/cbor-seq"] != 1 {
		t.Errorf("answers came as %v", seen.gotten)
	}
	if seen.sent["application/cbor"] < 4 || seen.sent["application/apply-patch+cbor"] != 1 || seen.sent["application/json"] > 0 {
		t.Errorf("bodies went as %v", seen.sent)
	}
}

// TestFormsInCBOR: what else can be asked for in CBOR. There are no tables in
// it, as in Kubernetes.
func TestFormsInCBOR(t *testing.T) {
	h := start(t)
	h.configMap(t, "a")
	for _, test := range []struct {
		path, accept, contentType, kind string
		code                            int
	}{
		{mapsPath + "/a", "application/cbor;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "application/cbor", "PartialObjectMetadata", 200},
		{mapsPath, "application/cbor;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", "application/cbor", "PartialObjectMetadataList", 200},
		{mapsPath, "application/cbor", "application/cbor", "ConfigMapList", 200},
		{mapsPath, "application/cbor;as=Table;v=v1;g=meta.k8s.io,application/cbor", "application/cbor", "ConfigMapList", 200},
		{mapsPath, "application/cbor;as=Table;v=v1;g=meta.k8s.io", "application/json", "", 406},
		{mapsPath + "/b", "application/cbor", "application/cbor", "Status", 404},
	} {
		got := h.do(t, "GET", test.path, "", "Accept", test.accept)
		if got.code != test.code || got.header.Get("Content-Type") != test.contentType {
			t.Errorf("%s: %d %s", test.accept, got.code, got.header.Get("Content-Type"))
			continue
		}
		var object map[string]any
		if test.kind == "" {
			continue
		}
		if err := direct.Unmarshal([]byte(got.body), &object); err != nil || object["kind"] != test.kind || !strings.HasPrefix(got.body, "\xd9\xd9\xf7") {
			t.Errorf("%s: %v %v", test.accept, object, err)
		}
	}
}

// TestBadCBOR: what cannot be read is a bad request.
func TestBadCBOR(t *testing.T) {
	h := start(t)
	for name, body := range map[string]string{
		"nothing": "", "half": "\xa1\x44kind", "twice": "\xa2\x41a\x01\x41a\x02", "no map": "\x80", "deep": strings.Repeat("\x81", 100_000),
		"another kind": "\xa2\x44kind\x46Secret\x4aapiVersion\x42v1", "infinite": "\xa1\x41a\xf9\x7c\x00",
	} {
		if got := h.do(t, "POST", mapsPath, body, "Content-Type", "application/cbor"); got.code != 400 || got.status(t).Reason != metav1.StatusReasonBadRequest {
			t.Errorf("%s: %d %s", name, got.code, got.body)
		}
		if got := h.do(t, "PATCH", mapsPath+"/x?fieldManager=m", body, "Content-Type", "application/apply-patch+cbor"); got.code != 400 {
			t.Errorf("%s applied: %d %s", name, got.code, got.body)
		}
	}
}

// TestManyObjectsInCBOR: lists and first events of many objects, in pieces and
// compressed.
func TestManyObjectsInCBOR(t *testing.T) {
	h := start(t)
	h.fill(t, "default", 40)
	_, err := h.client.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "z"}, Data: map[string]string{"x": strings.Repeat("long ", 40_000)},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	client, seen := cborClient(t, h.http.URL)
	maps := client.Resource(corev1.SchemeGroupVersion.WithResource("configmaps")).Namespace("default")
	list, err := maps.List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 41 {
		t.Fatalf("%v, %v", list, err)
	}
	events, err := maps.Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	for range 41 {
		if e := <-events.ResultChan(); e.Type != "ADDED" {
			t.Fatalf("%+v", e)
		}
	}
	if seen.gotten["application/cbor"] != 1 {
		t.Errorf("answers came as %v", seen.gotten)
	}
}
