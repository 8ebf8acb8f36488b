package server_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"
)

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pemOfKey(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf("EC PRIVATE KEY", der)
}

// executors are the two ways in which kubectl starts a stream.
func executors(t *testing.T, config *rest.Config, path string) map[string]remotecommand.Executor {
	t.Helper()
	target, err := url.Parse(config.Host + path)
	if err != nil {
		t.Fatal(err)
	}
	websocket, err := remotecommand.NewWebSocketExecutor(config, http.MethodGet, target.String())
	if err != nil {
		t.Fatal(err)
	}
	spdy, err := remotecommand.NewSPDYExecutor(config, http.MethodPost, target)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]remotecommand.Executor{"WebSocket": websocket, "SPDY": spdy}
}

func TestExecConnectsAllStreams(t *testing.T) {
	f := startForAdmin(t)
	for name, executor := range executors(t, f.config(t, admin), "/exec/default/web/main?command=cat&input=1&output=1") {
		var out bytes.Buffer
		input := strings.Repeat("all of it\n", 10_000)
		err := executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader(input), Stdout: &out})
		if err != nil || out.String() != input {
			t.Errorf("%s: %v, %d bytes of %d", name, err, out.Len(), len(input))
		}
	}
}

func TestExecReportsTheExitCode(t *testing.T) {
	f := startForAdmin(t)
	for name, executor := range executors(t, f.config(t, admin), "/exec/default/web/main?command=fail&output=1&error=1") {
		var out, errs bytes.Buffer
		err := executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: &out, Stderr: &errs})
		var exit utilexec.CodeExitError
		if !errors.As(err, &exit) || exit.Code != 3 || errs.String() != "broken" {
			t.Errorf("%s: %v, stderr %q", name, err, errs.String())
		}
	}
}

type sizes chan remotecommand.TerminalSize

func (s sizes) Next() *remotecommand.TerminalSize {
	size, ok := <-s
	if !ok {
		return nil
	}
	return &size
}

func TestExecTellsTheSizeOfTheTerminal(t *testing.T) {
	f := startForAdmin(t)
	for name, executor := range executors(t, f.config(t, admin), "/exec/default/web/main?command=size&input=1&output=1&tty=1") {
		queue := make(sizes, 1)
		queue <- remotecommand.TerminalSize{Width: 120, Height: 40}
		close(queue)
		var out bytes.Buffer
		in, hold := io.Pipe()
		err := executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: in, Stdout: &out, Tty: true, TerminalSizeQueue: queue})
		hold.Close()
		if err != nil || out.String() != "120x40" {
			t.Errorf("%s: %v, %q", name, err, out.String())
		}
	}
}

func TestAttachConnectsToTheContainer(t *testing.T) {
	f := startForAdmin(t)
	for name, executor := range executors(t, f.config(t, admin), "/attach/default/web/main?input=1&output=1") {
		var out bytes.Buffer
		err := executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader("hello"), Stdout: &out})
		if err != nil || out.String() != "hello" {
			t.Errorf("%s: %v, %q", name, err, out.String())
		}
	}
}

func TestStreamsAreRefusedBeforeTheyBegin(t *testing.T) {
	f := startForAdmin(t)
	for path, want := range map[string]int{
		"/exec/default/web/main?command=cat&output=1":       http.StatusBadRequest, // no upgrade
		"/exec/default/web/main?command=cat":                http.StatusBadRequest, // no stream
		"/exec/default/web/main?output=1":                   http.StatusBadRequest, // no command
		"/exec/default/web/main?command=x&output=7x":        http.StatusBadRequest,
		"/exec/default/web/nobody?command=cat&output=1":     http.StatusNotFound,
		"/exec/default/web/late?command=cat&output=1":       http.StatusNotFound,
		"/exec/default/web/uid-2/main?command=cat&output=1": http.StatusNotFound,
		"/attach/default/nobody/main?output=1":              http.StatusNotFound,
		"/portForward/default/nobody":                       http.StatusNotFound,
		"/portForward/default/web?port=99999":               http.StatusBadRequest,
	} {
		if code, body := f.do(t, admin, http.MethodPost, path); code != want {
			t.Errorf("%s: %d %s, want %d", path, code, body, want)
		}
	}
}

func TestPortForwardReachesThePort(t *testing.T) {
	f := startForAdmin(t)
	config := f.config(t, admin)
	target, _ := url.Parse(f.address + "/portForward/default/web")
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		t.Fatal(err)
	}
	tunnel, err := portforward.NewSPDYOverWebsocketDialerForStreaming(target, config)
	if err != nil {
		t.Fatal(err)
	}
	for name, dialer := range map[string]httpstream.Dialer{
		"SPDY":      spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, target),
		"WebSocket": tunnel,
	} {
		t.Run(name, func(t *testing.T) { forward(t, dialer) })
	}
}

func forward(t *testing.T, dialer httpstream.Dialer) {
	stop, ready := make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.NewForStreaming(dialer, []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- forwarder.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0].Local))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "ping")
	reply := make([]byte, len("8080:ping"))
	if _, err := io.ReadFull(conn, reply); err != nil || string(reply) != "8080:ping" {
		t.Errorf("%q, %v", reply, err)
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
