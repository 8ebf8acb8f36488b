package opa_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/compile"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// signer signs bundles as `opa build --signing-key` does.
type signer struct{ private, public string }

func newSigner(t *testing.T) signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return signer{
		private: string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
		public:  string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
	}
}

// build makes a bundle with the code behind `opa build`. Roots are those of the
// manifest, when there is one.
func build(t *testing.T, s *signer, files map[string]string) []byte {
	t.Helper()
	dir := t.TempDir()
	(&policies{t: t, dir: dir}).write(files)
	out := &bytes.Buffer{}
	compiler := compile.New().WithAsBundle(true).WithPaths(dir).WithOutput(out).WithRevision(fmt.Sprint(len(files)))
	if s != nil {
		compiler = compiler.WithBundleSigningConfig(bundle.NewSigningConfig(s.private, "RS256", "")).
			WithBundleVerificationKeyID("test")
	}
	if err := compiler.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// tamper changes a word in a file of a bundle, and leaves its signature.
func tamper(t *testing.T, raw []byte, from, to string) []byte {
	t.Helper()
	unzipped, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	out := &bytes.Buffer{}
	zipper := gzip.NewWriter(out)
	files, writer, changed := tar.NewReader(unzipped), tar.NewWriter(zipper), false
	for {
		header, err := files.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		after := strings.ReplaceAll(string(content), from, to)
		changed = changed || after != string(content)
		header.Size = int64(len(after))
		if err := writer.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(writer, after); err != nil {
			t.Fatal(err)
		}
	}
	if !changed {
		t.Fatalf("no %q in the bundle", from)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipper.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// bundleServer serves bundles by path over HTTPS, with ETags.
type bundleServer struct {
	*httptest.Server
	mu       sync.Mutex
	bundles  map[string][]byte
	asked    map[string]int
	notAgain int
}

func serveBundles(t *testing.T) *bundleServer {
	s := &bundleServer{bundles: map[string][]byte{}, asked: map[string]int{}}
	s.Server = httptest.NewTLSServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *bundleServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[r.URL.Path]++
	raw, ok := s.bundles[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	etag := fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256(raw)))
	w.Header().Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		s.notAgain++
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/vnd.openpolicyagent.bundles")
	_, _ = w.Write(raw)
}

func (s *bundleServer) put(path string, raw []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if raw == nil {
		delete(s.bundles, path)
		return
	}
	s.bundles[path] = raw
}

// since returns how often a path has been asked for.
func (s *bundleServer) since(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[path]
}

// service is the part of OPA's configuration that leads to the server.
func (s *bundleServer) service(t *testing.T) string {
	ca := filepath.Join(t.TempDir(), "ca.crt")
	raw := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(ca, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("services:\n  test:\n    url: %s\n    response_header_timeout_seconds: 5\n    tls:\n      ca_cert: %s\n", s.URL, ca)
}

func (s signer) keys() string {
	return "keys:\n  test:\n    key: |\n      " + strings.ReplaceAll(strings.TrimSpace(s.public), "\n", "\n      ") + "\n"
}

const signedBundle = `bundles:
  test:
    service: test
    resource: bundle.tar.gz
    signing: {keyid: test}
    polling: {min_delay_seconds: 1, max_delay_seconds: 1}
`

const lenient = "plugins:\n  kubernetes_admission:\n    timeoutSeconds: 20\n"

// state gives several runs one state directory.
func runIn(t *testing.T, state, config string) *policies {
	p := &policies{t: t, state: state}
	p.run(config)
	return p
}

func TestSignedBundlesAreFollowedAndOthersRefused(t *testing.T) {
	s, stranger, server := newSigner(t), newSigner(t), serveBundles(t)
	policy := map[string]string{"a.rego": denyLatest}
	good := build(t, &s, policy)
	server.put("/bundle.tar.gz", good)
	p := runIn(t, t.TempDir(), server.service(t)+s.keys()+signedBundle+lenient)
	p.ready()
	refusesLatest := func(when string) {
		t.Helper()
		if err := p.admit(create(newPod("nginx:latest"))); !apierrors.IsForbidden(err) {
			t.Errorf("%s: got %v", when, err)
		}
	}
	refusesLatest("at first")
	p.eventually("an unchanged bundle is not sent again", func() bool {
		server.mu.Lock()
		defer server.mu.Unlock()
		return server.notAgain > 0
	})
	for name, bad := range map[string][]byte{
		"tampered":         tamper(t, good, "latest", "newest"),
		"unsigned":         build(t, nil, policy),
		"by another key":   build(t, &stranger, policy),
		"not even a file":  []byte("not a bundle"),
		"not there at all": nil,
	} {
		server.put("/bundle.tar.gz", bad)
		p.eventually("the bundle was refused: "+name, func() bool { return p.engine.BundleErrors()["test"] != nil })
		refusesLatest(name)
		server.put("/bundle.tar.gz", good)
		p.eventually("the good bundle is back", func() bool { return p.engine.BundleErrors()["test"] == nil })
	}
	server.put("/bundle.tar.gz", build(t, &s, map[string]string{"a.rego": strings.Replace(denyLatest, ":latest", ":newest", 1)}))
	p.eventually("the new version is in force", func() bool { return p.admit(create(newPod("nginx:latest"))) == nil })
}

func TestTheLastGoodBundleServesTheNextStart(t *testing.T) {
	s, server, state := newSigner(t), serveBundles(t), t.TempDir()
	config := server.service(t) + s.keys() + signedBundle + lenient
	server.put("/bundle.tar.gz", build(t, &s, map[string]string{"a.rego": denyLatest}))
	t.Run("first", func(t *testing.T) { runIn(t, state, config).ready() })
	kept := filepath.Join(state, "bundles", "test", "bundle.tar.gz")
	raw, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	server.put("/bundle.tar.gz", nil)
	t.Run("second", func(t *testing.T) {
		p := runIn(t, state, config)
		p.eventually("the kept bundle decides", func() bool { return apierrors.IsForbidden(p.admit(create(newPod("nginx:latest")))) })
	})
	if err := os.WriteFile(kept, tamper(t, raw, "latest", "newest"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("tampered with", func(t *testing.T) {
		p := runIn(t, state, config)
		p.eventually("the server was asked", func() bool { return p.engine.BundleErrors()["test"] != nil })
		if err := p.admit(create(newPod("nginx:1"))); !apierrors.IsServiceUnavailable(err) {
			t.Errorf("got %v", err)
		}
	})
}

func TestDiscoveryBringsBundles(t *testing.T) {
	s, server := newSigner(t), serveBundles(t)
	server.put("/discovery.tar.gz", build(t, &s, map[string]string{"config.rego": `package discovered

bundles := {"test": {"service": "test", "resource": "bundle.tar.gz", "signing": {"keyid": "test"}, "polling": {"min_delay_seconds": 1, "max_delay_seconds": 1}}}
`}))
	state := t.TempDir()
	p := runIn(t, state, server.service(t)+s.keys()+"discovery:\n  service: test\n  resource: discovery.tar.gz\n  decision: discovered\n  signing: {keyid: test}\n"+lenient)
	p.eventually("the bundle was asked for", func() bool { return server.since("/bundle.tar.gz") > 0 })
	if err := p.admit(create(newPod("nginx:1"))); !apierrors.IsServiceUnavailable(err) {
		t.Errorf("before the bundle is there: got %v", err)
	}
	server.put("/bundle.tar.gz", build(t, &s, map[string]string{"a.rego": denyLatest}))
	p.ready()
	if err := p.admit(create(newPod("nginx:latest"))); !apierrors.IsForbidden(err) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(state, "bundles", "test", "bundle.tar.gz")); err != nil {
		t.Error("a discovered bundle is kept:", err)
	}
}

func TestADeltaBundleChangesData(t *testing.T) {
	server := serveBundles(t)
	server.put("/bundle.tar.gz", build(t, nil, map[string]string{
		".manifest": `{"roots": ["kubernetes", "banned"]}`,
		"data.json": `{"banned": {"nginx": true}}`,
		"a.rego":    "package kubernetes.admission\n\ndeny contains \"banned\" if data.banned[input.request.object.spec.containers[_].image]\n",
	}))
	p := runIn(t, t.TempDir(), server.service(t)+"bundles:\n  test:\n    service: test\n    resource: bundle.tar.gz\n    persist: false\n    polling: {min_delay_seconds: 1, max_delay_seconds: 1}\n"+lenient)
	p.ready()
	if err := p.admit(create(newPod("redis"))); err != nil {
		t.Error(err)
	}
	var delta bytes.Buffer
	roots := []string{"kubernetes", "banned"}
	err := bundle.NewWriter(&delta).Write(bundle.Bundle{
		Manifest: bundle.Manifest{Revision: "delta", Roots: &roots},
		Patch:    bundle.Patch{Data: []bundle.PatchOperation{{Op: "upsert", Path: "/banned/redis", Value: true}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	server.put("/bundle.tar.gz", delta.Bytes())
	p.eventually("the delta is in force", func() bool { return apierrors.IsForbidden(p.admit(create(newPod("redis")))) })
	if err := p.admit(create(newPod("nginx"))); !apierrors.IsForbidden(err) {
		t.Errorf("what was there is gone: %v", err)
	}
}

func TestSeveralBundlesDecideTogether(t *testing.T) {
	server := serveBundles(t)
	config := server.service(t) + "bundles:\n"
	for _, name := range []string{"a", "b", "c"} {
		server.put("/"+name, build(t, nil, map[string]string{
			".manifest": fmt.Sprintf(`{"roots": ["kubernetes/admission/%s"]}`, name),
			"p.rego":    fmt.Sprintf("package kubernetes.admission.%s\n\ndeny contains \"said %s\" if input.request.name == \"web\"\n", name, name),
		}))
		config += fmt.Sprintf("  %s: {service: test, resource: %s}\n", name, name)
	}
	p := runIn(t, t.TempDir(), config+lenient)
	p.ready()
	if err := p.admit(create(newPod("nginx"))); err == nil || !strings.HasSuffix(err.Error(), "said a; said b; said c") {
		t.Errorf("got %v", err)
	}
}

func TestABrokenConfigurationIsRefusedAtOnce(t *testing.T) {
	for name, config := range map[string]string{
		"unknown setting": "plugins:\n  kubernetes_admission:\n    nonsense: 1\n",
		"bad answer":      "plugins:\n  kubernetes_admission:\n    onError: Perhaps\n",
		"unknown service": "bundles:\n  a: {service: nobody}\n",
		"unknown key":     "services:\n  s: {url: https://localhost}\nbundles:\n  a: {service: s, signing: {keyid: nobody}}\n",
		"unknown plugin":  "plugins:\n  other: {}\n",
		"not YAML":        "a: b: c",
	} {
		if err := newEngine(t, config); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// read is the text of a file; none while there is no file.
func read(file string) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return string(raw)
}

func TestDecisionsAreLoggedMasked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "decisions.log")
	p := start(t, fmt.Sprintf("  file_logger:\n    path: %s\ndecision_logs:\n  plugin: file_logger\n", file), map[string]string{
		"a.rego":    denyLatest,
		"mask.rego": "package system.log\n\nmask contains \"/input/request/object/spec/containers/0/env\"\n",
	}).ready()
	pod := newPod("nginx:latest")
	pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env, envVar("PASSWORD", "hunter2"))
	a := create(pod)
	if err := p.admit(a); !apierrors.IsForbidden(err) {
		t.Fatal(err)
	}
	id := a.Annotations()["opa.admission.yare.io/validating-decision"]
	p.eventually("the decision is in the log", func() bool {
		raw, err := os.ReadFile(file)
		return err == nil && id != "" && strings.Contains(string(raw), id)
	})
	raw, err := os.ReadFile(file)
	if err != nil || strings.Contains(string(raw), "hunter2") || !strings.Contains(string(raw), "must have a fixed tag") {
		t.Errorf("%v: %s", err, raw)
	}
	if got := a.Annotations()["opa.admission.yare.io/denied"]; !strings.Contains(got, "data.kubernetes.admission.deny: nginx:latest") {
		t.Errorf("denied by %q", got)
	}
}
