package containerd

import (
	"os"
	"strings"
	"text/template"
)

// Plugins that a node of ours never uses; each left out saves start-up time.
var configuration = template.Must(template.New("containerd").Parse(`version = 2
root = "{{.Root}}"
state = "{{.State}}/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = "{{.Socket}}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{{.Root}}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{{.SandboxImage}}"
  restrict_oom_score_adj = {{.RestrictOOMScore}}
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{{.CNIBinDir}}"
    conf_dir = "{{.CNIConfDir}}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
`))

func writeConfiguration(file string, config Config) error {
	var text strings.Builder
	err := configuration.Execute(&text, struct {
		Config
		RestrictOOMScore bool
	}{config, !mayLowerOOMScore()})
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text.String()), 0o600)
}

// mayLowerOOMScore reports whether this process may make others less likely to
// be killed for memory, which takes CAP_SYS_RESOURCE.
func mayLowerOOMScore() bool {
	const self = "/proc/self/oom_score_adj"
	before, err := os.ReadFile(self)
	if err != nil {
		return false
	}
	if os.WriteFile(self, []byte("-1"), 0) != nil {
		return false
	}
	return os.WriteFile(self, before, 0) == nil
}
