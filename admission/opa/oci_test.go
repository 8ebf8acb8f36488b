package opa_test

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
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
	image := imageOf(t, raw)
	to, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(to, image); err != nil {
		t.Fatal(err)
	}
}

// imageOf is the image that a bundle is kept as.
func imageOf(t *testing.T, raw []byte) v1.Image {
	t.Helper()
	image, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), static.NewLayer(raw, types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestSignedBundlesComeFromALayoutOnDisk(t *testing.T) {
	s, dir, state := newSigner(t), t.TempDir(), t.TempDir()
	put := func(raw []byte) {
		t.Helper()
		images, err := layout.Write(dir, empty.Index)
		if err != nil {
			t.Fatal(err)
		}
		if err := images.AppendImage(imageOf(t, raw), layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "v1"})); err != nil {
			t.Fatal(err)
		}
	}
	put(build(t, &s, map[string]string{"a.rego": denyLatest}))
	config := "bundles:\n  test:\n    resource: oci-layout://" + dir + ":v1\n    signing: {keyid: test}\n" + s.keys() + lenient
	t.Run("followed", func(t *testing.T) {
		p := runIn(t, state, config)
		p.ready()
		refuses := func(when string) {
			t.Helper()
			if err := p.admit(create(newPod("nginx:latest"))); !apierrors.IsForbidden(err) {
				t.Errorf("%s: got %v", when, err)
			}
		}
		refuses("at first")
		put(build(t, nil, map[string]string{"a.rego": "package kubernetes.admission\n"}))
		p.eventually("the unsigned bundle was refused", func() bool { return p.engine.BundleErrors()["test"] != nil })
		refuses("after an unsigned one")
		put(build(t, &s, map[string]string{"a.rego": strings.Replace(denyLatest, ":latest", ":newest", 1)}))
		p.eventually("the change is in force", func() bool { return p.admit(create(newPod("nginx:latest"))) == nil })
		for _, blob := range blobs(t, dir) {
			if err := os.WriteFile(blob, []byte("{}"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p.eventually("the damage was noticed", func() bool { return p.engine.BundleErrors()["test"] != nil })
		if err := p.admit(create(newPod("nginx:newest"))); !apierrors.IsForbidden(err) {
			t.Errorf("after damage: got %v", err)
		}
	})
	t.Run("the last good one serves the next start", func(t *testing.T) {
		p := runIn(t, state, config)
		p.eventually("the kept bundle decides", func() bool { return apierrors.IsForbidden(p.admit(create(newPod("nginx:newest")))) })
	})
}

// blobs are the files of a layout's content.
func blobs(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
	if err != nil || len(found) == 0 {
		t.Fatal(found, err)
	}
	return found
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
