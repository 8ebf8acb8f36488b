package migrate_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/encrypted"
	"github.com/yare-io/yare/storage/etcd"
	"github.com/yare-io/yare/storage/faulttest/process"
	"github.com/yare-io/yare/storage/migrate"
	"github.com/yare-io/yare/storage/postgres"
)

// copyVariable has the two places, with a bar between, for which the test binary
// becomes a process that copies, to be killed.
const copyVariable = "YARE_TEST_COPY"

func copyUntilKilled(places string) {
	from, to, _ := strings.Cut(places, "|")
	source, err := openPlace(from)
	if err == nil {
		var target storage.Store
		if target, err = openPlace(to); err == nil {
			_, err = migrate.Run(context.Background(), migrate.Config{From: source, To: target, Source: from, Keep: keep,
				Progress: func(p migrate.Progress) { fmt.Println(p.Step, p.Done) }})
		}
	}
	if err != nil {
		fmt.Println("failed:", err)
	}
	os.Exit(1)
}

// openPlace opens the URL of a database, or the directory of an embedded etcd,
// which outlives its process without waiting for the disk.
func openPlace(place string) (storage.Store, error) {
	if strings.HasPrefix(place, "postgres") {
		return postgres.Open(context.Background(), postgres.Config{URL: place})
	}
	return etcd.Open(context.Background(), etcd.Config{Dir: place, NoSync: true})
}

// places are where a store outlives its process.
var places = map[string]func(t *testing.T) string{
	"etcd": func(t *testing.T) string { return filepath.Join(t.TempDir(), "etcd") },
	"postgres": func(t *testing.T) string {
		if shared == nil {
			t.Skip("PostgreSQL is not installed")
		}
		return shared.Schema()
	},
}

// TestACopyThatIsKilledGoesOn kills -9 a process while it copies, and again while
// it compares, and then lets it end.
func TestACopyThatIsKilledGoesOn(t *testing.T) {
	for from, source := range places {
		for to, target := range places {
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				there, here := source(t), target(t)
				store, err := openPlace(there)
				opened(t, store, err)
				fill(t, store, 1500)
				if err := store.Close(); err != nil {
					t.Fatal(err)
				}
				killCopyAt(t, there, here, "copy 500")
				store, err = openPlace(here)
				opened(t, store, err)
				part, err := store.List(t.Context(), storage.ListRequest{Prefix: "/", CountOnly: true})
				if err != nil || part.Remaining < 400 || part.Remaining >= 1501 {
					t.Fatalf("the first run left %d keys: %v", part.Remaining, err)
				}
				if err := store.Close(); err != nil {
					t.Fatal(err)
				}
				killCopyAt(t, there, here, "compare 500")
				first, err := openPlace(there)
				opened(t, first, err)
				second, err := openPlace(here)
				opened(t, second, err)
				if n, err := migrate.Run(t.Context(), migrate.Config{From: first, To: second, Source: there, Keep: keep}); n != 1501 || err != nil {
					t.Fatalf("%d keys: %v", n, err)
				}
			})
		}
	}
}

// killCopyAt starts a copy and kills it as soon as it tells of a step.
func killCopyAt(t *testing.T, from, to, step string) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), copyVariable+"="+from+"|"+to)
	command.Stdout, command.Stderr = write, t.Output()
	copying, err := process.Start(command)
	_ = write.Close()
	if err != nil {
		t.Fatal(err)
	}
	reached, last := false, ""
	for lines := bufio.NewScanner(read); !reached && lines.Scan(); {
		last = lines.Text()
		reached = last == step
	}
	if err := copying.Kill(); err != nil {
		t.Fatal(err)
	}
	if !reached {
		t.Fatalf("the copy ended after %q, without %q", last, step)
	}
}

// TestEncryptedValuesMoveAsTheyAre copies a store with encrypted values, without
// the key, between all kinds; with the key the target can be read.
func TestEncryptedValuesMoveAsTheyAre(t *testing.T) {
	config := filepath.Join(t.TempDir(), "encryption.yaml")
	const text = `{kind: EncryptionConfiguration, apiVersion: apiserver.config.k8s.io/v1, resources: [{resources: [secrets],
  providers: [{aesgcm: {keys: [{name: k1, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}}, {identity: {}}]}]}`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	seal := func(t *testing.T, store storage.Store) storage.Store {
		t.Helper()
		sealed, err := encrypted.New(store, encrypted.Config{File: config, ResourceOf: func(key string) (schema.GroupResource, bool) {
			return schema.GroupResource{Resource: "secrets"}, strings.HasPrefix(key, "/registry/secrets/")
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = sealed.Close() })
		return sealed
	}
	for from, openFrom := range kinds {
		for to, openTo := range kinds {
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				source, target := openFrom(t), openTo(t)
				if _, err := seal(t, source).Create(t.Context(), "/registry/secrets/default/a", []byte("hidden"), 0); err != nil {
					t.Fatal(err)
				}
				if n, err := migrate.Run(t.Context(), migrate.Config{From: source, To: target, Source: from}); n != 1 || err != nil {
					t.Fatalf("%d keys: %v", n, err)
				}
				raw, err := target.Get(t.Context(), "/registry/secrets/default/a")
				if err != nil || strings.Contains(string(raw.Value), "hidden") {
					t.Fatalf("the target has %q: %v", raw.Value, err)
				}
				if kv, err := seal(t, target).Get(t.Context(), "/registry/secrets/default/a"); err != nil || string(kv.Value) != "hidden" {
					t.Fatalf("with the key it is %q: %v", kv.Value, err)
				}
			})
		}
	}
}
