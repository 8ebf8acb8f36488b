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
	if dir := os.Getenv(serveDir); dir != "" {
		serveUntilKilled(dir)
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

// write is the last that was acknowledged of a key.
type write struct {
	value    string
	revision int64
}

func TestAcknowledgedWritesSurviveKill(t *testing.T) {
	dir := t.TempDir()
	acknowledged := map[string]write{}
	for round := range 3 {
		runWriter(t, dir, 50+rand.IntN(400), acknowledged)
		if len(acknowledged) < 20 {
			t.Fatalf("only %d keys were written", len(acknowledged))
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
			kv, ok := there[key]
			if wrong := lost(want, kv, ok); wrong != "" {
				t.Fatalf("round %d: %s was %s at %d and is %s", round, key, want.value, want.revision, wrong)
			}
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// runWriter starts a writer, kills it after so many acknowledgements, and notes
// them.
func runWriter(t *testing.T, dir string, killAt int, acknowledged map[string]write) {
	t.Helper()
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
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		if n == killAt {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		var key string
		var w write
		// A line is one short write to the pipe, so the kill cuts none in two.
		if _, err := fmt.Sscanf(lines.Text(), "%s %s %d", &key, &w.value, &w.revision); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		if w.revision > acknowledged[key].revision {
			acknowledged[key] = w
		}
	}
	var exit *exec.ExitError
	if err := child.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("the writer ended by itself: %v", err)
	}
}

// lost says how what is there contradicts the last acknowledged write. The write
// after it may have happened too: its answer was under way when the kill came.
func lost(want write, kv storage.KV, ok bool) string {
	switch {
	case want.value == "deleted" && ok:
		return fmt.Sprintf("back at %d", kv.Revision)
	case want.value == "created" && !ok:
		return "gone"
	case want.value == "created" && kv.Revision < want.revision:
		return fmt.Sprintf("at %d", kv.Revision)
	case want.value == "updated" && ok && kv.Revision != want.revision:
		return fmt.Sprintf("at %d", kv.Revision)
	}
	return ""
}
