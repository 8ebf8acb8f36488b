package server_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/remotecommand"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/yare-io/yare/kubelet/server"
)

func TestNobodyGetsInWithoutAGrant(t *testing.T) {
	f := start(t, "scraper get metrics", "reader get pods", "prober get healthz", "watcher get proxy")
	for _, c := range []struct {
		who, method, path string
		want              int
	}{
		{"", http.MethodGet, "/pods", http.StatusUnauthorized},
		{"", http.MethodGet, "/healthz", http.StatusUnauthorized},
		{"", http.MethodGet, "/nothing", http.StatusUnauthorized},
		{"stranger", http.MethodGet, "/pods", http.StatusForbidden},
		{"reader", http.MethodGet, "/pods", http.StatusOK},
		{"reader", http.MethodGet, "/runningpods/", http.StatusOK},
		{"reader", http.MethodGet, "/containerLogs/default/web/main", http.StatusForbidden},
		{"reader", http.MethodPost, "/exec/default/web/main?command=cat&output=1", http.StatusForbidden},
		{"reader", http.MethodPost, "/run/default/web/main?cmd=ls", http.StatusForbidden},
		{"reader", http.MethodGet, "/metrics/resource", http.StatusForbidden},
		{"scraper", http.MethodGet, "/metrics/resource", http.StatusOK},
		{"scraper", http.MethodGet, "/stats/summary", http.StatusForbidden},
		{"scraper", http.MethodGet, "/pods/../metrics/../pods", http.StatusForbidden},
		{"prober", http.MethodGet, "/healthz/syncloop", http.StatusOK},
		{"prober", http.MethodGet, "/configz", http.StatusForbidden},
		{"watcher", http.MethodGet, "/configz", http.StatusOK},
		{"watcher", http.MethodGet, "/exec/default/web/main?command=cat&output=1", http.StatusForbidden},
		{"watcher", http.MethodGet, "/attach/default/web/main?output=1", http.StatusForbidden},
		{"watcher", http.MethodGet, "/portForward/default/web", http.StatusForbidden},
	} {
		if code, body := f.do(t, c.who, c.method, c.path); code != c.want {
			t.Errorf("%q %s %s: %d %s, want %d", c.who, c.method, c.path, code, body, c.want)
		}
	}
}

func TestAnotherAuthorityIsNotTrusted(t *testing.T) {
	f := startForAdmin(t)
	certificate := newAuthority(t, "other").issue(t, admin)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: f.ca.pool(), GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil },
	}}}
	defer client.CloseIdleConnections()
	response, err := client.Get(f.address + "/pods")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("got %s", response.Status)
	}
}

