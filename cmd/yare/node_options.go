package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/yare-io/yare/cmd/yare/addresses"
)

// nodeOptions are the flags that say what kind of node this machine is.
type nodeOptions struct {
	name, ip        string
	labels          map[string]string
	taints          []string
	runtimeEndpoint string
	cgroupRoot      string
	podLogDir       string
	kubeletPort     int32
	healthPort      int32
	proxyHealth     string
	proxyMetrics    string
	eviction        evictionOptions
	hollow          bool

	dataDir string
}

func (o *nodeOptions) add(flags *pflag.FlagSet) {
	flags.StringVar(&o.name, "node-name", "", "name of this node (default: the host name)")
	flags.StringVar(&o.ip, "node-ip", "", "address of this node (default: this machine's)")
	flags.StringToStringVar(&o.labels, "node-labels", nil, "labels for this node")
	flags.StringSliceVar(&o.taints, "node-taints", nil, "taints for this node when it registers, as key=value:effect")
	flags.StringVar(&o.runtimeEndpoint, "container-runtime-endpoint", "", "CRI socket of the container runtime, as unix:///run/crio/crio.sock (default: a containerd of Yare's own)")
	flags.StringVar(&o.cgroupRoot, "cgroup-root", "/", "control group below which the pods' groups are made")
	flags.StringVar(&o.podLogDir, "pod-log-dir", "/var/log/pods", "where the containers' output is kept")
	flags.Int32Var(&o.kubeletPort, "kubelet-port", 10250, "port of the node's own HTTPS API")
	flags.Int32Var(&o.healthPort, "healthz-port", 10248, "port of the kubelet's health check, on loopback; 0, or --hollow-node, for none")
	flags.StringVar(&o.proxyHealth, "healthz-bind-address", "0.0.0.0:10256", "where kube-proxy's health is served, for load balancers; empty for nowhere")
	flags.StringVar(&o.proxyMetrics, "metrics-bind-address", "127.0.0.1:10249", "where kube-proxy's metrics are served; empty for nowhere")
	o.eviction.add(flags)
	flags.BoolVar(&o.hollow, "hollow-node", false, "pretend to run pods, in memory: needs neither root nor a container runtime")
}

func (o *nodeOptions) complete(dataDir string) error {
	o.dataDir = dataDir
	if o.name == "" {
		name, err := os.Hostname()
		if err != nil {
			return err
		}
		o.name = strings.ToLower(name)
	}
	if o.ip == "" {
		address, err := addresses.Host()
		if err != nil {
			return err
		}
		o.ip = address.String()
	}
	if o.hollow {
		o.podLogDir = filepath.Join(dataDir, "pod-logs")
		o.healthPort = 0 // many fit on one machine
	}
	return nil
}

// imageDirs are the folders whose archives are imported: beside the binary,
// where the build puts them, and in the data dir.
func (o *nodeOptions) imageDirs() []string {
	dirs := []string{filepath.Join(o.dataDir, "images")}
	if binary, err := os.Executable(); err == nil {
		dirs = append([]string{filepath.Join(filepath.Dir(binary), "images")}, dirs...)
	}
	return dirs
}

// containerLinks is where logs are linked to by their containers' names, for
// those who collect them: beside the usual place of the logs.
func (o *nodeOptions) containerLinks() string {
	return filepath.Join(filepath.Dir(o.podLogDir), "containers")
}
