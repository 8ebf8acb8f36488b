package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/rest"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	remotecommandserver "k8s.io/cri-streaming/pkg/streaming/remotecommand"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	utilexec "k8s.io/utils/exec"

	"github.com/yare-io/yare/kubelet/server"
	"github.com/yare-io/yare/kubelet/server/auth"
)

// authority is a certificate authority made for a test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{}
	a.certificate, a.key = sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil)
	return a
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

func (a *authority) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	certificate, key := sign(t, &x509.Certificate{
		Subject:     pkix.Name{CommonName: name, Organization: []string{"testers"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, a)
	return tls.Certificate{Certificate: [][]byte{certificate.Raw}, PrivateKey: key}
}

func sign(t *testing.T, template *x509.Certificate, by *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

// fixture is a running kubelet server with one pod, "web" in "default", whose
// container "main" runs on a real CRI streaming server.
type fixture struct {
	address string
	node    *node
	ca      *authority
	stop    func() error
}

// start runs a server that lets in the holders of certificates and tokens of
// the names in may ("user verb subresource").
func start(t *testing.T, may ...string) *fixture {
	t.Helper()
	f := &fixture{node: newNode(t), ca: newAuthority(t, "test")}
	allowed := map[string]bool{}
	for _, one := range may {
		allowed[one] = true
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Config{
		Backend: f.node, NodeName: "n1", Listener: listener, Configz: map[string]any{"maxPods": 110},
		TLS:           &tls.Config{Certificates: []tls.Certificate{f.ca.issue(t, "n1")}, ClientAuth: tls.RequestClientCert},
		Authenticator: auth.NewAuthenticator(auth.Authenticators{ClientCAs: f.ca.pool}),
		Authorizer: authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
			if a.GetResource() == "nodes" && a.GetName() == "n1" && allowed[a.GetUser().GetName()+" "+a.GetVerb()+" "+a.GetSubresource()] {
				return authorizer.DecisionAllow, "", nil
			}
			return authorizer.DecisionNoOpinion, "not in the list", nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	f.address = "https://" + listener.Addr().String()
	f.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := f.stop(); err != nil {
			t.Error(err)
		}
	})
	return f
}

const admin = "admin"

func startForAdmin(t *testing.T) *fixture {
	return start(t, "admin get proxy", "admin create proxy", "admin get metrics", "admin get stats")
}

// config is how client-go reaches the kubelet as a user.
func (f *fixture) config(t *testing.T, who string) *rest.Config {
	certificate := f.ca.issue(t, who)
	return &rest.Config{Host: f.address, TLSClientConfig: rest.TLSClientConfig{
		CAData: pemOf("CERTIFICATE", f.ca.certificate.Raw), CertData: pemOf("CERTIFICATE", certificate.Certificate[0]),
		KeyData: pemOfKey(t, certificate.PrivateKey.(*ecdsa.PrivateKey)),
	}}
}

// do asks as a user; an empty name has no certificate.
func (f *fixture) do(t *testing.T, who, method, path string) (int, string) {
	t.Helper()
	config := &tls.Config{RootCAs: f.ca.pool()}
	if who != "" {
		config.Certificates = []tls.Certificate{f.ca.issue(t, who)}
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), method, f.address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// node is a backend over a real CRI streaming server, in whose containers the
// commands of exec are answered by Go code.
type node struct {
	pod       *corev1.Pod
	logPath   string
	streaming streaming.Server
	health    error

	mu      sync.Mutex
	running bool
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{logPath: filepath.Join(t.TempDir(), "0.log"), running: true}
	n.pod = &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "uid-1"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main"}, {Name: "late"}}},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Name: "main", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
			{Name: "late", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}},
		}},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := streaming.DefaultConfig
	config.BaseURL = &url.URL{Scheme: "http", Host: listener.Addr().String()}
	config.Addr = listener.Addr().String()
	if n.streaming, err = streaming.NewServer(config, container{}); err != nil {
		t.Fatal(err)
	}
	httpServer := &http.Server{Handler: n.streaming, ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() { defer close(served); _ = httpServer.Serve(listener) }()
	t.Cleanup(func() { httpServer.Close(); <-served })
	return n
}

func (n *node) Pods() []*corev1.Pod { return []*corev1.Pod{n.pod} }

func (n *node) ContainerID(_ context.Context, pod types.UID, name string, previous bool) (string, error) {
	if pod != n.pod.UID || name != "main" || previous {
		return "", fmt.Errorf("container %s: %w", name, server.ErrNotFound)
	}
	return "c1", nil
}

func (n *node) Container(context.Context, string) (server.ContainerState, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return server.ContainerState{LogPath: n.logPath, Running: n.running}, nil
}

func (n *node) end() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.running = false
}

func (n *node) Exec(_ context.Context, id string, command []string, s server.Streams) (*url.URL, error) {
	response, err := n.streaming.GetExec(&runtimeapi.ExecRequest{
		ContainerId: id, Cmd: command, Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr, Tty: s.TTY,
	})
	if err != nil {
		return nil, err
	}
	return url.Parse(response.Url)
}

func (n *node) Attach(_ context.Context, id string, s server.Streams) (*url.URL, error) {
	response, err := n.streaming.GetAttach(&runtimeapi.AttachRequest{
		ContainerId: id, Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr, Tty: s.TTY,
	})
	if err != nil {
		return nil, err
	}
	return url.Parse(response.Url)
}

func (n *node) PortForward(_ context.Context, _ types.UID, ports []int32) (*url.URL, error) {
	response, err := n.streaming.GetPortForward(&runtimeapi.PortForwardRequest{PodSandboxId: "s1", Port: ports})
	if err != nil {
		return nil, err
	}
	return url.Parse(response.Url)
}

func (n *node) Run(_ context.Context, _ string, command []string, _ time.Duration) (server.RunResult, error) {
	if command[0] == "false" {
		return server.RunResult{Stderr: []byte("no\n"), ExitCode: 1}, nil
	}
	return server.RunResult{Stdout: []byte(strings.Join(command, " ") + "\n")}, nil
}

func (n *node) Summary(context.Context) (*stats.Summary, error) {
	cpu, memory := uint64(2_500_000_000), uint64(4096)
	at := metav1.NewTime(time.Unix(1_800_000_000, 0))
	return &stats.Summary{
		Node: stats.NodeStats{NodeName: "n1", CPU: &stats.CPUStats{Time: at, UsageCoreNanoSeconds: &cpu}},
		Pods: []stats.PodStats{{
			PodRef:     stats.PodReference{Name: "web", Namespace: "default"},
			Network:    &stats.NetworkStats{Time: at, InterfaceStats: stats.InterfaceStats{Name: "eth0", RxBytes: &memory}},
			Containers: []stats.ContainerStats{{Name: "main", Memory: &stats.MemoryStats{Time: at, WorkingSetBytes: &memory}}},
		}},
	}, nil
}

func (n *node) Healthy() error { return n.health }

// container answers commands: "cat" copies stdin to stdout, "fail" writes to
// stderr and exits with 3, "size" prints the first size of the terminal.
type container struct{}

func (container) Exec(_ context.Context, _ string, command []string, in io.Reader, out, errs io.WriteCloser, _ bool, resize <-chan remotecommandserver.TerminalSize) error {
	switch command[0] {
	case "cat":
		_, err := io.Copy(out, in)
		return err
	case "fail":
		fmt.Fprint(errs, "broken")
		return utilexec.CodeExitError{Err: fmt.Errorf("exit 3"), Code: 3}
	case "size":
		size := <-resize
		fmt.Fprintf(out, "%dx%d", size.Width, size.Height)
	case "forever":
		_, _ = io.Copy(io.Discard, in)
	}
	return nil
}

func (container) Attach(_ context.Context, _ string, in io.Reader, out, _ io.WriteCloser, _ bool, _ <-chan remotecommandserver.TerminalSize) error {
	_, err := io.Copy(out, in)
	return err
}

func (container) PortForward(_ context.Context, _ string, port int32, stream io.ReadWriteCloser) error {
	fmt.Fprintf(stream, "%d:", port)
	_, err := io.Copy(stream, stream)
	return err
}

func writeLog(t *testing.T, path, content string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(content); err != nil {
		t.Fatal(err)
	}
}
