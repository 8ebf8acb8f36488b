package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/etcd"
	"github.com/yare-io/yare/storage/faulttest"
)

// TestFullDisk fills the file system under a server and makes room again. A
// server that cannot write to its disk ends, as it must not acknowledge; what it
// had acknowledged is there when it starts again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	plan := faulttest.CI(t)
	plan.For /= 2
	ctx, cancel := context.WithTimeout(t.Context(), plan.Within())
	defer cancel()
	dir := shortDir(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=300m"); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	server := newChild(t, dir)
	config := etcd.Config{Endpoints: []string{"unix://" + server.socket()}, RequestTimeout: faultTimeout, CompactionInterval: -1}
	stores := []storage.Store{openPatiently(t, config), openPatiently(t, config)}
	ended := 0
	err := faulttest.Run(ctx, faulttest.Config{
		Stores: stores, Plan: plan, Seed: uint64(time.Now().UnixNano()), Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Faults: []faulttest.Fault{{Name: "fill the disk", Strike: func(ctx context.Context) error {
			ballast := filepath.Join(dir, "ballast")
			if err := faulttest.Fill(ballast); err != nil {
				return err
			}
			// The server feels it once its database needs a page more.
			limit := time.NewTimer(5 * time.Second)
			defer limit.Stop()
			select {
			case <-server.Exited:
				ended++
			case <-limit.C:
			case <-ctx.Done():
			}
			return errors.Join(os.Remove(ballast), server.restart(ctx))
		}}},
	})
	if err != nil {
		t.Fatal(fmt.Errorf("full disk: %w", err))
	}
	if ended == 0 {
		t.Error("the full disk never was felt")
	}
}
