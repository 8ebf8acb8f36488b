package kubelettest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/yare-io/yare/kubelet/cri"
)

const (
	// PauseImage and AppImage are in the runtime. AppImage's entrypoint is the program in app/.
	PauseImage = "yare.test/pause:v1"
	AppImage   = "yare.test/app:v1"
	// PodCIDR is where pods get their addresses from.
	PodCIDR = "10.250.7.0/24"
)

// missing says why there is no runtime here; empty if there is one.
var missing string

// Runtime returns a client of the package's containerd, or skips the test if there is none.
func Runtime(t testing.TB) *cri.Client {
	t.Helper()
	if missing != "" {
		t.Skip("this test " + missing)
	}
	client, err := cri.Dial(Endpoint(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

// Endpoint is where the package's containerd listens.
func Endpoint() string { return "unix://" + filepath.Join(os.Getenv(insideVar), "c.sock") }

// CgroupRoot is the group below which tests make theirs; it is removed when they are over.
func CgroupRoot() string { return "/" + os.Getenv(cgroupVar) }

const configTemplate = `version = 2
root = "%[1]s/root"
state = "/run/containerd-state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
address = "%[1]s/c.sock"
[ttrpc]
address = "%[1]s/t.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "%[1]s/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "%[2]s"
restrict_oom_score_adj = true
stream_server_address = "127.0.0.1"
stream_server_port = "0"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "%[1]s/cni"
`

const cniTemplate = `{"cniVersion":"0.4.0","name":"kubelettest","plugins":[
{"type":"bridge","bridge":"kubelettest0","isGateway":true,"ipMasq":false,
"ipam":{"type":"host-local","ranges":[[{"subnet":"%s"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
{"type":"portmap","capabilities":{"portMappings":true}}]}`

// startContainerd starts the runtime with its images, and returns how to stop it.
func startContainerd() (func(), error) {
	dir := os.Getenv(insideVar)
	for name, content := range map[string]string{
		"config.toml":          fmt.Sprintf(configTemplate, dir, PauseImage),
		"cni/10-test.conflist": fmt.Sprintf(cniTemplate, PodCIDR),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	log, err := os.Create(filepath.Join(dir, "containerd.log"))
	if err != nil {
		return nil, err
	}
	daemon := exec.Command("containerd", "--config", filepath.Join(dir, "config.toml"))
	daemon.Stdout, daemon.Stderr = log, log
	if err := daemon.Start(); err != nil {
		return nil, err
	}
	stop := func() {
		_ = daemon.Process.Kill() // the namespaces end with us anyway
		_ = daemon.Wait()
		log.Close()
	}
	if err := awaitRuntime(); err != nil {
		stop()
		output, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%w\n%s", err, output)
	}
	if err := importImages(dir); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

func awaitRuntime() error {
	client, err := cri.Dial(Endpoint(), 5*time.Second)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		if _, err = client.Conditions(ctx); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("containerd did not come up: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Eventually polls the condition until it holds, and fails the test if it does not within a minute.
func Eventually(t testing.TB, what string, condition func() (bool, error)) {
	t.Helper()
	deadline := time.After(60 * time.Second)
	var last error
	for {
		ok, err := condition()
		if ok && err == nil {
			return
		}
		last = err
		select {
		case <-deadline:
			t.Fatalf("%s: not within a minute (last error: %v)", what, last)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
