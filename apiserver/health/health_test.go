package health_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/yare-io/yare/apiserver/health"
)

// patient is a process with a check that fails on demand.
type patient struct {
	t      *testing.T
	checks *health.Checks
	err    error
	log    bytes.Buffer
}

func newPatient(t *testing.T) *patient {
	p := &patient{t: t}
	p.checks = health.New(slog.New(slog.NewTextHandler(&p.log, nil)),
		health.Ping(),
		health.Check{Name: "store", Check: func(context.Context) error { return p.err }},
	)
	return p
}

func (p *patient) get(url string) (code int, body string) {
	p.t.Helper()
	request := httptest.NewRequest("GET", url, nil)
	handler := p.checks.Paths()[request.URL.Path]
	if handler == nil {
		p.t.Fatalf("nothing at %s", request.URL.Path)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, request)
	return w.Code, w.Body.String()
}

func (p *patient) want(url string, code int, body string) {
	p.t.Helper()
	if gotCode, gotBody := p.get(url); gotCode != code || gotBody != body {
		p.t.Errorf("%s: %d %q, want %d %q", url, gotCode, gotBody, code, body)
	}
}

func TestAnswers(t *testing.T) {
	p := newPatient(t)
	p.want("/readyz", 200, "ok")
	p.want("/readyz?verbose", 200, "[+]ping ok\n[+]store ok\nreadyz check passed\n")
	p.err = errors.New("a secret")
	p.want("/readyz", 500, "[+]ping ok\n[-]store failed: reason withheld\nreadyz check failed\n")
	p.want("/readyz?exclude=store", 200, "ok")
	p.want("/readyz/store", 500, "[-]store failed: reason withheld\nstore check failed\n")
	p.want("/livez", 200, "ok")
	p.want("/healthz/ping", 200, "ok")
	if err := p.checks.Ready(t.Context()); !errors.Is(err, p.err) || !strings.Contains(err.Error(), "store") {
		t.Errorf("Ready says %v", err)
	}
}

func TestTheLogTellsOfChangesOnly(t *testing.T) {
	p := newPatient(t)
	logged := func(when, want string) {
		t.Helper()
		for range 3 {
			p.get("/readyz")
		}
		got := p.log.String()
		p.log.Reset()
		if lines := strings.Count(got, "\n"); !strings.Contains(got, want) || want == "" && lines != 0 || want != "" && lines != 1 {
			t.Errorf("%s: the log says %q, want one line with %q", when, got, want)
		}
	}
	p.err = errors.New("not there yet")
	logged("starting", "")
	p.err = nil
	logged("started", "")
	p.err = errors.New("gone")
	logged("failing", "level=WARN msg=\"health check fails\" check=store error=gone")
	p.err = nil
	logged("back", "level=INFO msg=\"health check passes again\" check=store")
}
