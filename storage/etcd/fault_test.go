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
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/etcd"
	"github.com/yare-io/yare/storage/faulttest"
)

// serveDir names the variable that makes the test binary a process with an
// embedded server in that directory, for others to kill.
const serveDir = "YARE_TEST_SERVE_DIR"

// serveUntilKilled runs an embedded server that listens on a socket.
func serveUntilKilled(dir string) {
	_, err := etcd.Open(context.Background(), etcd.Config{
		Dir: filepath.Join(dir, "data"), Listen: []string{"unix://" + filepath.Join(dir, "etcd.sock")}, CompactionInterval: -1,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	select {}
}

// child is a process with an embedded server.
type child struct {
	dir     string
	process *os.Process
	exited  chan error
}

func (c *child) start(ctx context.Context) error {
	socket := filepath.Join(c.dir, "etcd.sock")
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), serveDir+"="+c.dir)
	command.Stderr = os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, exited := make(chan error, 1), make(chan error, 1)
	go func() {
		// The child dies with the thread that started it: keep that.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		started <- command.Start()
		exited <- command.Wait()
	}()
	if err := <-started; err != nil {
		return err
	}
	c.process, c.exited = command.Process, exited
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := net.Dial("unix", socket); err == nil {
			return conn.Close()
		}
		select {
		case <-tick.C:
		case err := <-exited:
			return fmt.Errorf("the server ended: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *child) kill() error {
	if err := c.process.Kill(); err != nil {
		return err
	}
	<-c.exited
	return nil
}

func TestFaults(t *testing.T) {
	rounds, within := faulttest.Rounds(t, 6)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	dir, err := os.MkdirTemp("", "yare")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	server := &child{dir: dir}
	if err := server.start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.kill() })
	config := etcd.Config{Endpoints: []string{"unix://" + filepath.Join(dir, "etcd.sock")}, RequestTimeout: time.Second, CompactionInterval: -1}
	stores := []storage.Store{open(t, config), open(t, config)}
	for _, store := range stores {
		t.Cleanup(func() { _ = store.Close() })
	}
	err = faulttest.Run(ctx, faulttest.Config{
		Stores: stores, Rounds: rounds, Seed: uint64(time.Now().UnixNano()), Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Faults: []faulttest.Fault{
			{Name: "kill the server", Strike: func(ctx context.Context) error {
				if err := server.kill(); err != nil {
					return err
				}
				return server.start(ctx)
			}},
			{Name: "pause the server", Strike: func(ctx context.Context) error {
				if err := server.process.Signal(syscall.SIGSTOP); err != nil {
					return err
				}
				timer := time.NewTimer(1500 * time.Millisecond)
				defer timer.Stop()
				select {
				case <-timer.C:
				case <-ctx.Done():
				}
				return server.process.Signal(syscall.SIGCONT)
			}},
		},
	})
	if err != nil {
		t.Fatal(fmt.Errorf("faults: %w", err))
	}
}
