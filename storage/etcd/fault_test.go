package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/etcd"
	"github.com/yare-io/yare/storage/faulttest"
	"github.com/yare-io/yare/storage/faulttest/process"
)

// serveDir names the variable that makes the test binary a process with an
// embedded server in that directory, for others to kill.
const serveDir = "YARE_TEST_SERVE_DIR"

// serveUntilKilled runs an embedded server that listens on a socket.
func serveUntilKilled(dir string) {
	_, err := etcd.Open(context.Background(), etcd.Config{
		Dir: filepath.Join(dir, "data"), Listen: []string{"unix://" + filepath.Join(dir, "etcd.sock")}, CompactionInterval: -1,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	select {}
}

// child is a process with an embedded server.
type child struct {
	*process.Process
	dir string
}

// newChild starts one in a directory whose path is short enough for a socket.
func newChild(t *testing.T, dir string) *child {
	t.Helper()
	c := &child{dir: dir}
	if err := c.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Kill() })
	return c
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "yare")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (c *child) socket() string { return filepath.Join(c.dir, "etcd.sock") }

func (c *child) start(ctx context.Context) error {
	if err := os.Remove(c.socket()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), serveDir+"="+c.dir)
	command.Stderr = os.Stderr
	var err error
	if c.Process, err = process.Start(command); err != nil {
		return err
	}
	return awaitListener(ctx, c.Process, func() (net.Conn, error) { return net.Dial("unix", c.socket()) })
}

// restart starts the server again after it has been killed or has given up.
func (c *child) restart(ctx context.Context) error { return errors.Join(c.Kill(), c.start(ctx)) }

// awaitListener waits until a process listens.
func awaitListener(ctx context.Context, p *process.Process, dial func() (net.Conn, error)) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := dial(); err == nil {
			return conn.Close()
		}
		select {
		case <-tick.C:
		case err := <-p.Exited:
			return fmt.Errorf("the server ended: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// openPatiently opens a store whose requests may be too impatient for a busy
// machine.
func openPatiently(t *testing.T, config etcd.Config) storage.Store {
	t.Helper()
	var store storage.Store
	eventually(t, "the store opens", func() (opened bool) {
		var err error
		store, err = etcd.Open(t.Context(), config)
		return err == nil
	})
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// faultTimeout is how long the clients of the tests under faults wait.
const faultTimeout = 200 * time.Millisecond

// lanes are how many servers of their own faults strike at once: most faults are
// a time in which little is done.
const lanes = 2

func TestFaults(t *testing.T) {
	for lane := range lanes {
		t.Run(fmt.Sprintf("lane %d", lane), func(t *testing.T) {
			t.Parallel()
			faults(t)
		})
	}
}

func faults(t *testing.T) {
	plan := faulttest.CI(t)
	ctx, cancel := context.WithTimeout(t.Context(), plan.Within())
	defer cancel()
	server := newChild(t, shortDir(t))
	way := unixLink(t, server.socket())
	config := etcd.Config{Endpoints: []string{"unix://" + way.Addr()}, RequestTimeout: faultTimeout, CompactionInterval: -1}
	stores := []storage.Store{openPatiently(t, config), openPatiently(t, config)}
	direct := etcd.Config{Endpoints: []string{"unix://" + server.socket()}, RequestTimeout: faultTimeout}
	compact := faulttest.Compactor(stores[0])
	saved := filepath.Join(t.TempDir(), "snapshot")
	// killDuring kills the server a moment after something has begun there.
	killDuring := func(begin func(context.Context) error) func(context.Context) error {
		var moment time.Duration
		return func(ctx context.Context) error {
			result := make(chan error, 1)
			go func() { result <- begin(ctx) }()
			moment = (moment + 700*time.Microsecond) % (10 * time.Millisecond)
			err := faulttest.Hold(ctx, moment, func() error { return nil }, func() error { return server.restart(ctx) })
			return errors.Join(err, <-result)
		}
	}
	save := func(ctx context.Context) error {
		if err := etcd.SaveSnapshot(ctx, direct, saved); err == nil {
			return etcd.CheckSnapshot(saved)
		}
		if _, err := os.Stat(saved); err == nil {
			return etcd.CheckSnapshot(saved) // an older one, untouched
		}
		return nil
	}
	err := faulttest.Run(ctx, faulttest.Config{
		Stores: stores, Plan: plan, Seed: uint64(time.Now().UnixNano()), Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Faults: append(faulttest.Network(way, faultTimeout),
			faulttest.Fault{Name: "kill the server", Strike: server.restart},
			faulttest.Fault{Name: "compact", Strike: compact},
			faulttest.Fault{Name: "kill the server while it compacts", Strike: killDuring(compact)},
			faulttest.Fault{Name: "kill the server while it takes a snapshot", Strike: killDuring(save)},
			faulttest.Fault{Name: "pause the server", Strike: func(ctx context.Context) error {
				return faulttest.Hold(ctx, faultTimeout+faultTimeout/4, server.Pause, server.Resume)
			}},
		),
	})
	if err != nil {
		t.Fatal(fmt.Errorf("faults: %w", err))
	}
}
