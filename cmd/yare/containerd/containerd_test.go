package containerd

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func start(t *testing.T, config Config) *Process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p, err := Start(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func testConfig(t *testing.T) Config {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("containerd needs root")
	}
	if _, err := exec.LookPath("containerd"); err != nil {
		t.Skip("containerd is not installed: scripts/install-node.sh installs it")
	}
	// Not t.TempDir: the path of a socket has at most 107 bytes.
	dir, err := os.MkdirTemp("", "yare-ctrd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return Config{
		Root: filepath.Join(dir, "root"), State: filepath.Join(dir, "run"),
		CNIConfDir: filepath.Join(dir, "cni"), CNIBinDir: "/usr/lib/cni",
		SandboxImage: "yare.local/pause:v1", Logger: slog.New(slog.DiscardHandler),
	}
}

func archive(t *testing.T, folder, tag string) {
	t.Helper()
	ref, err := name.NewTag(tag)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, strings.NewReplacer("/", "-", ":", "-").Replace(tag)+".tar")
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH})
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(file, ref, image); err != nil {
		t.Fatal(err)
	}
}

func images(t *testing.T, p *Process) string {
	t.Helper()
	out, err := exec.Command("ctr", "--address", p.Socket(), "--namespace", "k8s.io", "images", "list", "-q").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestImportsNewArchivesOnly(t *testing.T) {
	p := start(t, testConfig(t))
	folder := t.TempDir()
	archive(t, folder, "yare.local/one:v1")
	if err := p.ImportAll(context.Background(), folder, filepath.Join(folder, "absent")); err != nil {
		t.Fatal(err)
	}
	archive(t, folder, "yare.local/two:v1")
	if err := p.ImportAll(context.Background(), folder); err != nil {
		t.Fatal(err)
	}
	if got := images(t, p); !strings.Contains(got, "yare.local/one:v1") || !strings.Contains(got, "yare.local/two:v1") {
		t.Errorf("images are %q", got)
	}
	// Passing over an archive that is no image any more shows that it is not read again.
	file := filepath.Join(folder, "yare.local-one-v1.tar")
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, make([]byte, before.Size()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, before.ModTime(), before.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := p.ImportAll(context.Background(), folder); err != nil {
		t.Errorf("an unchanged archive was read again: %v", err)
	}
}

func TestStopEndsTheProcessAndFreesTheSocket(t *testing.T) {
	config := testConfig(t)
	p := start(t, config)
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("unix", config.Socket()); err == nil {
		conn.Close()
		t.Error("the socket still answers")
	}
	start(t, config)
}

// A server that was killed leaves its containerd dying: the next one must not
// take that for its own.
func TestAPredecessorIsGoneBeforeItsSuccessorAnswers(t *testing.T) {
	config := testConfig(t)
	old := start(t, config)
	next := start(t, config)
	select {
	case <-old.ended:
	default:
		t.Error("two containerds run with one configuration")
	}
	left, err := running(filepath.Join(config.Root, "config.toml"))
	if err != nil || len(left) != 1 || left[0] != next.command.Process.Pid {
		t.Errorf("running: %v, %v; want %d", left, err, next.command.Process.Pid)
	}
	images(t, next) // it answers
}

func TestADeathIsReported(t *testing.T) {
	p := start(t, testConfig(t))
	if err := p.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := p.Wait(ctx); err == nil {
		t.Error("Wait did not say that containerd died")
	}
}
