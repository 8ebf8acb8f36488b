package opa_test

import (
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// push makes a bundle an image of a registry, as `oras push` and
// `policy push` do.
func push(t *testing.T, reference string, raw []byte) {
	t.Helper()
	image, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), static.NewLayer(raw, types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	to, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(to, image); err != nil {
		t.Fatal(err)
	}
}

func TestSignedBundlesComeFromARegistry(t *testing.T) {
	s := newSigner(t)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	reference := strings.TrimPrefix(server.URL, "http://") + "/policy:latest"
	push(t, reference, build(t, &s, map[string]string{"a.rego": denyLatest}))
	p := runIn(t, t.TempDir(), "services:\n  test: {type: oci, url: \""+server.URL+"\"}\n"+s.keys()+
		"bundles:\n  test:\n    service: test\n    resource: "+reference+"\n    signing: {keyid: test}\n    polling: {min_delay_seconds: 1, max_delay_seconds: 1}\n"+lenient)
	p.ready()
	if err := p.admit(create(newPod("nginx:latest"))); !apierrors.IsForbidden(err) {
		t.Errorf("got %v", err)
	}
	push(t, reference, build(t, nil, map[string]string{"a.rego": "package kubernetes.admission\n"}))
	p.eventually("the unsigned bundle was refused", func() bool { return p.engine.BundleErrors()["test"] != nil })
	if err := p.admit(create(newPod("nginx:latest"))); !apierrors.IsForbidden(err) {
		t.Errorf("after an unsigned push: got %v", err)
	}
	push(t, reference, build(t, &s, map[string]string{"a.rego": "package kubernetes.admission\n\ndeny contains \"newer\" if true\n"}))
	p.eventually("the newer bundle is in force", func() bool {
		err := p.admit(create(newPod("nginx:1")))
		return err != nil && strings.HasSuffix(err.Error(), "newer")
	})
}
