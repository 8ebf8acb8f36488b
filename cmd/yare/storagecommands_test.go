package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/yare-io/yare/cmd/yare/kubeapiserver"
	"github.com/yare-io/yare/storage/etcd"
)

// yare runs a command line and returns what it printed.
func yare(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	command := newCommand()
	command.SetArgs(args)
	command.SetOut(&out)
	err := command.ExecuteContext(t.Context())
	return out.String(), err
}

func TestSnapshotsAreSavedListedPrunedAndRestored(t *testing.T) {
	dir, err := os.MkdirTemp("", "yare")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.MkdirAll(runDir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "etcd")
	store, err := etcd.Open(context.Background(), etcd.Config{Dir: data, Listen: []string{etcdSocket(dir)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Create(t.Context(), "/registry/pods/a", []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	out, err := yare(t, "etcd-snapshot", "save", "--data-dir", dir, "--name", "first")
	if err != nil || !strings.Contains(out, "saved ") {
		t.Fatalf("save: %s %v", out, err)
	}
	if out, err := yare(t, "etcd-member", "ls", "--data-dir", dir); err != nil || strings.Count(out, " ok ") != 1 {
		t.Fatalf("the members of a server that is alone: %s %v", out, err)
	}
	if _, err := store.Create(t.Context(), "/registry/pods/b", []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	listed, err := yare(t, "etcd-snapshot", "ls", "--data-dir", dir)
	lines := strings.Split(strings.TrimSpace(listed), "\n")
	if err != nil || len(lines) != 2 || !strings.HasPrefix(lines[1], "first-") {
		t.Fatalf("ls: %s %v", listed, err)
	}
	if out, err := yare(t, "etcd-snapshot", "prune", "--data-dir", dir, "--name", "first", "--snapshot-retention", "1"); err != nil || out != "" {
		t.Fatalf("prune: %s %v", out, err)
	}
	if out, err := yare(t, "etcd-snapshot", "restore", strings.Fields(lines[1])[0], "--data-dir", dir); err != nil {
		t.Fatalf("restore: %s %v", out, err)
	}
	restored, err := etcd.Open(t.Context(), etcd.Config{Dir: data})
	if err != nil {
		t.Fatal(err)
	}
	defer restored.Close()
	if _, err := restored.Get(t.Context(), "/registry/pods/a"); err != nil {
		t.Error(err)
	}
	if _, err := restored.Get(t.Context(), "/registry/pods/b"); err == nil {
		t.Error("what was written after the snapshot is there")
	}
	if revision, err := restored.Revision(t.Context()); err != nil || revision < revisionBump {
		t.Errorf("the restored store is at revision %d: %v", revision, err)
	}
}

func TestMigrationGoesFromDataDirToDataDir(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	store, err := etcd.Open(t.Context(), etcd.Config{Dir: filepath.Join(from, "etcd")})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if _, err := store.Create(t.Context(), fmt.Sprintf("/registry/pods/%d", i), []byte("x"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := yare(t, "storage", "migrate", "--from", from, "--to", to)
	if err != nil || !strings.Contains(out, "moved 20 keys") {
		t.Fatalf("%s %v", out, err)
	}
	if out, err := yare(t, "storage", "migrate", "--from", from, "--to", to); err == nil {
		t.Fatalf("a cluster was copied over: %s", out)
	}
	if _, err := yare(t, "storage", "migrate", "--to", to); err == nil || !strings.Contains(err.Error(), "--from is needed") {
		t.Fatal(err)
	}
}

func TestPlacesAreNamedWithoutPasswords(t *testing.T) {
	p := place{datastore: kubeapiserver.Datastore{Endpoint: "postgres://u:p@ss@db/yare"}}
	if got := p.name(); got != "postgres://db/yare" {
		t.Fatal(got)
	}
}
