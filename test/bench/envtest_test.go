package bench

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/yare-io/yare/cmd/yare/pki"
	"github.com/yare-io/yare/test/cluster"
)

// BenchmarkEnvtest measures the API server of `yare envtest install` as test
// suites start and stop it: from the start of the process until /readyz
// answers, and from SIGTERM, with a connection open, until it has ended.
func BenchmarkEnvtest(b *testing.B) {
	assets, keys := b.TempDir(), b.TempDir()
	if out, err := exec.Command(cluster.Binary(b, "yare"), "envtest", "install", assets).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	if _, err := pki.LoadSigningKey(keys, "sa"); err != nil {
		b.Fatal(err)
	}
	var starting, stopping time.Duration
	for b.Loop() {
		started, stopped := envtestOnce(b, assets, keys)
		starting, stopping = starting+started, stopping+stopped
	}
	b.ReportMetric(starting.Seconds()*1e3/float64(b.N), "ms/start")
	b.ReportMetric(stopping.Seconds()*1e3/float64(b.N), "ms/stop")
}

func envtestOnce(b *testing.B, assets, keys string) (starting, stopping time.Duration) {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := listener.Addr().String()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		b.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		b.Fatal(err)
	}
	server := exec.Command(filepath.Join(assets, "kube-apiserver"),
		"--bind-address=127.0.0.1", "--secure-port="+port, "--cert-dir="+b.TempDir(), "--etcd-servers=http://127.0.0.1:1",
		"--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount",
		"--service-account-key-file="+filepath.Join(keys, "sa.pub"), "--service-account-signing-key-file="+filepath.Join(keys, "sa.key"),
		"--service-account-issuer=https://127.0.0.1/")
	server.Stderr = os.Stderr
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	begun := time.Now()
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	err = wait.PollUntilContextTimeout(b.Context(), time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		answer, err := client.Get("https://" + address + "/readyz")
		if err != nil {
			return false, nil // not listening yet
		}
		return answer.StatusCode == http.StatusOK, answer.Body.Close()
	})
	starting = time.Since(begun)
	begun = time.Now()
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		b.Error(err)
	}
	if err := server.Wait(); err != nil {
		b.Error(err)
	}
	stopping = time.Since(begun)
	if err != nil {
		b.Fatal(err)
	}
	return starting, stopping
}
