package openapi

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/yare-io/yare/apiserver/registry"
)

// errNoDocument says that there is no document of that name.
var errNoDocument = errors.New("no such OpenAPI document")

// documentKey names one document in one encoding: the OpenAPI 2 document, a
// part of the OpenAPI 3 documents, or, with neither, the index of these.
type documentKey struct {
	media string
	v2    bool
	part  string
}

// documents makes and keeps documents. Of each version of OpenAPI one is made
// at a time: making one takes some megabytes for a moment.
type documents struct {
	config Config

	makingV2, makingV3 sync.Mutex
	// pieces are what the OpenAPI 2 document was last joined of, by media type.
	// makingV2 guards them.
	pieces map[string]*pieces

	mu sync.Mutex
	// What follows is of these rows.
	rows  []*registry.Resource
	parts []part
	// hashes are those of the parts by name, whole is that of all; nil: not
	// computed yet. hashed are the rows that each is of, so that a part whose rows
	// stay keeps its hash.
	hashes map[string]string
	whole  string
	hashed map[string]hashedPart
	// made are the documents that were asked for.
	made map[documentKey]compressed
}

type hashedPart struct {
	rows []*registry.Resource
	hash string
}

// hash identifies the content of a document without making it: it covers all
// that a document is made of.
func (d *documents) hash(key documentKey) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refresh()
	return d.hashOf(key)
}

// get returns a document, compressed, and its hash.
func (d *documents) get(key documentKey) (document compressed, hash string, err error) {
	if now, err := d.now(key); now.document != nil || err != nil {
		return now.document, now.hash, err
	}
	making := &d.makingV3
	if key.v2 {
		making = &d.makingV2
	}
	making.Lock()
	defer making.Unlock()
	now, err := d.now(key)
	if now.document != nil || err != nil {
		return now.document, now.hash, err
	}
	if document, err = d.build(key, now); err != nil {
		return nil, "", err
	}
	d.keep(key, now, document)
	return document, now.hash, nil
}

// moment is what there is of a document, and what it is made of.
type moment struct {
	parts    []part
	hashes   map[string]string
	hash     string
	document compressed
}

func (d *documents) now(key documentKey) (moment, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refresh()
	hash, err := d.hashOf(key)
	return moment{parts: d.parts, hashes: d.hashes, hash: hash, document: d.made[key]}, err
}

// keep keeps a document, unless it is made of what is no more.
func (d *documents) keep(key documentKey, of moment, document compressed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if hash, err := d.hashOf(key); err == nil && hash == of.hash {
		d.made[key] = document
	}
}

func (d *documents) hashOf(key documentKey) (string, error) {
	if err := d.computeHashes(); err != nil {
		return "", err
	}
	if key.part == "" {
		return d.whole, nil
	}
	hash, ok := d.hashes[key.part]
	if !ok {
		return "", errNoDocument
	}
	return hash, nil
}

// refresh drops everything when other rows are served now.
func (d *documents) refresh() {
	rows := d.config.Rows()
	if d.made != nil && slices.Equal(rows, d.rows) {
		return
	}
	d.rows, d.hashes = slices.Clone(rows), nil
	d.parts = partsOf(d.rows)
	same := make(map[string]bool, len(d.parts))
	for _, p := range d.parts {
		old, ok := d.hashed[p.name]
		same[p.name] = ok && slices.Equal(old.rows, p.rows)
	}
	maps.DeleteFunc(d.made, func(key documentKey, _ compressed) bool { return !same[key.part] })
	if d.made == nil {
		d.made = map[documentKey]compressed{}
	}
}

// modelsFor are those in the binary and those of rows that have none there, for
// OpenAPI 3.
func modelsFor(rows []*registry.Resource) (*models, error) {
	m, err := loadModels()
	if err != nil {
		return nil, err
	}
	return m.withUntyped(rows, false)
}

