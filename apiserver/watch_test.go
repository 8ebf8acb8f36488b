package apiserver_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/apiserver"
)

// lines is a watch read line by line.
type lines struct {
	answer *http.Response
	lines  *bufio.Scanner
	cancel context.CancelFunc
}

func (h *harness) watch(t *testing.T, path string, headers ...string) *lines {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, h.http.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = answer.Body.Close() })
	return &lines{answer: answer, lines: bufio.NewScanner(answer.Body), cancel: cancel}
}

type event struct {
	Type   string
	Object json.RawMessage
}

func (l *lines) next(t *testing.T) event {
	t.Helper()
	var e event
	if !l.lines.Scan() {
		t.Fatalf("the watch ended: %v", l.lines.Err())
	}
	if err := json.Unmarshal(l.lines.Bytes(), &e); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestWatchesBeginWhereTheyAreAskedTo(t *testing.T) {
	h := start(t)
	made := h.configMap(t, "a")
	h.configMap(t, "b")
	for query, want := range map[string]string{
		"watch=1":                   `"name":"a"`,
		"watch=1&resourceVersion=0": `"name":"a"`,
		"watch=1&resourceVersion=" + made.ResourceVersion: `"name":"b"`,
		"watch=1&labelSelector=app%3Db":                   `"name":"b"`,
		"watch=1&fieldSelector=metadata.name%3Db":         `"name":"b"`,
	} {
		e := h.watch(t, mapsPath+"?"+query).next(t)
		if e.Type != "ADDED" || !strings.Contains(string(e.Object), want) || !strings.HasPrefix(string(e.Object), `{"kind":"ConfigMap","apiVersion":"v1",`) {
			t.Errorf("%s: %s %s", query, e.Type, e.Object)
		}
	}
	legacy := h.watch(t, "/api/v1/watch/namespaces/default/configmaps/b").next(t)
	if !strings.Contains(string(legacy.Object), `"name":"b"`) {
		t.Errorf("legacy: %s", legacy.Object)
	}
}

func TestHeadersOfAWatchComeAtOnce(t *testing.T) {
	h := start(t)
	w := h.watch(t, mapsPath+"?watch=1&resourceVersion=1")
	if w.answer.StatusCode != 200 || w.answer.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %v", w.answer.StatusCode, w.answer.Header)
	}
}

func TestAnObjectThatCeasesToBeSelectedIsDeleted(t *testing.T) {
	h := start(t)
	made := h.configMap(t, "a")
	w := h.watch(t, mapsPath+"?watch=1&labelSelector=app%3Da")
	w.next(t)
	made.Labels = map[string]string{"app": "other"}
	updated, err := h.client.CoreV1().ConfigMaps("default").Update(t.Context(), made, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	e := w.next(t)
	if e.Type != "DELETED" || !strings.Contains(string(e.Object), `"app":"a"`) || !strings.Contains(string(e.Object), `"resourceVersion":"`+updated.ResourceVersion+`"`) {
		t.Errorf("%s %s", e.Type, e.Object)
	}
}

func TestInitialEventsEndWithABookmark(t *testing.T) {
	h := start(t)
	h.configMap(t, "a")
	w := h.watch(t, mapsPath+"?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan")
	if e := w.next(t); e.Type != "ADDED" {
		t.Errorf("%s", e.Type)
	}
	e := w.next(t)
	if e.Type != "BOOKMARK" || !strings.Contains(string(e.Object), `"k8s.io/initial-events-end":"true"`) || !strings.HasPrefix(string(e.Object), `{"kind":"ConfigMap"`) {
		t.Errorf("%s %s", e.Type, e.Object)
	}
}

func TestTableWatchesDefineColumnsOnce(t *testing.T) {
	h := start(t)
	h.configMap(t, "a")
	h.configMap(t, "b")
	w := h.watch(t, mapsPath+"?watch=1", "Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	for i, name := range []string{"a", "b"} {
		var table metav1.Table
		if err := json.Unmarshal(w.next(t).Object, &table); err != nil || table.Kind != "Table" || len(table.Rows) != 1 || table.Rows[0].Cells[0] != name {
			t.Fatalf("%+v, %v", table, err)
		}
		if (len(table.ColumnDefinitions) > 0) != (i == 0) {
			t.Errorf("event %d has %d column definitions", i, len(table.ColumnDefinitions))
		}
	}
}

func TestMetadataWatches(t *testing.T) {
	h := start(t)
	h.configMap(t, "a")
	e := h.watch(t, mapsPath+"?watch=1", "Accept", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io").next(t)
	if !strings.HasPrefix(string(e.Object), `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1"`) || strings.Contains(string(e.Object), "value") {
		t.Errorf("%s", e.Object)
	}
}

func TestExpiredWatchesAreToldSo(t *testing.T) {
	h := start(t)
	h.fill(t, "default", 5)
	// A cache that starts now knows nothing of what was before.
	late := start(t, func(c *apiserver.Config) { c.Store = h.store })
	e := late.watch(t, mapsPath+"?watch=1&resourceVersion=1").next(t)
	var status metav1.Status
	if err := json.Unmarshal(e.Object, &status); err != nil || e.Type != "ERROR" || status.Code != http.StatusGone || status.Reason != metav1.StatusReasonExpired {
		t.Errorf("%s %s", e.Type, e.Object)
	}
}

func TestWatchesEndWhenTheirTimeIsOver(t *testing.T) {
	h := start(t)
	w := h.watch(t, mapsPath+"?watch=1&timeoutSeconds=1")
	if w.lines.Scan() || w.lines.Err() != nil {
		t.Errorf("%q, %v", w.lines.Text(), w.lines.Err())
	}
}

func TestInformersSeeEverything(t *testing.T) {
	h := start(t)
	h.fill(t, "default", 10)
	factory := informers.NewSharedInformerFactory(h.client, 0)
	lister := factory.Core().V1().ConfigMaps().Lister()
	informer := factory.Core().V1().ConfigMaps().Informer()
	ctx, cancel := context.WithCancel(t.Context())
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	defer cancel()
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		t.Fatal("not synced")
	}
	if _, err := h.client.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "late"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		_, err := lister.ConfigMaps("default").Get("late")
		return err == nil
	})
}

func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-tick.C {
		if condition() {
			return
		}
	}
	t.Fatal("it did not happen")
}
