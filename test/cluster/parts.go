package cluster

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/yare-io/yare/cmd/yare/containerd"
	"github.com/yare-io/yare/cmd/yare/pki"
)

// NewParts prepares a host on which the parts of a cluster are started one by
// one, as an administrator would: nothing runs yet but what Start starts.
func NewParts(t testing.TB, host *Host) *Node {
	t.Helper()
	return newNode(t, host)
}

// Part is a program that runs on a host.
type Part struct {
	node    *Node
	name    string
	command *exec.Cmd
	ended   chan error
}

// StartPart starts a part of Kubernetes through a link of its name to the yare
// binary, or another program by its path. It ends with the test.
func (n *Node) StartPart(name string, args ...string) *Part {
	n.t.Helper()
	path := name
	if !filepath.IsAbs(name) {
		path = n.link(name)
	}
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.t.Fatal(err)
	}
	defer log.Close()
	p := &Part{node: n, name: name, command: n.Command(context.Background(), path, args...), ended: make(chan error, 1)}
	p.command.Stdout, p.command.Stderr = log, log
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.command.Start(); err != nil {
		n.t.Fatal(err)
	}
	go func() { p.ended <- p.command.Wait() }()
	n.t.Cleanup(p.Stop)
	return p
}

func (n *Node) link(name string) string {
	n.t.Helper()
	path := filepath.Join(n.DataDir, "bin", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		n.t.Fatal(err)
	}
	if err := os.Symlink(Binary(n.t, "yare"), path); err != nil && !os.IsExist(err) {
		n.t.Fatal(err)
	}
	return path
}

// Stop ends the part as a supervisor would, and fails the test if it does not
// end well.
func (p *Part) Stop() {
	if p.command == nil {
		return
	}
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.ended:
		if code := p.command.ProcessState.ExitCode(); err != nil && code != -1 {
			p.node.t.Errorf("%s ended with %v", p.name, err)
		}
	case <-time.After(stopTimeout):
		p.node.t.Errorf("%s did not stop within %s", p.name, stopTimeout)
		_ = p.command.Process.Kill()
		<-p.ended
	}
	p.command = nil
}

// Kill ends the part as a power failure would.
func (p *Part) Kill() {
	_ = p.command.Process.Kill()
	<-p.ended
	p.command = nil
}

// WriteKubeconfig writes a file by which its reader is a user of the cluster
// whose keys are given, and returns its path.
func (n *Node) WriteKubeconfig(keys *pki.Cluster, user string, groups ...string) string {
	n.t.Helper()
	pair, err := keys.CA.Ensure(keys.Dir, pki.Profile{Name: "user-" + filepath.Base(user), User: user, Groups: groups})
	if err != nil {
		n.t.Fatal(err)
	}
	file := filepath.Join(n.DataDir, filepath.Base(user)+".kubeconfig")
	if err := pki.WriteKubeconfig(file, n.URL(), user, keys.CA, pair); err != nil {
		n.t.Fatal(err)
	}
	return file
}

// StartContainerd starts a container runtime on the host, with the images that
// the build made and a bridge for pods with addresses of the range.
func (n *Node) StartContainerd(podCIDR string) (endpoint string) {
	n.t.Helper()
	conf := containerd.Config{
		Root: filepath.Join(n.DataDir, "containerd"), State: filepath.Join(n.DataDir, "run"),
		CNIConfDir: filepath.Join(n.DataDir, "cni"), CNIBinDir: "/usr/lib/cni",
		SandboxImage: "yare.local/pause:v1", Logger: slog.New(slog.DiscardHandler),
	}
	n.writeBridge(conf.CNIConfDir, podCIDR)
	n.enterOnStart("containerd")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	process, err := containerd.Start(ctx, conf)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		if err := process.Stop(); err != nil {
			n.t.Error(err)
		}
	})
	if err := process.ImportAll(ctx, filepath.Join(filepath.Dir(Binary(n.t, "yare")), "images")); err != nil {
		n.t.Fatal(err)
	}
	return process.Endpoint()
}

func (n *Node) writeBridge(dir, podCIDR string) {
	n.t.Helper()
	conflist, err := json.Marshal(map[string]any{
		"cniVersion": "1.0.0", "name": "pods",
		"plugins": []map[string]any{{
			"type": "bridge", "bridge": "pods0", "isGateway": true, "hairpinMode": true,
			"ipam": map[string]any{
				"type": "host-local", "dataDir": filepath.Join(n.DataDir, "cni-addresses"), "routes": []map[string]string{{"dst": "0.0.0.0/0"}},
				"ranges": [][]map[string]string{{{"subnet": podCIDR}}},
			},
		}},
	})
	if err != nil {
		n.t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		n.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "10-pods.conflist"), conflist, 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// enterOnStart puts a script of the program's name first in the PATH, which
// runs it in the host's network.
func (n *Node) enterOnStart(program string) {
	n.t.Helper()
	real, err := exec.LookPath(program)
	if err != nil {
		n.t.Skip(err)
	}
	dir := filepath.Join(n.DataDir, "enter")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		n.t.Fatal(err)
	}
	script := "#!/bin/sh\nexec nsenter --net=" + namespacePath(n.lan.name+"-"+n.Name) + " " + real + ` "$@"` + "\n"
	if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755); err != nil {
		n.t.Fatal(err)
	}
	n.t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}
