package encrypted_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/encrypted"
	"github.com/yare-io/yare/storage/memory"
	"github.com/yare-io/yare/storage/storetest"
)

const (
	key16a = "c2VjcmV0IGlzIHNlY3VyZQ=="
	key16b = "dGhpcyBpcyBwYXNzd29yZA=="
	key32  = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY="
)

// resourceOf takes the first folder for the resource, as secrets or
// deployments.apps.
func resourceOf(key string) (schema.GroupResource, bool) {
	rest, ok := strings.CutPrefix(key, "/registry/")
	name, _, _ := strings.Cut(rest, "/")
	return schema.ParseGroupResource(name), ok
}

// configuration has one entry for each pair of resources and providers.
func configuration(t *testing.T, pairs ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "encryption.yaml")
	configure(t, file, pairs...)
	return file
}

func configure(t *testing.T, file string, pairs ...string) {
	t.Helper()
	text := "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n"
	for i := 0; i < len(pairs); i += 2 {
		text += fmt.Sprintf("- resources: [%s]\n  providers: [%s]\n", pairs[i], pairs[i+1])
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func provider(kind string, names ...string) string {
	var keys []string
	for _, name := range names {
		secret := map[string]string{"a": key16a, "b": key16b, "s": key32}[name[:1]]
		keys = append(keys, fmt.Sprintf("{name: %s, secret: %s}", name, secret))
	}
	return fmt.Sprintf("{%s: {keys: [%s]}}", kind, strings.Join(keys, ", "))
}

const clear = "{identity: {}}"

// wrap puts an encrypted store around another, which the test may look into.
func wrap(t *testing.T, inner storage.Store, config encrypted.Config) *encrypted.Store {
	t.Helper()
	config.ResourceOf = resourceOf
	store, err := encrypted.New(inner, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func create(t *testing.T, store storage.Store, key, value string) int64 {
	t.Helper()
	revision, err := store.Create(t.Context(), key, []byte(value), 0)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func get(t *testing.T, store storage.Store, key string) string {
	t.Helper()
	kv, err := store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(kv.Value)
}

func TestStore(t *testing.T) {
	for kind, key := range map[string]string{"aesgcm": "a", "aescbc": "a", "secretbox": "s"} {
		t.Run(kind, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storage.Store {
				store, err := encrypted.New(memory.New(memory.Config{}), encrypted.Config{
					File:       configuration(t, "'*.*'", provider(kind, key)),
					ResourceOf: func(string) (schema.GroupResource, bool) { return schema.GroupResource{Resource: "secrets"}, true },
				})
				if err != nil {
					t.Fatal(err)
				}
				return store
			})
		})
	}
}

func TestValuesAreKeptWithThePrefixesOfKubernetes(t *testing.T) {
	inner := memory.New(memory.Config{})
	store := wrap(t, inner, encrypted.Config{File: configuration(t,
		"events", clear, "secrets", provider("aesgcm", "a1"), "configmaps", provider("aescbc", "b1"),
		"'*.apps'", provider("secretbox", "s1"), "'*.*'", provider("aesgcm", "b2"))})
	for key, prefix := range map[string]string{
		"/registry/events/default/x":           "the text",
		"/registry/secrets/default/x":          "k8s:enc:aesgcm:v1:a1:",
		"/registry/configmaps/default/x":       "k8s:enc:aescbc:v1:b1:",
		"/registry/deployments.apps/default/x": "k8s:enc:secretbox:v1:s1:",
		"/registry/pods/default/x":             "k8s:enc:aesgcm:v1:b2:",
		"compact_rev_key":                      "the text",
	} {
		create(t, store, key, "the text")
		raw := get(t, inner, key)
		if !strings.HasPrefix(raw, prefix) || prefix != "the text" && strings.Contains(raw, "the text") {
			t.Errorf("%s is kept as %q, want the prefix %s", key, raw, prefix)
		}
		if got := get(t, store, key); got != "the text" {
			t.Errorf("%s came back as %q", key, got)
		}
	}
}

func TestRotationReadsOldKeysAndRewritesThem(t *testing.T) {
	inner := memory.New(memory.Config{})
	const key = "/registry/secrets/default/x"
	create(t, inner, key, "plain")
	first := wrap(t, inner, encrypted.Config{File: configuration(t, "secrets", provider("aesgcm", "a1")+", "+clear)})
	second := wrap(t, inner, encrypted.Config{File: configuration(t, "secrets", provider("aescbc", "b1")+", "+provider("aesgcm", "a1"))})
	for _, step := range []struct {
		store  *encrypted.Store
		prefix string
	}{{first, "k8s:enc:aesgcm:v1:a1:"}, {second, "k8s:enc:aescbc:v1:b1:"}} {
		if got := get(t, step.store, key); got != "plain" {
			t.Fatalf("read %q before it was rewritten", got)
		}
		if n, err := step.store.Rewrite(t.Context(), "/registry/"); n != 1 || err != nil {
			t.Fatalf("rewrote %d: %v", n, err)
		}
		if raw := get(t, inner, key); !strings.HasPrefix(raw, step.prefix) {
			t.Fatalf("kept as %q, want %s", raw, step.prefix)
		}
		if n, err := step.store.Rewrite(t.Context(), "/registry/"); n != 0 || err != nil {
			t.Fatalf("rewrote %d values again: %v", n, err)
		}
	}
	if _, err := first.Get(t.Context(), key); err == nil {
		t.Fatal("a value was read without its key")
	}
}

func TestTamperedValuesAreRefused(t *testing.T) {
	for kind, key := range map[string]string{"aesgcm": "a", "secretbox": "s"} {
		t.Run(kind, func(t *testing.T) {
			inner := memory.New(memory.Config{})
			store := wrap(t, inner, encrypted.Config{File: configuration(t, "secrets", provider(kind, key))})
			for name, tamper := range map[string]func([]byte) []byte{
				"flipped": func(raw []byte) []byte { raw[len(raw)-1] ^= 1; return raw },
				"short":   func(raw []byte) []byte { return raw[:len(raw)-5] },
				"clear":   func([]byte) []byte { return []byte("not encrypted") },
				"renamed": func(raw []byte) []byte { return bytes.Replace(raw, []byte(":"+key+":"), []byte(":x:"), 1) },
			} {
				path := "/registry/secrets/default/" + name
				revision := create(t, store, path, "the text")
				raw := tamper([]byte(get(t, inner, path)))
				if _, err := inner.Update(t.Context(), path, raw, revision, 0); err != nil {
					t.Fatal(err)
				}
				if kv, err := store.Get(t.Context(), path); err == nil {
					t.Errorf("%s: read as %q", name, kv.Value)
				}
			}
			create(t, store, "/registry/secrets/default/good", "good")
			result, err := store.List(t.Context(), storage.ListRequest{Prefix: "/registry/secrets/"})
			if err != nil {
				t.Fatal(err)
			}
			for _, kv := range result.KVs {
				want := encrypted.Unreadable
				if strings.HasSuffix(kv.Key, "good") {
					want = "good"
				}
				if string(kv.Value) != want {
					t.Errorf("%s is listed as %q", kv.Key, kv.Value)
				}
			}
		})
	}
}

func TestValuesDoNotPassForThoseOfOtherKeys(t *testing.T) {
	inner := memory.New(memory.Config{})
	store := wrap(t, inner, encrypted.Config{File: configuration(t, "secrets", provider("aesgcm", "a"))})
	create(t, store, "/registry/secrets/a/x", "the text")
	create(t, inner, "/registry/secrets/b/x", get(t, inner, "/registry/secrets/a/x"))
	if kv, err := store.Get(t.Context(), "/registry/secrets/b/x"); err == nil {
		t.Fatalf("a moved value was read as %q", kv.Value)
	}
}

func TestChangesOfTheFileComeIntoForce(t *testing.T) {
	inner := memory.New(memory.Config{})
	file := configuration(t, "secrets", provider("aesgcm", "a1")+", "+clear)
	store := wrap(t, inner, encrypted.Config{File: file, ReloadInterval: 5 * time.Millisecond})
	create(t, store, "/registry/secrets/default/before", "x")
	if err := os.WriteFile(file, []byte("kind: Nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	create(t, store, "/registry/secrets/default/broken", "x")
	configure(t, file, "secrets", provider("aesgcm", "b1", "a1")+", "+clear)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for n := 0; ; n++ {
		key := fmt.Sprintf("/registry/secrets/default/%d", n)
		create(t, store, key, "x")
		if strings.HasPrefix(get(t, inner, key), "k8s:enc:aesgcm:v1:b1:") {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("the new key was never used")
		}
	}
	for _, name := range []string{"before", "broken"} {
		if got := get(t, store, "/registry/secrets/default/"+name); got != "x" {
			t.Fatalf("%s is %q after the change", name, got)
		}
	}
}

func TestWatchesAndConflictsAreInClear(t *testing.T) {
	store := wrap(t, memory.New(memory.Config{}), encrypted.Config{File: configuration(t, "secrets", provider("aescbc", "a"))})
	w, err := store.Watch(t.Context(), storage.WatchRequest{Previous: true})
	if err != nil {
		t.Fatal(err)
	}
	const key = "/registry/secrets/default/x"
	first := create(t, store, key, "one")
	if _, err := store.Update(t.Context(), key, []byte("two"), first, 0); err != nil {
		t.Fatal(err)
	}
	_, err = store.Update(t.Context(), key, []byte("three"), first, 0)
	var conflict *storage.ConflictError
	if !errors.As(err, &conflict) || string(conflict.Current.Value) != "two" {
		t.Fatalf("conflict: %v", err)
	}
	var events []storage.Event
	for batch := range w.Batches() {
		if events = append(events, batch.Events...); len(events) >= 2 {
			break
		}
	}
	if len(events) != 2 || string(events[0].KV.Value) != "one" || string(events[1].KV.Value) != "two" || string(events[1].Previous.Value) != "one" {
		t.Fatalf("watched %+v", events)
	}
}
