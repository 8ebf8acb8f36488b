package clients

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi2conv"
	"github.com/getkin/kin-openapi/openapi3"
)

// download keeps all OpenAPI documents as files.
func (c *cluster) download(t *testing.T) {
	t.Helper()
	c.documents = filepath.Join(c.dir, "documents")
	c.save(t, "v2/openapi.json", c.get(t, "/openapi/v2"))
	var index struct {
		Paths map[string]struct {
			ServerRelativeURL string `json:"serverRelativeURL"`
		} `json:"paths"`
	}
	must(t, json.Unmarshal(c.get(t, "/openapi/v3"), &index))
	for name, at := range index.Paths {
		c.save(t, "v3/"+strings.ReplaceAll(name, "/", "_")+".json", c.get(t, at.ServerRelativeURL))
	}
}

func (c *cluster) save(t *testing.T, name string, content []byte) {
	t.Helper()
	file := filepath.Join(c.documents, name)
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	must(t, os.WriteFile(file, content, 0o600))
}

// validate lets a validator written in Go read the documents, that of OpenAPI 2
// as the OpenAPI 3 that it means. It does not judge defaults: openapi-gen writes
// the zero of every Go type that is not a pointer, also where the zero is not a
// valid value, and that is what Kubernetes serves.
func (c *cluster) validate(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(c.documents, "v2", "openapi.json"))
	must(t, err)
	var whole openapi2.T
	must(t, json.Unmarshal(content, &whole))
	converted, err := openapi2conv.ToV3(&whole)
	must(t, err)
	if err := converted.Validate(t.Context(), openapi3.DisableSchemaDefaultsValidation()); err != nil {
		t.Errorf("OpenAPI 2: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(c.documents, "v3", "*.json"))
	must(t, err)
	if len(files) < 40 {
		t.Errorf("only %d documents", len(files))
	}
	for _, file := range files {
		document, err := openapi3.NewLoader().LoadFromFile(file)
		must(t, err)
		if err := document.Validate(t.Context(), openapi3.DisableSchemaDefaultsValidation()); err != nil {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
	}
}
