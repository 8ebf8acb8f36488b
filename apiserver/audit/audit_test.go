package audit_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/audit/policy"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/apiserver/audit"
)

// memory keeps what it takes.
type memory struct {
	mu     sync.Mutex
	events []*auditinternal.Event
}

func (m *memory) Take(_ context.Context, events ...*auditinternal.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, events...)
	return nil
}

func (*memory) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func auditor(t *testing.T, rules string, backends ...audit.Backend) *audit.Auditor {
	t.Helper()
	p, err := policy.LoadPolicyFromBytes([]byte("apiVersion: audit.k8s.io/v1\nkind: Policy\n" + rules))
	if err != nil {
		t.Fatal(err)
	}
	return audit.New(p, nil, backends...)
}

func request(verb, resource string) audit.Request {
	return audit.Request{ID: "id", URI: "/uri", Attributes: authorizer.AttributesRecord{
		User: &user.DefaultInfo{Name: "u"}, Verb: verb, Resource: resource, APIVersion: "v1", Namespace: "n", Name: "o", ResourceRequest: true,
	}}
}

func TestPolicyDecidesWhatIsWrittenDown(t *testing.T) {
	kept := &memory{}
	a := auditor(t, `
omitStages: [RequestReceived]
rules:
- {level: None, resources: [{resources: [events]}]}
- {level: Metadata, resources: [{resources: [secrets]}]}
- {level: RequestResponse, omitManagedFields: true}
`, kept)
	if a.Begin(request("get", "events")) != nil {
		t.Error("level None has a record")
	}
	for resource, bodies := range map[string]bool{"secrets": false, "pods": true} {
		kept.events = nil
		r := a.Begin(request("create", resource))
		if err := r.Emit(auditinternal.StageRequestReceived); err != nil {
			t.Fatal(err)
		}
		r.RequestObject([]byte(`{"metadata":{"name":"o","managedFields":[{}]}}`))
		r.ResponseObject([]byte(`{"items":[{"metadata":{"managedFields":[{}]}}]}`))
		r.Annotate("a", "first")
		r.Annotate("a", "second")
		if err := r.Emit(auditinternal.StageResponseComplete); err != nil {
			t.Fatal(err)
		}
		if len(kept.events) != 1 {
			t.Fatalf("%s: %d events, want the one of the stage that is not omitted", resource, len(kept.events))
		}
		e := kept.events[0]
		if (e.RequestObject != nil) != bodies || (e.ResponseObject != nil) != bodies {
			t.Errorf("%s: bodies %v %v, want %v", resource, e.RequestObject, e.ResponseObject, bodies)
		}
		if bodies && strings.Contains(string(e.RequestObject.Raw)+string(e.ResponseObject.Raw), "managedFields") {
			t.Errorf("managed fields are kept: %s %s", e.RequestObject.Raw, e.ResponseObject.Raw)
		}
		if e.Annotations["a"] != "first" || e.ObjectRef.Resource != resource || e.User.Username != "u" {
			t.Errorf("event %+v", e)
		}
	}
}

// TestNoRecordTakesEverything: callers need not ask.
func TestNoRecordTakesEverything(t *testing.T) {
	var r *audit.Record
	r.Annotate("a", "b")
	r.RequestObject(nil)
	r.Code(200)
	if err := r.Emit(auditinternal.StagePanic); err != nil || audit.From(t.Context()) != nil {
		t.Error("a record out of nothing")
	}
}

