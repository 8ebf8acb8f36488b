package clients

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestForeignClients is one test, so that all of them share a server.
func TestForeignClients(t *testing.T) {
	c := start(t)
	c.download(t)
	t.Run("GoValidators", c.validate)
	t.Run("TypeScript", c.typescript)
	t.Run("Go", c.golang)
}

// typescript generates types of every document, compiles them with the tests in
// src, strictly, and runs these: the validators of npm, the generated client
// and the official one.
func (c *cluster) typescript(t *testing.T) {
	if _, err := os.Stat("node_modules"); err != nil {
		t.Fatalf("%v: run npm ci first", err)
	}
	c.run(t, "node", "generate.mjs", filepath.Join(c.documents, "v3"), "src/generated")
	c.run(t, "node", "node_modules/typescript/bin/tsc")
	c.run(t, "node", "--test", "--test-timeout=150000", "build/")
}

// golang generates a client of each of some documents and runs the tests in
// golang with them.
func (c *cluster) golang(t *testing.T) {
	for _, document := range []string{"api_v1", "apis_apps_v1", "apis_clients.yare.test_v1"} {
		name := strings.NewReplacer("apis_", "", "api_", "core", "_", "", ".", "").Replace(document)
		must(t, os.MkdirAll(filepath.Join("generated", name), 0o755))
		c.run(t, "go", "tool", "oapi-codegen", "-generate=types,client", "-package="+name, "-o", filepath.Join("generated", name, name+".go"),
			filepath.Join(c.documents, "v3", document+".json"))
	}
	c.run(t, "go", "test", "-tags=generated", "-count=1", "./golang")
}