func TestWithoutAuthenticationNothingIsServed(t *testing.T) {
	s, err := server.New(server.Config{Backend: newNode(t), NodeName: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	w := &recorder{header: http.Header{}}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "/pods", nil)
	s.Handler().ServeHTTP(w, r)
	if w.code != http.StatusUnauthorized {
		t.Errorf("got %d", w.code)
	}
}

type recorder struct {
	header http.Header
	code   int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(code int)        { r.code = code }
func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }

func TestTheNodeIsShown(t *testing.T) {
	f := startForAdmin(t)
	for path, want := range map[string]string{
		"/healthz":          "ok",
		"/configz":          `{"kubeletconfig":{"maxPods":110}}`,
		"/metrics/resource": "node_cpu_usage_seconds_total 2.5 1800000000000\n",
		"/metrics/cadvisor": `container_network_receive_bytes_total{interface="eth0",namespace="default",pod="web"} 4096`,
	} {
		if code, body := f.do(t, admin, http.MethodGet, path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want %s", path, code, body, want)
		}
	}
	_, body := f.do(t, admin, http.MethodGet, "/pods")
	var pods corev1.PodList
	if err := json.Unmarshal([]byte(body), &pods); err != nil || pods.Kind != "PodList" || len(pods.Items) != 1 || pods.Items[0].Name != "web" {
		t.Errorf("%v in %s", err, body)
	}
	_, body = f.do(t, admin, http.MethodGet, "/stats/summary")
	var summary stats.Summary
	if err := json.Unmarshal([]byte(body), &summary); err != nil || summary.Node.NodeName != "n1" {
		t.Errorf("%v in %s", err, body)
	}
	for path, want := range map[string]int{
		"/checkpoint/default/web/main": http.StatusForbidden, // not granted; and not there
		"/debug/pprof/":                http.StatusNotFound,  // not enabled
		"/metrics":                     http.StatusNotFound,  // no gatherer
		"/healthz/nothing":             http.StatusNotFound,
	} {
		if code, body := f.do(t, admin, http.MethodGet, path); code != want {
			t.Errorf("%s: %d %s, want %d", path, code, body, want)
		}
	}
}

func TestANodeThatIsStuckIsNotHealthy(t *testing.T) {
	f := startForAdmin(t)
	f.node.health = errors.New("pods have not been looked at for 3m")
	if code, body := f.do(t, admin, http.MethodGet, "/healthz"); code != http.StatusInternalServerError || !strings.Contains(body, "3m") {
		t.Errorf("%d %s", code, body)
	}
}

func TestRunReturnsTheOutput(t *testing.T) {
	f := startForAdmin(t)
	if code, body := f.do(t, admin, http.MethodPost, "/run/default/web/main?cmd=echo+a+b"); code != http.StatusOK || body != "echo a b\n" {
		t.Errorf("%d %q", code, body)
	}
	if code, body := f.do(t, admin, http.MethodPost, "/run/default/web/main?cmd=false"); code != http.StatusInternalServerError || !strings.Contains(body, "no\n") {
		t.Errorf("%d %q", code, body)
	}
}

func TestLogsAreSelectedByTheQuery(t *testing.T) {
	f := startForAdmin(t)
	writeLog(t, f.node.logPath, "2026-11-22T10:00:01Z stdout F one\n2026-11-22T10:00:02Z stderr F two\n")
	for query, want := range map[string]string{
		"":                                "one\ntwo\n",
		"?tailLines=1":                    "two\n",
		"?stream=Stdout":                  "one\n",
		"?timestamps=true&tailLines=1":    "2026-11-22T10:00:02.000000000Z two\n",
		"?sinceTime=2026-11-22T10:00:02Z": "two\n",
		"?limitBytes=2":                   "on",
	} {
		if code, body := f.do(t, admin, http.MethodGet, "/containerLogs/default/web/main"+query); code != http.StatusOK || body != want {
			t.Errorf("%s: %d %q, want %q", query, code, body, want)
		}
	}
	for path, want := range map[string]string{
		"/containerLogs/default/web/main?tailLines=-1":                                  "tailLines",
		"/containerLogs/default/web/main?follow=perhaps":                                "follow",
		"/containerLogs/default/web/main?limitBytes=0":                                  "limitBytes",
		"/containerLogs/default/web/main?sinceSeconds=1&sinceTime=2026-11-22T10:00:00Z": "at most one",
		"/containerLogs/default/web/main?stream=Stdin":                                  "Stdin",
		"/containerLogs/default/web/main?previous=true":                                 `previous terminated container "main" in pod "web" not found`,
		"/containerLogs/default/web/late":                                               `container "late" in pod "web" is waiting to start: ImagePullBackOff`,
	} {
		if code, body := f.do(t, admin, http.MethodGet, path); code != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want %s", path, code, body, want)
		}
	}
}

func TestLogsAreFollowedUntilTheContainerEnds(t *testing.T) {
	f := startForAdmin(t)
	writeLog(t, f.node.logPath, "2026-11-22T10:00:01Z stdout F one\n")
	certificate := f.ca.issue(t, admin)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: f.ca.pool(), Certificates: []tls.Certificate{certificate}}}}
	defer client.CloseIdleConnections()
	response, err := client.Get(f.address + "/containerLogs/default/web/main?follow=true")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	one := make([]byte, 4)
	if _, err := io.ReadFull(response.Body, one); err != nil || string(one) != "one\n" {
		t.Fatalf("%q, %v", one, err)
	}
	writeLog(t, f.node.logPath, "2026-11-22T10:00:02Z stdout F two\n")
	f.node.end()
	if rest, err := io.ReadAll(response.Body); err != nil || string(rest) != "two\n" {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestStoppingEndsStreams(t *testing.T) {
	f := startForAdmin(t)
	for _, executor := range executors(t, f.config(t, admin), "/exec/default/web/main?command=forever&input=1&output=1") {
		in, hold := io.Pipe()
		defer hold.Close()
		ended := make(chan error, 1)
		started := make(chan struct{})
		go func() {
			ended <- executor.StreamWithContext(context.Background(), remotecommand.StreamOptions{Stdin: signalling{in, started}, Stdout: io.Discard})
		}()
		<-started
		defer func() { <-ended }()
	}
	if err := f.stop(); err != nil {
		t.Error(err)
	}
}

// signalling closes started when it is first read from.
type signalling struct {
	io.Reader
	started chan struct{}
}

func (s signalling) Read(p []byte) (int, error) {
	select {
	case <-s.started:
	default:
		close(s.started)
	}
	return s.Reader.Read(p)
}
