// Package postgrestest runs PostgreSQL servers for tests: real ones, each in a
// directory of its own, on a unix socket and nothing else, gone with the test.
package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a PostgreSQL server that the test owns. Its methods may not be
// called concurrently, except URL and Schema.
type Server struct {
	dir, bin   string
	credential *syscall.Credential
	settings   []string

	process *os.Process
	exited  chan error

	mu      sync.Mutex
	schemas int
}

// startTimeout is for a server on a busy machine.
const startTimeout = time.Minute

// Main runs a package's tests with one server for all, or skips none and
// passes nil when PostgreSQL is not installed: New then skips.
func Main(m *testing.M, share func(*Server)) int {
	server, err := start()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		share(nil)
		return m.Run()
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer server.remove()
	share(server)
	return m.Run()
}

// New starts a server for one test, with settings as postgres -c takes them.
func New(tb testing.TB, settings ...string) *Server {
	tb.Helper()
	server, err := start(settings...)
	if errors.Is(err, exec.ErrNotFound) {
		tb.Skip("PostgreSQL is not installed")
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(server.remove)
	return server
}

// URL of the database, with the schema of that name first in the search path,
// or the default one when it is empty.
func (s *Server) URL(schema string) string {
	query := url.Values{"host": {s.dir}, "user": {"postgres"}}
	if schema != "" {
		query.Set("search_path", schema)
	}
	return "postgres:///postgres?" + query.Encode()
}

// Schema is the URL of a schema that nobody else has.
func (s *Server) Schema() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.schemas++
	return s.URL(fmt.Sprintf("test_%d", s.schemas))
}

// Kill ends the server as a crash does. Its children notice and go too.
func (s *Server) Kill() error {
	if err := s.process.Kill(); err != nil {
		return err
	}
	<-s.exited
	return nil
}

// Pause stops the server's processes where they are, until Resume.
func (s *Server) Pause() error { return s.signalAll(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Server) Resume() error { return s.signalAll(syscall.SIGCONT) }

// signalAll signals the process group of the server, and the groups of its
// children, each of which has its own.
func (s *Server) signalAll(signal syscall.Signal) error {
	pid := s.process.Pid
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, signal); err != nil {
		return err
	}
	for field := range strings.FieldsSeq(string(data)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			return err
		}
		// A child may have ended meanwhile.
		if err := syscall.Kill(child, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// Start starts a server that was killed, and returns when it answers.
func (s *Server) Start() error {
	// After a crash a child may hold the shared memory for another moment.
	deadline := time.Now().Add(startTimeout)
	for {
		err := s.launch()
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

func start(settings ...string) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	// A socket's path is short.
	dir, err := os.MkdirTemp("", "yare-pg")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, bin: bin, settings: settings}
	if err := s.initialize(); err != nil {
		s.remove()
		return nil, err
	}
	if err := s.Start(); err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

func (s *Server) remove() {
	if s.process != nil {
		_ = s.Resume()
		_ = s.Kill()
	}
	_ = os.RemoveAll(s.dir)
}

// binaries finds where Debian, or the path, has PostgreSQL's server.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	path, err := exec.LookPath("postgres")
	return filepath.Dir(path), err
}

// initialize makes an empty cluster. The server refuses to run as root.
func (s *Server) initialize() error {
	if os.Getuid() == 0 {
		account, err := user.Lookup("postgres")
		if err != nil {
			return err
		}
		uid, err := strconv.Atoi(account.Uid)
		if err != nil {
			return err
		}
		gid, err := strconv.Atoi(account.Gid)
		if err != nil {
			return err
		}
		s.credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(s.dir, uid, gid); err != nil {
			return err
		}
	}
	command := s.command("initdb", "--pgdata", s.data(), "--username", "postgres", "--auth", "trust", "--no-sync", "--encoding", "UTF8", "--locale", "C")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(name string, args ...string) *exec.Cmd {
	command := exec.Command(filepath.Join(s.bin, name), args...)
	command.Dir = s.dir
	command.SysProcAttr = &syscall.SysProcAttr{Credential: s.credential, Pdeathsig: syscall.SIGKILL}
	return command
}

// launch starts the server process and waits until it answers.
func (s *Server) launch() error {
	args := []string{"-D", s.data(), "-k", s.dir, "-c", "listen_addresses=", "-c", "max_connections=300", "-c", "fsync=off"}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	command := s.command("postgres", args...)
	command.Stdout, command.Stderr = log, log
	started, exited := make(chan error, 1), make(chan error, 1)
	go func() {
		// The server dies with the thread that started it: keep that.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		started <- command.Start()
		exited <- command.Wait()
		close(exited)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	s.process, s.exited = command.Process, exited
	return s.answers()
}

func (s *Server) answers() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.URL(""))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case exit := <-s.exited:
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("postgres ended: %w\n%s", exit, log)
		case <-ctx.Done():
			return fmt.Errorf("postgres does not answer: %w", err)
		case <-tick.C:
		}
	}
}