func TestLogRotates(t *testing.T) {
	dir := t.TempDir()
	clock := clocktesting.NewFakePassiveClock(time.Unix(1e9, 0))
	path := filepath.Join(dir, "audit.log")
	log, err := audit.NewLog(audit.LogConfig{Path: path, Format: audit.JSON, MaxMegabytes: 1, MaxBackups: 2, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 400<<10)
	for range 12 {
		clock.SetTime(clock.Now().Add(time.Second))
		if err := log.Take(t.Context(), &auditinternal.Event{AuditID: "a", RequestURI: long}); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 3 {
		t.Errorf("%v (%v), want the log and two old ones", files, err)
	}
	raw, err := os.ReadFile(path)
	if err != nil || len(raw) > 1<<20 {
		t.Errorf("%d bytes in the log (%v)", len(raw), err)
	}
	var event auditv1.Event
	if err := json.Unmarshal([]byte(strings.SplitN(string(raw), "\n", 2)[0]), &event); err != nil || event.Kind != "Event" || event.APIVersion != "audit.k8s.io/v1" {
		t.Errorf("%+v %v", event.TypeMeta, err)
	}
}

// TestOldLogsAreCompressed: those put aside now, and those of a server before.
func TestOldLogsAreCompressed(t *testing.T) {
	dir := t.TempDir()
	clock := clocktesting.NewFakePassiveClock(time.Unix(1e9, 0))
	before := filepath.Join(dir, "audit-2001-09-08T01-46-40.000.log")
	if err := os.WriteFile(before, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "audit-else.log"), []byte("not one of ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := audit.NewLog(audit.LogConfig{Path: filepath.Join(dir, "audit.log"), Format: audit.JSON, MaxMegabytes: 1, MaxBackups: 2, Compress: true, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- log.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	packed := func(count int) []string {
		t.Helper()
		var files []string
		err := wait.PollUntilContextTimeout(ctx, time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) {
			plain, _ := filepath.Glob(filepath.Join(dir, "audit-2*.log*"))
			files, _ = filepath.Glob(filepath.Join(dir, "audit-2*.log.gz"))
			return len(files) == count && len(plain) == count, nil
		})
		if err != nil {
			left, _ := filepath.Glob(filepath.Join(dir, "*"))
			t.Fatalf("not %d compressed files: %v", count, left)
		}
		return files
	}
	if files := packed(1); unzipped(t, files[0]) != "before" {
		t.Errorf("%s says something else", files[0])
	}
	long := strings.Repeat("x", 600<<10)
	for range 3 { // puts two aside
		clock.SetTime(clock.Now().Add(time.Second))
		if err := log.Take(t.Context(), &auditinternal.Event{AuditID: "a", RequestURI: long}); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range packed(2) { // the oldest is gone
		if text := unzipped(t, file); !strings.Contains(text, long) {
			t.Errorf("%s has %d bytes", file, len(text))
		}
	}
}

func unzipped(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestWebhookGetsBatches: events are sent together, large ones without bodies,
// and all of them before Run ends.
func TestWebhookGetsBatches(t *testing.T) {
	var mu sync.Mutex
	var lists []auditv1.EventList
	failures := 1
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if failures > 0 {
			failures--
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var list auditv1.EventList
		if err := json.NewDecoder(r.Body).Decode(&list); err != nil {
			t.Error(err)
		}
		lists = append(lists, list)
	}))
	defer server.Close()
	kubeconfig := filepath.Join(t.TempDir(), "config")
	content := "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: " + server.URL + "}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u}]\ncurrent-context: c\n"
	if err := os.WriteFile(kubeconfig, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	hook, err := audit.NewWebhook(audit.WebhookConfig{Kubeconfig: kubeconfig, Backoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	batch := audit.NewBatch(audit.BatchConfig{Buffer: 100, MaxSize: 10, MaxWait: time.Minute}, &audit.Truncate{MaxEvent: 2000, MaxBatch: 1 << 20, To: hook})
	a := auditor(t, "rules: [{level: RequestResponse}]", batch)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	for range 10 {
		r := a.Begin(request("create", "pods"))
		r.RequestObject([]byte(`"` + strings.Repeat("x", 4000) + `"`))
		if err := r.Emit(auditinternal.StageResponseComplete); err != nil {
			t.Fatal(err)
		}
	}
	go func() { ended <- batch.Run(ctx) }()
	sent := func() int { mu.Lock(); defer mu.Unlock(); return len(lists) }
	for deadline := time.Now().Add(10 * time.Second); sent() == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
	}
	if err := a.Begin(request("get", "pods")).Emit(auditinternal.StageResponseComplete); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if len(lists) != 2 || len(lists[0].Items) != 10 || len(lists[1].Items) != 1 {
		t.Fatalf("%d lists", len(lists))
	}
	if e := lists[0].Items[0]; e.RequestObject != nil || e.Annotations["audit.k8s.io/truncated"] != "true" {
		t.Errorf("a large event came whole: %v", e.Annotations)
	}
}

// batches notes how many events came at once.
type batches struct{ sizes []int }

func (b *batches) Take(_ context.Context, events ...*auditinternal.Event) error {
	b.sizes = append(b.sizes, len(events))
	return nil
}

func (b *batches) Run(context.Context) error { return nil }

func TestTooLargeIsSplitShortenedOrLeftOut(t *testing.T) {
	to := &batches{}
	truncate := &audit.Truncate{MaxEvent: 1000, MaxBatch: 2000, To: to}
	event := func(uri int) *auditinternal.Event { return &auditinternal.Event{RequestURI: strings.Repeat("x", uri)} }
	if err := truncate.Take(t.Context(), event(400), event(400), event(400), event(400), event(2000)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(to.sizes, []int{3, 1}) && !slices.Equal(to.sizes, []int{2, 2}) {
		t.Errorf("batches of %v", to.sizes)
	}
	to.sizes = nil
	if err := truncate.Take(t.Context(), event(2000)); err != nil || len(to.sizes) != 0 {
		t.Errorf("what cannot be shortened came: %v, %v", to.sizes, err)
	}
}
