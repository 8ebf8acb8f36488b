package etcd_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/etcd"
)

func TestSnapshotsAreEtcdsOwnAndCanBeServed(t *testing.T) {
	source, socket := listening(t)
	var last int64
	for i := range 50 {
		revision, err := source.Create(t.Context(), fmt.Sprintf("/registry/pods/%d", i), []byte("x"), 0)
		if err != nil {
			t.Fatal(err)
		}
		last = revision
	}
	file := filepath.Join(t.TempDir(), "snapshot")
	if err := etcd.SaveSnapshot(t.Context(), etcd.Config{Endpoints: []string{"unix://" + socket}}, file); err != nil {
		t.Fatal(err)
	}
	if etcdctl, err := exec.LookPath("etcdctl"); err == nil {
		status := exec.Command(etcdctl, "snapshot", "status", file)
		status.Env = append(os.Environ(), "ETCDCTL_API=3")
		if out, err := status.CombinedOutput(); err != nil || !strings.Contains(string(out), fmt.Sprint(last)) {
			t.Errorf("etcdctl snapshot status: %v\n%s", err, out)
		}
	}
	for name, bump := range map[string]uint64{"as it was": 0, "further on": 1_000_000} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "etcd")
			if err := etcd.RestoreSnapshot(file, dir, bump, slog.New(slog.DiscardHandler)); err != nil {
				t.Fatal(err)
			}
			restored := open(t, etcd.Config{Dir: dir})
			defer restored.Close()
			result, err := restored.List(t.Context(), storage.ListRequest{Prefix: "/registry/"})
			if err != nil || len(result.KVs) != 50 {
				t.Fatalf("%d keys are back: %v", len(result.KVs), err)
			}
			if result.Revision < last+int64(bump) || bump == 0 && result.Revision > last+10 {
				t.Fatalf("the store is at %d, the snapshot was at %d", result.Revision, last)
			}
			if _, err := restored.Update(t.Context(), "/registry/pods/7", []byte("y"), result.KVs[len(result.KVs)-3].Revision, 0); err != nil {
				t.Fatalf("the restored store takes no writes: %v", err)
			}
		})
	}
}

func TestDamagedSnapshotsAreRefused(t *testing.T) {
	_, socket := listening(t)
	good := filepath.Join(t.TempDir(), "good")
	if err := etcd.SaveSnapshot(t.Context(), etcd.Config{Endpoints: []string{"unix://" + socket}}, good); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte{}, data...)
	flipped[len(flipped)/2] ^= 1
	for name, damaged := range map[string][]byte{"flipped": flipped, "short": data[:len(data)-600], "no hash": data[:len(data)-32], "empty": nil} {
		file := filepath.Join(t.TempDir(), "bad")
		if err := os.WriteFile(file, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "etcd")
		if err := etcd.RestoreSnapshot(file, dir, 0, slog.New(slog.DiscardHandler)); !errors.Is(err, etcd.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: something was restored", name)
		}
	}
}
