package etcd_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/etcd"
)

// crashDir names the variable that makes the test binary a writer to be killed.
const crashDir = "YARE_TEST_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		writeUntilKilled(dir)
	}
	os.Exit(m.Run())
}

// writeUntilKilled creates, updates and deletes keys, and prints a line for each
// write once it is acknowledged.
func writeUntilKilled(dir string) {
	store, err := etcd.Open(context.Background(), etcd.Config{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	start, err := store.Revision(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var print sync.Mutex
	tell := func(key, value string, revision int64) {
		print.Lock()
		defer print.Unlock()
		fmt.Printf("%s %s %d\n", key, value, revision)
	}
	var group sync.WaitGroup
	for writer := range 8 {
		group.Go(func() {
			for n := 0; ; n++ {
				key := fmt.Sprintf("/crash/%d-%d-%d", start, writer, n)
				if err := writeOne(store, key, n, tell); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
			}
		})
	}
	group.Wait()
	os.Exit(1)
}

func writeOne(store storage.Store, key string, n int, tell func(key, value string, revision int64)) error {
	ctx := context.Background()
	created, err := store.Create(ctx, key, []byte("created"), 0)
	if err != nil {
		return err
	}
	tell(key, "created", created)
	if n%3 == 0 {
		return nil
	}
	updated, err := store.Update(ctx, key, []byte("updated"), created, 0)
	if err != nil {
		return err
	}
	tell(key, "updated", updated)
	if n%3 == 1 {
		return nil
	}
	deleted, err := store.Delete(ctx, key, updated)
	if err == nil {
		tell(key, "deleted", deleted)
	}
	return err
}

func TestAcknowledgedWritesSurviveKill(t *testing.T) {
	dir := t.TempDir()
	type write struct {
		value    string
		revision int64
	}
	acknowledged := map[string]write{}
	for round := range 3 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), crashDir+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		killAt := 50 + rand.IntN(400)
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if n == killAt {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			var key string
			var w write
			// The kill may cut the last line short.
			if _, err := fmt.Sscanf(lines.Text(), "%s %s %d", &key, &w.value, &w.revision); err == nil && w.revision > acknowledged[key].revision {
				acknowledged[key] = w
			}
		}
		var exit *exec.ExitError
		if err := child.Wait(); !errors.As(err, &exit) || exit.Exited() {
			t.Fatalf("round %d: the writer ended by itself: %v", round, err)
		}
		store := open(t, etcd.Config{Dir: dir})
		result, err := store.List(t.Context(), storage.ListRequest{Prefix: "/crash/"})
		if err != nil {
			t.Fatal(err)
		}
		there := map[string]storage.KV{}
		for _, kv := range result.KVs {
			there[kv.Key] = kv
		}
		for key, want := range acknowledged {
			// What was under way when the kill came may have been written too.
			kv, ok := there[key]
			switch {
			case want.value == "deleted" && ok:
				t.Fatalf("round %d: %s was deleted at %d and is back at %d", round, key, want.revision, kv.Revision)
			case want.value == "created" && ok && kv.Revision < want.revision:
				t.Fatalf("round %d: %s is at %d, acknowledged was %d", round, key, kv.Revision, want.revision)
			case want.value == "created" && !ok:
				t.Fatalf("round %d: %s, created at %d, is lost", round, key, want.revision)
			case want.value == "updated" && ok && kv.Revision != want.revision:
				t.Fatalf("round %d: %s is at %d, acknowledged was %d", round, key, kv.Revision, want.revision)
			}
		}
		if len(acknowledged) < 20 {
			t.Fatalf("only %d keys were written", len(acknowledged))
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
