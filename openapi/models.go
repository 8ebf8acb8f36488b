package openapi

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed" // the models
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"weak"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

//go:embed models.gz
var compressedModels []byte

// model is the schema of one type in both versions of OpenAPI.
type model struct {
	// Name is the one that references use ("io.k8s.api.core.v1.Pod").
	Name  string                    `json:"name"`
	Kinds []schema.GroupVersionKind `json:"kinds"`
	// Refs are the models that this one refers to.
	Refs []string `json:"refs"`

	v2, v3 json.RawMessage
	// untyped objects have no Go type, and so no strategic merge patch.
	untyped bool
}

// models is a set of models that is closed under references. It has those of
// base, too, which may be nil.
type models struct {
	base   *models
	byName map[string]*model
	byKind map[schema.GroupVersionKind]*model
}

// named returns the model of a name, or nil.
func (m *models) named(name string) *model {
	if one := m.byName[name]; one != nil || m.base == nil {
		return one
	}
	return m.base.named(name)
}

// of returns the model of a kind, or nil.
func (m *models) of(kind schema.GroupVersionKind) *model {
	if one := m.byKind[kind]; one != nil || m.base == nil {
		return one
	}
	return m.base.of(kind)
}

var (
	loadedModels   weak.Pointer[models]
	loadedModelsMu sync.Mutex

	modelsDigest = sync.OnceValue(func() [sha256.Size]byte { return sha256.Sum256(compressedModels) })
)

// loadModels opens the models in the binary. They are shared while anybody
// uses them and garbage (some megabytes) as soon as nobody does.
func loadModels() (*models, error) {
	loadedModelsMu.Lock()
	defer loadedModelsMu.Unlock()
	if m := loadedModels.Value(); m != nil {
		return m, nil
	}
	m, err := readModels(bytes.NewReader(compressedModels))
	if err != nil {
		return nil, fmt.Errorf("models in the binary: %w", err)
	}
	loadedModels = weak.Make(m)
	return m, nil
}

// readModels reads what openapi/gen wrote: three lines for each model.
func readModels(r io.Reader) (*models, error) {
	uncompressed, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	m := &models{byName: map[string]*model{}, byKind: map[schema.GroupVersionKind]*model{}}
	lines := bufio.NewReader(uncompressed)
	for {
		header, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return m, nil
		}
		one := &model{}
		if err == nil {
			err = json.Unmarshal(header, one)
		}
		if err == nil {
			one.v2, err = lines.ReadBytes('\n')
		}
		if err == nil {
			one.v3, err = lines.ReadBytes('\n')
		}
		if err != nil {
			return nil, fmt.Errorf("after %d models: %w", len(m.byName), err)
		}
		m.add(one)
	}
}

func (m *models) add(one *model) {
	m.byName[one.Name] = one
	for _, kind := range one.Kinds {
		m.byKind[kind] = one
	}
}

// closure returns the named models and all that these refer to.
func (m *models) closure(names map[string]bool) (map[string]*model, error) {
	closed := map[string]*model{}
	var pending []string
	for name := range names {
		pending = append(pending, name)
	}
	for len(pending) > 0 {
		name := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		if closed[name] != nil {
			continue
		}
		one := m.named(name)
		if one == nil {
			return nil, fmt.Errorf("no model is named %q", name)
		}
		closed[name] = one
		pending = append(pending, one.Refs...)
	}
	return closed, nil
}
