package apiserver_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/yare-io/yare/apiserver"
)

// fill makes config maps "m-0" to "m-(n-1)" in a namespace.
func (h *harness) fill(t testing.TB, namespace string, n int) {
	t.Helper()
	for i := range n {
		_, err := h.client.CoreV1().ConfigMaps(namespace).Create(t.Context(), &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("m-%d", i), Labels: map[string]string{"parity": []string{"even", "odd"}[i%2]}},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func mapNames(list *corev1.ConfigMapList) string {
	var names []string
	for _, item := range list.Items {
		names = append(names, item.Namespace+"/"+item.Name)
	}
	return strings.Join(names, " ")
}

func TestPagesAreOfOneRevision(t *testing.T) {
	h := start(t)
	h.fill(t, "default", 5)
	maps := h.client.CoreV1().ConfigMaps("default")
	first, err := maps.List(t.Context(), metav1.ListOptions{Limit: 2})
	if err != nil || mapNames(first) != "default/m-0 default/m-1" || first.Continue == "" || first.RemainingItemCount == nil || *first.RemainingItemCount != 3 {
		t.Fatalf("%s %+v, %v", mapNames(first), first.ListMeta, err)
	}
	h.configMap(t, "m-2a")
	if err := maps.Delete(t.Context(), "m-3", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	second, err := maps.List(t.Context(), metav1.ListOptions{Limit: 2, Continue: first.Continue})
	if err != nil || mapNames(second) != "default/m-2 default/m-3" || second.ResourceVersion != first.ResourceVersion {
		t.Fatalf("%s %+v, %v", mapNames(second), second.ListMeta, err)
	}
	last, err := maps.List(t.Context(), metav1.ListOptions{Limit: 2, Continue: second.Continue})
	if err != nil || mapNames(last) != "default/m-4" || last.Continue != "" || last.RemainingItemCount != nil {
		t.Fatalf("%s %+v, %v", mapNames(last), last.ListMeta, err)
	}
}

func TestSelectorsAndPagesTogether(t *testing.T) {
	h := start(t)
	h.fill(t, "default", 7)
	maps := h.client.CoreV1().ConfigMaps("default")
	page, err := maps.List(t.Context(), metav1.ListOptions{Limit: 2, LabelSelector: "parity=odd"})
	if err != nil || mapNames(page) != "default/m-1 default/m-3" || page.RemainingItemCount != nil {
		t.Fatalf("%s %+v, %v", mapNames(page), page.ListMeta, err)
	}
	page, err = maps.List(t.Context(), metav1.ListOptions{Limit: 2, LabelSelector: "parity=odd", Continue: page.Continue})
	if err != nil || mapNames(page) != "default/m-5" {
		t.Fatalf("%s %+v, %v", mapNames(page), page.ListMeta, err)
	}
	named, err := maps.List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=m-6,metadata.namespace=default"})
	if err != nil || mapNames(named) != "default/m-6" {
		t.Errorf("%s, %v", mapNames(named), err)
	}
}

func TestListsKeepToTheirNamespace(t *testing.T) {
	h := start(t)
	h.fill(t, "a", 1)
	h.fill(t, "a-b", 1)
	one, err := h.client.CoreV1().ConfigMaps("a").List(t.Context(), metav1.ListOptions{})
	if err != nil || mapNames(one) != "a/m-0" {
		t.Errorf("%s, %v", mapNames(one), err)
	}
	all, err := h.client.CoreV1().ConfigMaps("").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(all.Items) != 2 {
		t.Errorf("%s, %v", mapNames(all), err)
	}
}

func TestContinueTokensCannotLeadElsewhere(t *testing.T) {
	h := start(t)
	for _, raw := range []string{
		`{"v":"meta.k8s.io/v1","rv":5,"start":"../secrets/x"}`, `{"v":"meta.k8s.io/v1","rv":5,"start":"/x"}`,
		`{"v":"meta.k8s.io/v1","rv":0,"start":"x"}`, `{"v":"v2","rv":5,"start":"x"}`, `{"v":"meta.k8s.io/v1","rv":5}`,
	} {
		_, err := h.client.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{Continue: base64.RawURLEncoding.EncodeToString([]byte(raw))})
		if !apierrors.IsBadRequest(err) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestRevisionsOfLists(t *testing.T) {
	h := start(t)
	h.fill(t, "default", 2)
	maps := h.client.CoreV1().ConfigMaps("default")
	before, err := maps.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h.configMap(t, "later")
	exact, err := maps.List(t.Context(), metav1.ListOptions{ResourceVersion: before.ResourceVersion, ResourceVersionMatch: metav1.ResourceVersionMatchExact})
	if err != nil || len(exact.Items) != 2 || exact.ResourceVersion != before.ResourceVersion {
		t.Errorf("exact: %s, %v", mapNames(exact), err)
	}
	newer, err := maps.List(t.Context(), metav1.ListOptions{ResourceVersion: before.ResourceVersion, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan})
	if err != nil || len(newer.Items) < 2 {
		t.Errorf("not older: %s, %v", mapNames(newer), err)
	}
	if any, err := maps.List(t.Context(), metav1.ListOptions{ResourceVersion: "0"}); err != nil || len(any.Items) < 2 {
		t.Errorf("any: %v", err)
	}
}

func TestCompactedRevisionsAreGone(t *testing.T) {
	h := start(t)
	h.fill(t, "default", 3)
	revision, err := h.store.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := h.store.Compact(t.Context(), revision); err != nil {
		t.Fatal(err)
	}
	// A cache that starts now has none of the old revisions in memory.
	late := start(t, func(c *apiserver.Config) { c.Store = h.store })
	maps := late.client.CoreV1().ConfigMaps("default")
	_, err = maps.List(t.Context(), metav1.ListOptions{ResourceVersion: "2", ResourceVersionMatch: metav1.ResourceVersionMatchExact})
	if !apierrors.IsResourceExpired(err) {
		t.Errorf("exact: %v", err)
	}
	token := base64.RawURLEncoding.EncodeToString([]byte(`{"v":"meta.k8s.io/v1","rv":2,"start":"m-1"}`))
	_, err = maps.List(t.Context(), metav1.ListOptions{Limit: 1, Continue: token})
	var status apierrors.APIStatus
	if !errors.As(err, &status) || !apierrors.IsResourceExpired(err) || status.Status().Continue == "" {
		t.Fatalf("continue: %v", err)
	}
	rest, err := maps.List(t.Context(), metav1.ListOptions{Limit: 1, Continue: status.Status().Continue})
	if err != nil || mapNames(rest) != "default/m-1" {
		t.Errorf("the token to go on with: %s, %v", mapNames(rest), err)
	}
}

func TestFutureRevisionsAreTooLarge(t *testing.T) {
	h := start(t)
	// client-go would ask again and again.
	got := h.do(t, "GET", mapsPath+"?resourceVersion=1000000", "")
	err := &apierrors.StatusError{ErrStatus: got.status(t)}
	if got.code != 504 || !apierrors.IsTimeout(err) || !apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) || got.header.Get("Retry-After") != "1" {
		t.Errorf("%v %v", err, got.header)
	}
}

func TestObjectsInTheStoreAreThoseOfKubernetes(t *testing.T) {
	h := start(t)
	made := h.configMap(t, "a")
	kv, err := h.store.Get(t.Context(), "/registry/configmaps/default/a")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(kv.Value), "k8s\x00\n\x0f\n\x02v1\x12\tConfigMap\x12") || !strings.HasSuffix(string(kv.Value), "\x1a\x00\"\x00") {
		t.Errorf("%q", kv.Value)
	}
	if strconv.FormatInt(kv.Revision, 10) != made.ResourceVersion {
		t.Errorf("revision %d, resourceVersion %s", kv.Revision, made.ResourceVersion)
	}
	if _, err := h.store.Create(t.Context(), "/registry/configmaps/default/json", []byte(`{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"json","namespace":"default"},"data":{"a":"b"}}`), 0); err != nil {
		t.Fatal(err)
	}
	got, err := h.client.CoreV1().ConfigMaps("default").Get(t.Context(), "json", metav1.GetOptions{})
	if err != nil || got.Data["a"] != "b" {
		t.Errorf("what is stored as JSON: %+v, %v", got, err)
	}
}

func TestProtobufClients(t *testing.T) {
	h := start(t)
	client := kubernetes.NewForConfigOrDie(&rest.Config{Host: h.http.URL, ContentConfig: rest.ContentConfig{ContentType: "application/vnd.kubernetes.protobuf"}})
	maps := client.CoreV1().ConfigMaps("default")
	made, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}, BinaryData: map[string][]byte{"b": {0, 1, 2}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := maps.List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 || list.Items[0].UID != made.UID || list.Items[0].BinaryData["b"][2] != 2 || list.ResourceVersion == "" {
		t.Errorf("%+v, %v", list, err)
	}
	events, err := maps.Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	expect(t, events, "ADDED", "a")
	if _, err := maps.Get(t.Context(), "absent", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("%v", err)
	}
}

func TestTheInProcessTransport(t *testing.T) {
	h := start(t)
	config := &rest.Config{Host: "http://in.process", Transport: h.server.Transport(admin())}
	client := kubernetes.NewForConfigOrDie(config)
	maps := client.CoreV1().ConfigMaps("default")
	ctx, cancel := context.WithCancel(t.Context())
	events, err := maps.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("x", 700<<10)
	if _, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Data: map[string]string{"large": large}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	expect(t, events, "ADDED", "a")
	if got, err := maps.Get(ctx, "a", metav1.GetOptions{}); err != nil || got.Data["large"] != large {
		t.Errorf("a large answer: %v", err)
	}
	cancel()
	for range events.ResultChan() {
	}
	if _, err := maps.Get(ctx, "a", metav1.GetOptions{}); err == nil {
		t.Error("a cancelled request succeeded")
	}
	upgrade, _ := http.NewRequest(http.MethodGet, "http://in.process/", nil)
	upgrade.Header.Set("Upgrade", "SPDY/3.1")
	if _, err := h.server.Transport(admin()).RoundTrip(upgrade); err == nil {
		t.Error("an upgrade succeeded")
	}
	forbidden := kubernetes.NewForConfigOrDie(&rest.Config{Host: "http://in.process", Transport: h.server.Transport(mallory())})
	if _, err := forbidden.CoreV1().ConfigMaps("default").Get(t.Context(), "a", metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("mallory: %v", err)
	}
}

func TestTheServersOwnHandOnItsObjects(t *testing.T) {
	h := start(t)
	objects, maps := h.server.Objects(), corev1.Resource("configmaps")
	made, err := objects.Create(t.Context(), maps, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "n"}})
	if err != nil || made.(*corev1.ConfigMap).UID == "" {
		t.Fatalf("%+v, %v", made, err)
	}
	if _, err := objects.Create(t.Context(), maps, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "n"}}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("%v", err)
	}
	if _, err := objects.Update(t.Context(), maps, "n", "a", func(o runtime.Object) error {
		o.(*corev1.ConfigMap).Data = map[string]string{"k": "v"}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	list, err := objects.List(t.Context(), maps, "n")
	if err != nil || len(list) != 1 || list[0].(*corev1.ConfigMap).Data["k"] != "v" {
		t.Errorf("%+v, %v", list, err)
	}
	if err := objects.Delete(t.Context(), maps, "n", "a", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := objects.Get(t.Context(), maps, "n", "a"); !apierrors.IsNotFound(err) {
		t.Errorf("%v", err)
	}
	if err := objects.Delete(t.Context(), maps, "n", "a", nil); !apierrors.IsNotFound(err) {
		t.Errorf("%v", err)
	}
}

func TestTypesOfListItems(t *testing.T) {
	h := start(t)
	h.configMap(t, "a")
	var list struct {
		Kind  string
		Items []map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(h.do(t, "GET", mapsPath, "").body), &list); err != nil {
		t.Fatal(err)
	}
	if _, ok := list.Items[0]["kind"]; ok || list.Kind != "ConfigMapList" {
		t.Errorf("%+v", list)
	}
}
