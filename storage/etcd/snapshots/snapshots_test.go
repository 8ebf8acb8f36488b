package snapshots_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/storage/etcd/snapshots"
)

func directory(t *testing.T) (*snapshots.Dir, *testclock.FakeClock) {
	clock := testclock.NewFakeClock(time.Date(2026, 1, 1, 0, 30, 0, 0, time.UTC))
	dir := &snapshots.Dir{Path: filepath.Join(t.TempDir(), "snapshots"), Clock: clock}
	dir.Save = func(_ context.Context, file string) error {
		if err := os.WriteFile(file, []byte("data"), 0o600); err != nil {
			return err
		}
		return os.Chtimes(file, clock.Now(), clock.Now())
	}
	return dir, clock
}

func TestPruneKeepsTheNewestOfItsPrefix(t *testing.T) {
	dir, clock := directory(t)
	var names []string
	for _, prefix := range []string{"auto", "mine", "auto", "auto"} {
		taken, err := dir.Take(t.Context(), prefix)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, taken.Name)
		clock.Step(time.Minute)
	}
	removed, err := dir.Prune("auto", 2)
	if err != nil || len(removed) != 1 || removed[0].Name != names[0] {
		t.Fatalf("pruned %v: %v", removed, err)
	}
	left, err := dir.List("")
	if err != nil || len(left) != 3 || left[0].Name != names[3] || left[2].Name != names[1] {
		t.Fatalf("left %v: %v", left, err)
	}
	if _, err := dir.Prune("auto", 0); err == nil {
		t.Fatal("all snapshots were given up")
	}
}

func TestNamesStayInTheDirectory(t *testing.T) {
	dir, _ := directory(t)
	for _, prefix := range []string{"", "../x", "a/b", "/x", ".hidden"} {
		if _, err := dir.Take(t.Context(), prefix); err == nil {
			t.Errorf("%q was accepted", prefix)
		}
	}
}

func TestScheduleTakesAndPrunes(t *testing.T) {
	dir, clock := directory(t)
	failed := make(chan struct{}, 1)
	save, fail := dir.Save, true
	dir.Save = func(ctx context.Context, file string) error {
		if fail {
			fail = false
			failed <- struct{}{}
			return errors.New("the disk is full")
		}
		return save(ctx, file)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- dir.Run(ctx, snapshots.Schedule{Cron: "0 * * * *", Prefix: "auto", Keep: 2}) }()
	var last string
	for seen := 0; seen < 4; {
		if !clock.HasWaiters() {
			continue
		}
		clock.Step(30 * time.Minute)
		all, err := dir.List("auto")
		if err != nil {
			t.Fatal(err)
		}
		if len(all) > 0 && all[0].Name != last {
			last = all[0].Name
			seen++
		}
		if ctx.Err() != nil {
			t.Fatal("no snapshots in time")
		}
	}
	<-failed
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if all, err := dir.List("auto"); err != nil || len(all) > 3 {
		t.Fatalf("%d snapshots are left: %v", len(all), err)
	}
	if err := dir.Run(t.Context(), snapshots.Schedule{Cron: "often", Keep: 1}); err == nil {
		t.Fatal("a schedule that makes no sense was accepted")
	}
}
