package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const stopTimeout = 30 * time.Second

// Node is a host with a yare process on it.
type Node struct {
	*Host
	// DataDir is where the process keeps everything.
	DataDir string

	t       testing.TB
	args    []string
	command *exec.Cmd
	ended   chan error
}

// NewServer is a host on which Start starts `yare server`.
func NewServer(t testing.TB, host *Host, extra ...string) *Node {
	t.Helper()
	n := newNode(t, host)
	n.args = append([]string{"server", "--advertise-address=" + host.Address.String()}, append(n.common(), extra...)...)
	return n
}

// StartServer starts `yare server` on a host and returns once it is ready.
func StartServer(t testing.TB, host *Host, extra ...string) *Node {
	t.Helper()
	n := NewServer(t, host, extra...)
	n.Start()
	n.WaitReady()
	return n
}

// StartAgent starts `yare agent` on a host, joined to a server.
func StartAgent(t testing.TB, host *Host, server *Node, extra ...string) *Node {
	t.Helper()
	n := newNode(t, host)
	token, hash := server.joinSecrets()
	n.args = append([]string{"agent", "--server=" + server.URL(), "--token=" + token, "--ca-cert-hash=" + hash}, append(n.common(), extra...)...)
	n.Start()
	return n
}

func newNode(t testing.TB, host *Host) *Node {
	t.Helper()
	// Not t.TempDir: sockets live below it, and their paths have at most 107 bytes.
	dir, err := os.MkdirTemp("", "yare-")
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{Host: host, DataDir: dir, t: t}
	t.Cleanup(n.remove)
	return n
}

// EvictNothing is a kubelet's flag that leaves a node without pressure.
const EvictNothing = "--eviction-hard=memory.available<1Mi"

func (n *Node) common() []string {
	return []string{
		"--data-dir=" + n.DataDir,
		"--node-name=" + n.Name,
		"--node-ip=" + n.Address.String(),
		"--cgroup-root=" + n.CgroupRoot(),
		"--pod-log-dir=" + filepath.Join(n.DataDir, "pod-logs"),
		// However full the machine is that the test runs on.
		EvictNothing,
	}
}

// URL is where the API server of this node answers.
func (n *Node) URL() string { return "https://" + n.Address.String() + ":6443" }

// Kubeconfig is the administrator's file.
func (n *Node) Kubeconfig() string { return filepath.Join(n.DataDir, "kubeconfig") }

func (n *Node) joinSecrets() (token, hash string) {
	n.t.Helper()
	data, err := os.ReadFile(filepath.Join(n.DataDir, "join"))
	if err != nil {
		n.t.Fatal(err)
	}
	fields := strings.Fields(string(data))
	if len(fields) != 2 {
		n.t.Fatalf("the join file has %d words, want token and hash", len(fields))
	}
	return fields[0], fields[1]
}

// Start starts the process, again after Stop or Kill.
func (n *Node) Start() {
	n.t.Helper()
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.t.Fatal(err)
	}
	defer log.Close()
	n.command = n.Command(context.Background(), Binary(n.t, "yare"), n.args...)
	n.command.Stdout, n.command.Stderr = log, log
	n.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := n.command.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.ended = make(chan error, 1)
	go func(c *exec.Cmd, ended chan<- error) { ended <- c.Wait() }(n.command, n.ended)
}

// Kill ends the process as a power failure would.
func (n *Node) Kill() {
	n.t.Helper()
	if err := n.command.Process.Kill(); err != nil {
		n.t.Fatal(err)
	}
	<-n.ended
	n.command = nil
}

// Stop ends the process as Ctrl-C would, and fails the test if it does not end
// well.
func (n *Node) Stop() {
	n.t.Helper()
	if n.command == nil {
		return
	}
	_ = n.command.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-n.ended:
		if err != nil {
			n.t.Errorf("yare on %s ended with %v\n%s", n.Name, err, n.logTail())
		}
	case <-time.After(stopTimeout):
		n.t.Errorf("yare on %s did not stop within %s", n.Name, stopTimeout)
		_ = n.command.Process.Signal(syscall.SIGQUIT)
		<-n.ended
	}
	n.command = nil
}

