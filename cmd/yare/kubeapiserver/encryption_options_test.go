package kubeapiserver

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/storage/memory"
)

func TestKeysAreOfTheirResource(t *testing.T) {
	known := keyedResources()
	for key, want := range map[string]string{
		"/registry/secrets/default/x":                     "secrets",
		"/registry/deployments/default/x":                 "deployments.apps",
		"/registry/services/specs/default/x":              "services",
		"/registry/services/endpoints/default/x":          "endpoints",
		"/registry/minions/n1":                            "nodes",
		"/registry/stable.example.com/crontabs/default/x": "crontabs.stable.example.com",
		"/registry/ranges/serviceips":                     "",
		"compact_rev_key":                                 "",
		"/other/secrets/default/x":                        "",
		"/registry/clusterroles/system:node":              "clusterroles.rbac.authorization.k8s.io",
		"/registry/leases/kube-node-lease/n1":             "leases.coordination.k8s.io",
	} {
		got, ok := known.of(key)
		if want == "" && ok || want != "" && got != schema.ParseGroupResource(want) {
			t.Errorf("%s belongs to %q, want %q", key, got, want)
		}
	}
}

func TestEncryptionIsPutAroundTheStore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "encryption.yaml")
	config := `{kind: EncryptionConfiguration, apiVersion: apiserver.config.k8s.io/v1, resources: [
		{resources: [secrets], providers: [{aesgcm: {keys: [{name: k1, secret: c2VjcmV0IGlzIHNlY3VyZQ==}]}}]}]}`
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	inner := memory.New(memory.Config{})
	options := Encryption{File: file, reload: true}
	store, err := options.wrap(inner, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Create(t.Context(), "/registry/secrets/default/x", []byte("hidden"), 0); err != nil {
		t.Fatal(err)
	}
	raw, err := inner.Get(t.Context(), "/registry/secrets/default/x")
	if err != nil || !strings.HasPrefix(string(raw.Value), "k8s:enc:aesgcm:v1:k1:") {
		t.Fatalf("%q %v", raw.Value, err)
	}
	for _, bad := range []Encryption{{reload: true}, {File: "/nonexistent"}} {
		if _, err := bad.wrap(memory.New(memory.Config{}), slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}
