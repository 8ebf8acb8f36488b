package opa_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// spaces is a reader of so many spaces.
type spaces int64

func (s *spaces) Read(into []byte) (int, error) {
	if *s <= 0 {
		return 0, io.EOF
	}
	n := min(int64(len(into)), int64(*s))
	for i := range into[:n] {
		into[i] = ' '
	}
	*s -= spaces(n)
	return int(n), nil
}

// archive is a bundle with one file, which need not fit into memory.
func archive(t *testing.T, name string, size int64, content io.Reader) []byte {
	t.Helper()
	out := &bytes.Buffer{}
	zipped := gzip.NewWriter(out)
	files := tar.NewWriter(zipped)
	if err := files.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(files, content); err != nil {
		t.Fatal(err)
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestHostileBundlesAreRefused(t *testing.T) {
	server := serveBundles(t)
	good := build(t, nil, map[string]string{"a.rego": denyLatest})
	server.put("/bundle.tar.gz", good)
	p := runIn(t, t.TempDir(), server.service(t)+polled("bundle.tar.gz")+lenient)
	p.ready()
	text := func(name, content string) []byte {
		return archive(t, name, int64(len(content)), strings.NewReader(content))
	}
	const bomb = 200 << 20
	blank := spaces(bomb - 2)
	for name, bad := range map[string][]byte{
		"unpacks to 200 MiB":        archive(t, "data.json", bomb, io.MultiReader(strings.NewReader("{}"), &blank)),
		"data a million deep":       text("data.json", strings.Repeat(`{"a":`, 1e6)+"1"+strings.Repeat("}", 1e6)),
		"a rule a million deep":     text("a.rego", "package a\n\nx := "+strings.Repeat("[", 1e6)+strings.Repeat("]", 1e6)),
		"a path out of the archive": text("../../../../tmp/escape.rego", "package kubernetes.admission\n\nx if"),
	} {
		server.put("/bundle.tar.gz", bad)
		p.eventually("the bundle was refused: "+name, func() bool { return p.engine.BundleErrors()["bundle.tar.gz"] != nil })
		if err := p.admit(create(newPod("nginx:latest"))); !apierrors.IsForbidden(err) {
			t.Errorf("%s: got %v", name, err)
		}
		server.put("/bundle.tar.gz", good)
		p.eventually("the good bundle is back", func() bool { return p.engine.BundleErrors()["bundle.tar.gz"] == nil })
	}
}