// WaitEnded waits until the process has ended by itself with an error, and fails
// the test if its log does not have the reason.
func (n *Node) WaitEnded(reason string) {
	n.t.Helper()
	select {
	case err := <-n.ended:
		n.command = nil
		if log := n.logTail(); err == nil || !strings.Contains(log, reason) {
			n.t.Errorf("yare on %s ended with %v\n%s", n.Name, err, log)
		}
	case <-time.After(stopTimeout):
		n.t.Fatalf("yare on %s goes on", n.Name)
	}
}

// PID is the process's id.
func (n *Node) PID() int { return n.command.Process.Pid }

// WaitReady waits until the API server says it is ready.
func (n *Node) WaitReady() {
	n.t.Helper()
	n.Eventually(30*time.Second, func(ctx context.Context) error {
		select {
		case err := <-n.ended:
			n.t.Fatalf("yare on %s ended: %v\n%s", n.Name, err, n.logTail())
		default:
		}
		config, err := n.config()
		if err != nil {
			return err
		}
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			return err
		}
		return client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// Client is a client-go client of the administrator.
func (n *Node) Client() kubernetes.Interface {
	n.t.Helper()
	client, err := kubernetes.NewForConfig(n.Config())
	if err != nil {
		n.t.Fatal(err)
	}
	return client
}

// Config is the administrator's, dialling from the host.
func (n *Node) Config() *rest.Config {
	n.t.Helper()
	config, err := n.config()
	if err != nil {
		n.t.Fatal(err)
	}
	return config
}

func (n *Node) config() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", n.Kubeconfig())
	if err != nil {
		return nil, err
	}
	config.Dial = n.DialContext
	config.QPS = -1 // a limiter would hide the last error of Eventually
	return config, nil
}

// Kubectl runs the real client on the host and returns what it printed.
func (n *Node) Kubectl(args ...string) (string, error) {
	return n.KubectlInput("", args...)
}

// KubectlInput does the same with a text on standard input.
func (n *Node) KubectlInput(input string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := n.Command(ctx, Binary(n.t, "kubectl"), append([]string{"--kubeconfig=" + n.Kubeconfig()}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, problems.String())
	}
	return out.String(), nil
}

// MustKubectl fails the test when kubectl does.
func (n *Node) MustKubectl(args ...string) string {
	n.t.Helper()
	out, err := n.Kubectl(args...)
	if err != nil {
		n.t.Fatalf("%v\n%s", err, n.logTail())
	}
	return out
}

// Eventually polls until check returns nil, and fails the test with its last
// error when it does not within the time.
func (n *Node) Eventually(within time.Duration, check func(context.Context) error) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		if !errors.Is(err, context.DeadlineExceeded) || last == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			n.t.Fatalf("not within %s: %v\n%s", within, last, n.logTail())
		case <-tick.C:
		}
	}
}

func (n *Node) logFile() string { return filepath.Join(n.DataDir, "yare.log") }

func (n *Node) logTail() string {
	data, err := os.ReadFile(n.logFile())
	if err != nil {
		return err.Error()
	}
	const most = 6000
	if len(data) > most {
		data = data[len(data)-most:]
	}
	return fmt.Sprintf("--- last of %s's log:\n%s", n.Name, data)
}

// Reset removes all that the node left on its host: containers, mounts, rules.
func (n *Node) Reset() {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	args := []string{"reset", "--data-dir=" + n.DataDir, "--cgroup-root=" + n.CgroupRoot()}
	if out, err := n.Command(ctx, Binary(n.t, "yare"), args...).CombinedOutput(); err != nil {
		n.t.Errorf("yare reset on %s: %v: %s", n.Name, err, out)
	}
}

func (n *Node) remove() {
	if n.t.Failed() {
		n.t.Log(n.logTail())
	}
	if n.command != nil {
		n.Stop()
	}
	n.Reset()
	if err := os.RemoveAll(n.DataDir); err != nil {
		n.t.Error(err)
	}
}

// Binary is the path of a program that `make build` made.
func Binary(t testing.TB, name string) string {
	t.Helper()
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("cannot tell where the sources are")
	}
	path := filepath.Join(filepath.Dir(here), "..", "..", "bin", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run make build first", err)
	}
	return path
}
