package opa_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/opa"
	"github.com/yare-io/yare/admission/opa/engine"
)

// collector takes what OPA reports over HTTP.
type collector struct {
	*httptest.Server
	mu sync.Mutex
	// got are the bodies by path, unzipped.
	got map[string][]byte
}

func collect(t *testing.T) *collector {
	c := &collector{got: map[string][]byte{}}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var from io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		from = unzipped
	}
	raw, err := io.ReadAll(from)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got[r.URL.Path] = append(c.got[r.URL.Path], raw...)
}

func (c *collector) says(path, want string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Contains(string(c.got[path]), want)
}

// measured is an engine over a directory, whose metrics are kept.
func measured(t *testing.T, config string) (*policies, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	e, err := engine.New(engine.Config{OPA: []byte(config), StateDir: t.TempDir(), Registerer: registry, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	p := &policies{t: t, engine: e, chain: admission.NewChain(opa.Plugins(e, fixedNamespaces{"shop": {}}, nil))}
	p.follow()
	return p.ready(), registry
}

// gathered are the metrics by name: values, or how many were observed.
func gathered(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			have[family.GetName()] += metric.GetGauge().GetValue() + metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	return have
}

func TestDecisionsAndStatusAreReportedOverHTTP(t *testing.T) {
	server := collect(t)
	dir := (&policies{t: t, dir: t.TempDir()})
	dir.write(map[string]string{"a.rego": denyLatest, "mask.rego": "package system.log\n\nmask contains \"/input/request/userInfo\"\n"})
	p, registry := measured(t, fmt.Sprintf(`services: {sink: {url: %q}}
bundles: {test: {resource: "file://%s"}}
decision_logs: {service: sink, reporting: {min_delay_seconds: 1, max_delay_seconds: 1}}
status: {service: sink, prometheus: true}
labels: {cluster: blue}
plugins: {kubernetes_admission: {timeoutSeconds: 20}}
`, server.URL, dir.dir))
	a := create(newPod("nginx:latest"))
	if err := p.admit(a); err == nil {
		t.Error("let pass")
	}
	p.eventually("the decision was uploaded", func() bool {
		return server.says("/logs", a.Annotations()["opa.admission.yare.io/validating-decision"])
	})
	var events []struct {
		Labels map[string]string `json:"labels"`
		Erased []string          `json:"erased"`
		Result map[string]any    `json:"result"`
		Input  struct {
			Request map[string]any `json:"request"`
		} `json:"input"`
	}
	server.mu.Lock()
	err := json.Unmarshal(server.got["/logs"], &events)
	server.mu.Unlock()
	if err != nil || len(events) == 0 {
		t.Fatal(err, len(events))
	}
	last := events[len(events)-1]
	if last.Labels["cluster"] != "blue" || len(last.Erased) != 1 || last.Input.Request["userInfo"] != nil || last.Input.Request["object"] == nil || len(last.Result) == 0 {
		t.Errorf("%+v", last)
	}
	p.eventually("the status was uploaded", func() bool { return server.says("/status", `"last_successful_activation"`) })
	have := gathered(t, registry)
	if have["yare_opa_ready"] != 1 || have["yare_opa_evaluation_duration_seconds"] < 1 {
		t.Errorf("metrics: %v", have)
	}
}

func TestTheDecisionLogsBufferIsBounded(t *testing.T) {
	dir := (&policies{t: t, dir: t.TempDir()})
	dir.write(map[string]string{"a.rego": denyLatest})
	server := collect(t)
	p, registry := measured(t, fmt.Sprintf(`services: {sink: {url: %q}}
bundles: {test: {resource: "file://%s"}}
decision_logs: {service: sink, reporting: {buffer_type: event, buffer_size_limit_events: 3, min_delay_seconds: 3600, max_delay_seconds: 3600}}
status: {console: false, service: sink}
plugins: {kubernetes_admission: {timeoutSeconds: 20}}
`, server.URL, dir.dir))
	for range 50 {
		if err := p.admit(create(newPod("nginx:1"))); err != nil {
			t.Fatal("a full log must not refuse requests:", err)
		}
	}
	if dropped := gathered(t, registry)["yare_opa_decisions_dropped_total"]; dropped < 40 || dropped > 50 {
		t.Errorf("%v of 50 dropped, with room for 3", dropped)
	}
}
