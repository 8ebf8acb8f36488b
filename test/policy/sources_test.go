package policy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/yare-io/yare/test/yaretest"
)

// holdingServer serves a bundle; who has it and is ready to wait is answered
// once there is another one.
type holdingServer struct {
	*httptest.Server

	mu      sync.Mutex
	bundle  []byte
	version int
	// changed is closed with the next version.
	changed chan struct{}
	// waited is how many were held.
	waited int
}

func newHoldingServer(t *testing.T) *holdingServer {
	s := &holdingServer{changed: make(chan struct{})}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.CloseClientConnections)
	t.Cleanup(s.Close)
	return s
}

func (s *holdingServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bundle, tag, changed := s.now()
	if r.Header.Get("If-None-Match") == tag && strings.Contains(r.Header.Get("Prefer"), "wait=30") {
		s.mu.Lock()
		s.waited++
		s.mu.Unlock()
		select {
		case <-changed:
			bundle, tag, _ = s.now()
		case <-r.Context().Done():
			return
		}
	}
	w.Header().Set("ETag", tag)
	w.Header().Set("Content-Type", "application/vnd.openpolicyagent.bundles")
	_, _ = w.Write(bundle)
}

func (s *holdingServer) now() (bundle []byte, tag string, changed chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bundle, fmt.Sprintf("%q", fmt.Sprint(s.version)), s.changed
}

func (s *holdingServer) held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waited
}

// put serves a bundle of one policy from now on.
func (s *holdingServer) put(t *testing.T, policy string) {
	t.Helper()
	out := &bytes.Buffer{}
	zip := gzip.NewWriter(out)
	files := tar.NewWriter(zip)
	header := &tar.Header{Name: "rules.rego", Mode: 0o600, Size: int64(len(policy))}
	if err := files.WriteHeader(header); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Write([]byte(policy)); err != nil {
		t.Fatal(err)
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bundle = out.Bytes()
	s.version++
	close(s.changed)
	s.changed = make(chan struct{})
}

// written is a log that can be read while it is written.
type written struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

// line is the first that has a text, empty when there is none.
func (w *written) line(text string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for line := range strings.Lines(w.text.String()) {
		if strings.Contains(line, text) {
			return line
		}
	}
	return ""
}

const denyAs = `package kubernetes.admission

deny contains %q if input.request.kind.kind == "ConfigMap"
`

// TestBundlesAreWaitedForAndDecisionsLoggedOnTheConsole: the pause between two
// questions is ten minutes, so that a change within the test came to who waited.
func TestBundlesAreWaitedForAndDecisionsLoggedOnTheConsole(t *testing.T) {
	bundles := newHoldingServer(t)
	bundles.put(t, fmt.Sprintf(denyAs, "the first rule"))
	config := write(t, t.TempDir(), "opa.yaml", fmt.Sprintf(`services: {test: {url: %q, response_header_timeout_seconds: 60}}
bundles:
  main:
    service: test
    resource: bundle.tar.gz
    polling: {min_delay_seconds: 600, max_delay_seconds: 600, long_polling_timeout_seconds: 30}
decision_logs: {console: true}
plugins: {kubernetes_admission: {timeoutSeconds: 20, excludedNamespaces: []}}
`, bundles.URL))
	log := &written{}
	server := yaretest.Start(t, yaretest.WithFlags("--opa-config-file="+config, "--opa-state-dir="+t.TempDir()), yaretest.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	client, err := kubernetes.NewForConfig(server.Config())
	if err != nil {
		t.Fatal(err)
	}
	refusedWith := func(text string) {
		t.Helper()
		var last error
		err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			_, last = client.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "a-"}}, metav1.CreateOptions{})
			return last != nil && strings.Contains(last.Error(), text), nil
		})
		if err != nil {
			t.Fatalf("never refused with %q, at last %v", text, last)
		}
	}
	refusedWith("the first rule")
	err = wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) { return bundles.held() > 0, nil })
	if err != nil {
		t.Fatal("nobody waits for the next bundle")
	}
	bundles.put(t, fmt.Sprintf(denyAs, "the second rule"))
	refusedWith("the second rule")
	line := log.line("the first rule")
	for _, part := range []string{`msg="Decision Log"`, "type=openpolicyagent.org/decision_logs", "decision_id=", "path=kubernetes/admission", `input="{\"apiVersion\":\"admission.k8s.io/v1\"`} {
		if !strings.Contains(line, part) {
			t.Errorf("no %s on the console in %q", part, line)
		}
	}
}
