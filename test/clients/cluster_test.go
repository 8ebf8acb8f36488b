// Package clients drives a server by clients that are not of this project: those
// that generators make of its OpenAPI documents, and the official ones of other
// languages. Independent validators read the documents too.
package clients

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cluster is a control plane with a definition of widgets in it.
type cluster struct {
	url, token string
	// authority is the PEM file of who vouches for the server.
	authority string
	// documents is a directory with all OpenAPI documents: v2/ and v3/.
	documents string

	dir  string
	http *http.Client
}

// start runs the control plane that `make build` made until the test ends.
func start(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{dir: t.TempDir()}
	port := freePort(t)
	c.url = "https://127.0.0.1:" + port
	log, err := os.Create(filepath.Join(c.dir, "log"))
	must(t, err)
	server := exec.Command("../../bin/yare", "server", "--disable-agent", "--storage-backend=memory", "--data-dir="+filepath.Join(c.dir, "data"),
		"--bind-address=127.0.0.1", "--advertise-address=192.0.2.1", "--secure-port="+port)
	server.Stdout, server.Stderr = log, log
	must(t, server.Start())
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil || t.Failed() {
			content, _ := os.ReadFile(log.Name())
			t.Errorf("the server ended with %v\n%s", err, content[max(0, len(content)-4000):])
		}
		_ = log.Close()
	})
	eventually(t, func() error {
		_, err := c.kubectl("get", "--raw", "/readyz")
		return err
	})
	c.populate(t)
	return c
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	must(t, err)
	return port
}

// populate makes what the clients need: a definition, and an account that may
// do everything.
func (c *cluster) populate(t *testing.T) {
	t.Helper()
	c.must(t, "apply", "-f", "testdata/cluster.yaml")
	c.must(t, "wait", "--for=condition=Established", "crd/widgets.clients.yare.test", "--timeout=20s")
	c.must(t, "wait", "--for=create", "serviceaccount/default", "--timeout=20s")
	c.token = c.must(t, "create", "token", "clients")
	encoded := c.must(t, "config", "view", "--raw", "-o", "jsonpath={.clusters[0].cluster.certificate-authority-data}")
	pem, err := base64.StdEncoding.DecodeString(encoded)
	must(t, err)
	c.authority = filepath.Join(c.dir, "ca.pem")
	must(t, os.WriteFile(c.authority, pem, 0o600))
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("the kubeconfig has no authority")
	}
	c.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: 30 * time.Second}
}

// get fetches a path, which has to be there.
func (c *cluster) get(t *testing.T, path string) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url+path, nil)
	must(t, err)
	request.Header.Set("Authorization", "Bearer "+c.token)
	response, err := c.http.Do(request)
	must(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %.400s", path, response.Status, body)
	}
	return body
}

func (c *cluster) kubectl(args ...string) (string, error) {
	command := exec.Command("../../bin/kubectl", append([]string{"--kubeconfig=" + filepath.Join(c.dir, "data", "kubeconfig"), "--server=" + c.url}, args...)...)
	var out, problems bytes.Buffer
	command.Stdout, command.Stderr = &out, &problems
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, problems.String())
	}
	return strings.TrimSpace(out.String()), nil
}

func (c *cluster) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.kubectl(args...)
	must(t, err)
	return out
}

// run runs a program that talks to the cluster, and fails the test when it
// fails.
func (c *cluster) run(t *testing.T, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, name, args...)
	command.Env = append(os.Environ(), "YARE_URL="+c.url, "YARE_TOKEN="+c.token, "YARE_CA="+c.authority, "NODE_EXTRA_CA_CERTS="+c.authority, "YARE_DOCUMENTS="+c.documents)
	began := time.Now()
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	t.Logf("%s %s: %.1f s", filepath.Base(name), args[0], time.Since(began).Seconds())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls until check succeeds.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 30*time.Second, errors.New("not in time"))
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%v: %v", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}
