package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestModelsAreThoseOfTheTypes(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the definitions of all types")
	}
	fresh := filepath.Join(t.TempDir(), "models.gz")
	if err := generate(fresh); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(fresh)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../models.gz")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("openapi/models.gz is not what the Go types say: run go generate ./openapi")
	}
}