func (d *documents) computeHashes() error {
	if d.hashes != nil {
		return nil
	}
	hashes, hashed := map[string]string{}, map[string]hashedPart{}
	for _, p := range d.parts {
		one, ok := d.hashed[p.name]
		if !ok || !slices.Equal(one.rows, p.rows) {
			hash, err := d.hashOfPart(p)
			if err != nil {
				return fmt.Errorf("paths of %s: %w", p.name, err)
			}
			one = hashedPart{rows: p.rows, hash: hash}
		}
		hashes[p.name], hashed[p.name] = one.hash, one
	}
	d.hashes, d.hashed, d.whole = hashes, hashed, hashOfAll(hashes)
	return nil
}

func (d *documents) hashOfPart(p part) (string, error) {
	if identities, ok := identitiesOf(p); ok {
		return hexHash(append(identities, []byte(d.config.Version), []byte(p.name))...), nil
	}
	m, err := modelsFor(p.rows)
	if err != nil {
		return "", err
	}
	paths, err := marshal(v3Paths(p.endpoints(m)))
	if err != nil {
		return "", err
	}
	digest := modelsDigest()
	contents := [][]byte{digest[:], []byte(d.config.Version), paths}
	for _, row := range p.rows {
		if one := m.of(row.Kind); one != nil && one.untyped {
			contents = append(contents, one.v3)
		}
	}
	return hexHash(contents...), nil
}

// identitiesOf tells what the document of a part is made of without making any
// of it: where custom resources come by the thousand, nobody reads most of them.
func identitiesOf(p part) (identities [][]byte, ok bool) {
	for _, row := range p.rows {
		if row.Schema == nil || row.Schema.Identity == "" {
			return nil, false
		}
		identities = append(identities, []byte(row.Schema.Identity))
	}
	digest := modelsDigest()
	return append(identities, digest[:]), len(p.rows) > 0
}

func hashOfAll(hashes map[string]string) string {
	var all []byte
	for _, name := range slices.Sorted(maps.Keys(hashes)) {
		all = append(all, name+"="+hashes[name]+"\n"...)
	}
	return hexHash(all)
}

func hexHash(contents ...[]byte) string {
	h := sha256.New()
	for _, content := range contents {
		h.Write(content)
	}
	return fmt.Sprintf("%X", h.Sum(nil))
}

func (d *documents) build(key documentKey, of moment) (compressed, error) {
	if key.v2 {
		return d.join(key.media, of.parts)
	}
	content, err := d.buildV3(key, of)
	if err != nil {
		return nil, err
	}
	return compress(content)
}

// join makes the OpenAPI 2 document of what changed since it was last made, and
// of the rest as it is.
func (d *documents) join(media string, parts []part) (compressed, error) {
	if d.pieces[media] == nil {
		made, err := newPieces(media, d.config.Version)
		if err != nil {
			return nil, err
		}
		d.pieces[media] = made
	}
	return d.pieces[media].join(parts)
}

func (d *documents) buildV3(key documentKey, of moment) ([]byte, error) {
	if key.part == "" {
		return index(of.hashes)
	}
	i := slices.IndexFunc(of.parts, func(p part) bool { return p.name == key.part })
	if i < 0 {
		return nil, errNoDocument
	}
	m, err := modelsFor(of.parts[i].rows)
	if err != nil {
		return nil, err
	}
	content, err := v3JSON(of.parts[i], m, d.config.Version)
	if err == nil && key.media != mediaJSON {
		return v3Protobuf(content)
	}
	return content, err
}

// index lists the OpenAPI 3 documents by their hashes.
func index(hashes map[string]string) ([]byte, error) {
	type location struct {
		ServerRelativeURL string `json:"serverRelativeURL"`
	}
	paths := make(map[string]location, len(hashes))
	for name, hash := range hashes {
		paths[name] = location{relativeURL(name, hash)}
	}
	return marshal(map[string]any{"paths": paths})
}
