package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// layoutScheme begins the resource of a bundle that is an image in an OCI layout
// on this machine's disk: oci-layout:///directory, or with a tag:
// oci-layout:///directory:tag.
const layoutScheme = "oci-layout://"

// layout is a bundle in an OCI layout. OPA reads bundles from files, so the
// image's layer is copied to one; a layout that is wrong leaves the copy as it
// was.
type layout struct {
	name, dir, tag string
	// file is the copy.
	file string
	// seen is the layout's fingerprint when it was last copied.
	seen uint64
}

// takeLayouts finds the bundles in layouts, and has OPA read their copies.
func takeLayouts(bundles any, stateDir string) ([]*layout, error) {
	all, _ := bundles.(map[string]any)
	var found []*layout
	for name, bundle := range all {
		source, _ := bundle.(map[string]any)
		resource, _ := source["resource"].(string)
		at, isLayout := strings.CutPrefix(resource, layoutScheme)
		if !isLayout {
			continue
		}
		if stateDir == "" {
			return nil, fmt.Errorf("bundle %s: an OCI layout needs a state directory", name)
		}
		l := &layout{name: name, dir: at, file: filepath.Join(stateDir, "layouts", url.PathEscape(name)+".tar.gz")}
		if colon := strings.LastIndexByte(at, ':'); colon > strings.LastIndexByte(at, '/') {
			l.dir, l.tag = at[:colon], at[colon+1:]
		}
		source["resource"] = (&url.URL{Scheme: "file", Path: l.file}).String()
		delete(source, "service")
		found = append(found, l)
	}
	return found, nil
}

// update copies the layer when the layout has changed since.
func (l *layout) update() error {
	now := fingerprint(l.dir)
	if now == l.seen {
		return nil
	}
	l.seen = now
	layer, err := l.layer()
	if err != nil {
		return fmt.Errorf("OCI layout %s: %w", l.dir, err)
	}
	if err := os.MkdirAll(filepath.Dir(l.file), 0o700); err != nil {
		return err
	}
	if err := l.copy(layer); err != nil {
		return fmt.Errorf("OCI layout %s: %w", l.dir, err)
	}
	return nil
}

// descriptor names a blob of a layout.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations"`
}

// Bounds on a layout, in bytes.
const (
	maxManifest = 4 << 20
	maxLayer    = 1 << 30
)

// refName is the annotation that has a tag.
const refName = "org.opencontainers.image.ref.name"

// layer finds the one layer of the image.
func (l *layout) layer() (descriptor, error) {
	var index struct {
		Manifests []descriptor `json:"manifests"`
	}
	raw, err := readBounded(filepath.Join(l.dir, "index.json"))
	if err != nil {
		return descriptor{}, err
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		return descriptor{}, fmt.Errorf("index.json: %w", err)
	}
	var images []descriptor
	for _, image := range index.Manifests {
		if l.tag == "" || image.Annotations[refName] == l.tag {
			images = append(images, image)
		}
	}
	if len(images) != 1 {
		return descriptor{}, fmt.Errorf("it has %d images of this name, not one: name a tag", len(images))
	}
	path, err := l.blob(images[0].Digest)
	if err != nil {
		return descriptor{}, err
	}
	if raw, err = readBounded(path); err != nil {
		return descriptor{}, err
	}
	if sum := sha256.Sum256(raw); "sha256:"+hex.EncodeToString(sum[:]) != images[0].Digest {
		return descriptor{}, errors.New("the image's manifest is not what its digest says")
	}
	var image struct {
		Layers []descriptor `json:"layers"`
	}
	if err := json.Unmarshal(raw, &image); err != nil {
		return descriptor{}, fmt.Errorf("the image's manifest: %w", err)
	}
	if len(image.Layers) != 1 {
		return descriptor{}, fmt.Errorf("the image has %d layers, a bundle has one", len(image.Layers))
	}
	return image.Layers[0], nil
}

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxManifest+1))
	if err == nil && len(raw) > maxManifest {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxManifest)
	}
	return raw, err
}

var digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// blob is where a digest's content is.
func (l *layout) blob(digest string) (string, error) {
	if !digestPattern.MatchString(digest) {
		return "", fmt.Errorf("%q is no sha256 digest", digest)
	}
	return filepath.Join(l.dir, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:")), nil
}

// copy puts the layer where OPA reads it, if it is what its digest says.
func (l *layout) copy(layer descriptor) error {
	path, err := l.blob(layer.Digest)
	if err != nil {
		return err
	}
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.CreateTemp(filepath.Dir(l.file), "arriving-")
	if err != nil {
		return err
	}
	defer os.Remove(to.Name())
	sum := sha256.New()
	size, err := io.Copy(io.MultiWriter(to, sum), io.LimitReader(from, maxLayer+1))
	if err = errors.Join(err, to.Sync(), to.Close()); err != nil {
		return err
	}
	if size > maxLayer {
		return fmt.Errorf("the bundle is larger than %d bytes", maxLayer)
	}
	if "sha256:"+hex.EncodeToString(sum.Sum(nil)) != layer.Digest {
		return errors.New("the bundle is not what its digest says")
	}
	return os.Rename(to.Name(), l.file)
}
