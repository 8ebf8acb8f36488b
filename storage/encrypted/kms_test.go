package encrypted_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	kms "k8s.io/kms/pkg/service"
	testclock "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/encrypted"
	"github.com/yare-io/yare/storage/memory"
)

// plugin is a key service that hides what it is given well enough for a test.
type plugin struct {
	mu       sync.Mutex
	key      string
	ill      bool
	decrypts int
}

func (p *plugin) set(key string, ill bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key, p.ill = key, ill
}

func mask(data []byte, key string) []byte {
	masked := bytes.Clone(data)
	for i := range masked {
		masked[i] ^= key[i%len(key)]
	}
	return masked
}

func (p *plugin) Encrypt(_ context.Context, _ string, data []byte) (*kms.EncryptResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &kms.EncryptResponse{Ciphertext: mask(data, p.key), KeyID: p.key}, nil
}

func (p *plugin) Decrypt(_ context.Context, _ string, req *kms.DecryptRequest) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decrypts++
	return mask(req.Ciphertext, req.KeyID), nil
}

func (p *plugin) Status(context.Context) (*kms.StatusResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ill {
		return nil, errors.New("the vault is sealed")
	}
	return &kms.StatusResponse{Version: "v2", Healthz: "ok", KeyID: p.key}, nil
}

// serve runs a plugin on a socket and returns the provider that uses it.
func (p *plugin) serve(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kms")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "kms.sock")
	server := kms.NewGRPCService(socket, 5*time.Second, p)
	done := make(chan error, 1)
	go func() { done <- server.ListenAndServe() }()
	t.Cleanup(func() { server.Close(); <-done; _ = os.RemoveAll(dir) })
	for {
		if _, err := os.Stat(socket); err == nil {
			return fmt.Sprintf("{kms: {apiVersion: v2, name: vault, endpoint: 'unix://%s'}}", socket)
		}
		select {
		case err := <-done:
			t.Fatalf("the plugin does not serve: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestKeyServiceSealsSeedsAndRotates(t *testing.T) {
	p := &plugin{key: "first"}
	config := configuration(t, "secrets", p.serve(t))
	clock := testclock.NewFakeClock(time.Now())
	inner := memory.New(memory.Config{})
	store := wrap(t, inner, encrypted.Config{File: config, Clock: clock})
	create(t, store, "/registry/secrets/a/1", "the text")
	raw := get(t, inner, "/registry/secrets/a/1")
	if !strings.HasPrefix(raw, "k8s:enc:kms:v2:vault:") || strings.Contains(raw, "the text") {
		t.Fatalf("kept as %q", raw)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p.set("second", false)
	for n := 0; ; n++ {
		clock.Step(time.Minute)
		key := fmt.Sprintf("/registry/secrets/b/%d", n)
		create(t, store, key, "x")
		if strings.Contains(get(t, inner, key), "second") {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("the service's new key was never used")
		}
	}
	if n, err := store.Rewrite(ctx, "/registry/secrets/a/"); n != 1 || err != nil {
		t.Fatalf("rewrote %d: %v", n, err)
	}
	// Another process has to ask the service, once for each seed.
	other := wrap(t, inner, encrypted.Config{File: config})
	for range 3 {
		if got := get(t, other, "/registry/secrets/a/1"); got != "the text" {
			t.Fatalf("read %q", got)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.decrypts == 0 || p.decrypts > 2 {
		t.Fatalf("the service was asked to decrypt %d times", p.decrypts)
	}
}

func TestAnUnhealthyKeyServiceIsTold(t *testing.T) {
	p := &plugin{key: "first", ill: true}
	config := configuration(t, "secrets", p.serve(t))
	clock := testclock.NewFakeClock(time.Now())
	store := wrap(t, memory.New(memory.Config{}), encrypted.Config{File: config, Clock: clock})
	if err := store.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "vault") {
		t.Fatalf("health: %v", err)
	}
	if _, err := store.Create(t.Context(), "/registry/secrets/a/1", nil, 0); !errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("create: %v", err)
	}
	create(t, store, "/registry/pods/a/1", "pods need no key")
	p.set("first", false)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for store.Health(ctx) != nil {
		clock.Step(time.Minute)
		if ctx.Err() != nil {
			t.Fatal("the service's recovery was never seen")
		}
	}
	create(t, store, "/registry/secrets/a/1", "x")
}
