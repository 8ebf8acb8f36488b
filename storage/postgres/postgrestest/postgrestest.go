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
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/yare-io/yare/storage/faulttest/process"
)

// Server is a PostgreSQL server that the test owns. Its methods may not be
// called concurrently, except URL and Schema.
type Server struct {
	dir, bin   string
	credential *syscall.Credential
	settings   []string

	process *process.Process
	// orphans are what a killed server has left behind, for a moment.
	orphans []int

	mu      sync.Mutex
	schemas int
}

// startTimeout is for a server on a busy machine.
const startTimeout = time.Minute

// Main runs a package's tests with one server for all, or skips none and
// passes nil when PostgreSQL is not installed: New then skips.
func Main(m *testing.M, share func(*Server)) int {
	dir, err := shortDir()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	server, err := start(dir)
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
	dir, err := shortDir()
	if err != nil {
		tb.Fatal(err)
	}
	return NewIn(tb, dir, settings...)
}

// NewIn starts a server for one test in a directory, which is removed in the end.
func NewIn(tb testing.TB, dir string, settings ...string) *Server {
	tb.Helper()
	server, err := start(dir, settings...)
	if errors.Is(err, exec.ErrNotFound) {
		tb.Skip("PostgreSQL is not installed")
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(server.remove)
	return server
}

// shortDir is a new directory, with a path that leaves room for a socket's.
func shortDir() (string, error) { return os.MkdirTemp("", "yare-pg") }

// URL of the database, with the schema of that name first in the search path,
// or the default one when it is empty.
func (s *Server) URL(schema string) string { return URLAt(schema, s.dir) }

// URLAt is the URL of a schema where there is a server's socket, or the sockets
// of several servers, in one of some directories.
func URLAt(schema string, dirs ...string) string {
	query := url.Values{"host": {strings.Join(dirs, ",")}, "user": {"postgres"}}
	if schema != "" {
		query.Set("search_path", schema)
	}
	return "postgres:///postgres?" + query.Encode()
}

// Dir is where the server has its socket and its data.
func (s *Server) Dir() string { return s.dir }

// Socket is the name of the socket of a server in a directory.
func Socket(dir string) string { return filepath.Join(dir, ".s.PGSQL.5432") }

// Exec runs a statement as the owner of everything.
func (s *Server) Exec(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, s.URL(""))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
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
	s.orphans, _ = s.children()
	return s.process.Kill()
}

// Crash ends the server as the loss of its machine does: all of its processes stop
// before any can notice.
func (s *Server) Crash() error {
	if err := s.Pause(); err != nil {
		return err
	}
	children, err := s.children()
	if err != nil {
		return err
	}
	for _, child := range children {
		_ = syscall.Kill(child, syscall.SIGKILL)
	}
	return s.Kill()
}

// children are the processes of the server but the first.
func (s *Server) children() ([]int, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", s.process.Pid, s.process.Pid))
	if err != nil {
		return nil, err
	}
	var pids []int
	for field := range strings.FieldsSeq(string(data)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// Pause stops the server's processes where they are, until Resume.
func (s *Server) Pause() error { return s.signalAll(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Server) Resume() error { return s.signalAll(syscall.SIGCONT) }

// signalAll signals the process group of the server, and the groups of its
// children, each of which has its own.
func (s *Server) signalAll(signal syscall.Signal) error {
	children, err := s.children()
	if err != nil {
		return err
	}
	if err := s.process.Signal(signal); err != nil {
		return err
	}
	for _, child := range children {
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

func start(dir string, settings ...string) (*Server, error) {
	s, err := prepare(dir, settings...)
	if err == nil {
		err = s.initialize()
	}
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		(&Server{dir: dir}).remove()
		return nil, err
	}
	return s, nil
}

// prepare makes a directory fit for a server, which refuses to run as root.
func prepare(dir string, settings ...string) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, bin: bin, settings: settings}
	if os.Getuid() != 0 {
		return s, nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(account.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(account.Gid)
	if err != nil {
		return nil, err
	}
	s.credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return s, os.Chown(dir, uid, gid)
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

// initialize makes an empty cluster.
func (s *Server) initialize() error {
	command := s.command("initdb", "--pgdata", s.data(), "--username", "postgres", "--auth", "trust", "--no-sync", "--encoding", "UTF8", "--locale", "C", "--wal-segsize", "1")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(name string, args ...string) *exec.Cmd {
	command := exec.Command(filepath.Join(s.bin, name), args...)
	command.Dir = s.dir
	command.SysProcAttr = &syscall.SysProcAttr{Credential: s.credential}
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
	if s.process, err = process.Start(command); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
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
		case exit := <-s.process.Exited:
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("postgres ended: %w\n%s", exit, log)
		case <-ctx.Done():
			return fmt.Errorf("postgres does not answer: %w", err)
		case <-tick.C:
		}
	}
}
