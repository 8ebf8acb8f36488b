package runtime

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	grpcstatus "google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/dns"
	"github.com/yare-io/yare/kubelet/env"
	"github.com/yare-io/yare/kubelet/plan"
	"github.com/yare-io/yare/kubelet/volume"
)

// containerConfig writes the CRI configuration of a container. Its errors are the user's to fix.
func (r *Runtime) containerConfig(ctx context.Context, pod Pod, c *v1.Container, image *runtimeapi.Image, restarts int, ips []string) (*runtimeapi.ContainerConfig, error) {
	source := *pod.Env
	source.Addresses.PodIPs = ips
	if pod.Spec.HostNetwork {
		source.Addresses.PodIPs = source.Addresses.HostIPs
	}
	variables, err := source.Make(ctx, c)
	if err != nil {
		return nil, err
	}
	security, err := r.security(pod, c, image)
	if err != nil {
		return nil, err
	}
	lookup := env.Lookup(variables)
	mounts, err := r.mounts(pod, c, source.Addresses.PodIPs, lookup)
	if err != nil {
		return nil, err
	}
	config := &runtimeapi.ContainerConfig{
		Metadata:   &runtimeapi.ContainerMetadata{Name: c.Name, Attempt: uint32(restarts)},
		Image:      &runtimeapi.ImageSpec{Image: image.Id, UserSpecifiedImage: c.Image},
		Command:    env.ExpandAll(c.Command, lookup),
		Args:       env.ExpandAll(c.Args, lookup),
		WorkingDir: c.WorkingDir,
		Mounts:     mounts,
		Labels:     containerLabels(pod.Pod, c.Name),
		LogPath:    filepath.Join(c.Name, strconv.Itoa(restarts)+".log"),
		Stdin:      c.Stdin, StdinOnce: c.StdinOnce, Tty: c.TTY,
		Linux: &runtimeapi.LinuxContainerConfig{Resources: r.resources(pod.Pod, c), SecurityContext: security},
	}
	for _, v := range variables {
		config.Envs = append(config.Envs, &runtimeapi.KeyValue{Key: v.Name, Value: []byte(v.Value)})
	}
	config.Annotations = annotations(pod.Pod, c, restarts)
	if c.Lifecycle != nil && c.Lifecycle.StopSignal != nil {
		config.StopSignal = runtimeapi.Signal(runtimeapi.Signal_value[string(*c.Lifecycle.StopSignal)])
	}
	return config, r.makeLogDir(pod.Pod, c.Name)
}

func (r *Runtime) makeLogDir(pod *v1.Pod, container string) error {
	return os.MkdirAll(filepath.Join(r.LogDir(pod.Namespace, pod.Name, pod.UID), container), 0o755)
}

func containerLabels(pod *v1.Pod, name string) map[string]string {
	return map[string]string{
		cri.LabelPodName: pod.Name, cri.LabelPodNamespace: pod.Namespace, cri.LabelPodUID: string(pod.UID),
		cri.LabelContainerName: name,
	}
}

func annotations(pod *v1.Pod, c *v1.Container, restarts int) map[string]string {
	a := map[string]string{
		cri.AnnotationHash:                     plan.Hash(c),
		cri.AnnotationRestartCount:             strconv.Itoa(restarts),
		cri.AnnotationTerminationMessagePath:   terminationPath(c),
		cri.AnnotationTerminationMessagePolicy: string(c.TerminationMessagePolicy),
	}
	if grace := pod.Spec.TerminationGracePeriodSeconds; grace != nil {
		a[cri.AnnotationPodGracePeriod] = strconv.FormatInt(*grace, 10)
	}
	return a
}

func terminationPath(c *v1.Container) string {
	if c.TerminationMessagePath == "" {
		return v1.TerminationMessagePathDefault
	}
	return c.TerminationMessagePath
}

// mounts lists what the container sees of the node: its volumes, its hosts file and its termination message.
func (r *Runtime) mounts(pod Pod, c *v1.Container, ips []string, lookup func(string) (string, bool)) ([]*runtimeapi.Mount, error) {
	var mounts []*runtimeapi.Mount
	taken := map[string]bool{}
	for i := range c.VolumeMounts {
		m, err := r.volumeMount(pod, c, i, lookup)
		if err != nil {
			return nil, err
		}
		mounts, taken[filepath.Clean(m.ContainerPath)] = append(mounts, m), true
	}
	if len(c.VolumeDevices) > 0 {
		return nil, fmt.Errorf("volumeDevices: block volumes are not supported on this node")
	}
	if len(ips) > 0 && !taken["/etc/hosts"] {
		path, err := r.writeHosts(pod, ips)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, &runtimeapi.Mount{ContainerPath: "/etc/hosts", HostPath: path, SelinuxRelabel: true})
	}
	path, err := r.makeTerminationLog(pod.Pod, c)
	if err != nil {
		return nil, err
	}
	return append(mounts, &runtimeapi.Mount{ContainerPath: terminationPath(c), HostPath: path, SelinuxRelabel: true}), nil
}

func (r *Runtime) volumeMount(pod Pod, c *v1.Container, index int, lookup func(string) (string, bool)) (*runtimeapi.Mount, error) {
	m := &c.VolumeMounts[index]
	place, ok := pod.Volumes[m.Name]
	if !ok {
		return nil, fmt.Errorf("volume %q of container %q is not mounted", m.Name, c.Name)
	}
	path, sub := place.Path, m.SubPath
	if m.SubPathExpr != "" {
		var err error
		if sub, err = expandStrictly(m.SubPathExpr, lookup); err != nil {
			return nil, err
		}
	}
	if sub != "" {
		var err error
		stable := filepath.Join(r.PodDir(pod.UID), "volume-subpaths", m.Name, c.Name, strconv.Itoa(index))
		if path, err = volume.BindSubPath(path, sub, stable); err != nil {
			return nil, fmt.Errorf("failed to prepare subPath for volumeMount %q of container %q: %w", m.Name, c.Name, err)
		}
	}
	mount := &runtimeapi.Mount{
		ContainerPath: m.MountPath, HostPath: path, Readonly: m.ReadOnly || place.ReadOnly, Propagation: propagation(m.MountPropagation),
		RecursiveReadOnly: m.RecursiveReadOnly != nil && *m.RecursiveReadOnly == v1.RecursiveReadOnlyEnabled,
	}
	if !filepath.IsAbs(mount.ContainerPath) {
		mount.ContainerPath = "/" + mount.ContainerPath
	}
	return mount, nil
}

// expandStrictly expands references and, unlike Expand, refuses unknown ones.
func expandStrictly(s string, lookup func(string) (string, bool)) (string, error) {
	missing := ""
	out := env.Expand(s, func(name string) (string, bool) {
		value, ok := lookup(name)
		if !ok {
			missing = name
		}
		return value, ok
	})
	if missing != "" {
		return "", fmt.Errorf("missing value for %q", missing)
	}
	return out, nil
}

func propagation(mode *v1.MountPropagationMode) runtimeapi.MountPropagation {
	if mode == nil {
		return runtimeapi.MountPropagation_PROPAGATION_PRIVATE
	}
	switch *mode {
	case v1.MountPropagationHostToContainer:
		return runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
	case v1.MountPropagationBidirectional:
		return runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL
	}
	return runtimeapi.MountPropagation_PROPAGATION_PRIVATE
}

func (r *Runtime) writeHosts(pod Pod, ips []string) (string, error) {
	hostname, domain, err := r.DNS.Hostname(pod.Pod, r.NodeName)
	if err != nil {
		return "", err
	}
	nodeHosts := ""
	if pod.Spec.HostNetwork {
		data, err := os.ReadFile("/etc/hosts")
		if err != nil && !os.IsNotExist(err) {
			return "", err
		}
		nodeHosts = string(data)
	}
	path := filepath.Join(r.PodDir(pod.UID), "etc-hosts")
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return "", err
	}
	if err := os.WriteFile(path, []byte(dns.Hosts(pod.Pod, ips, hostname, domain, nodeHosts)), 0o644); err != nil {
		return "", fmt.Errorf("write hosts file: %w", err)
	}
	return path, os.Chmod(path, 0o644)
}

func (r *Runtime) makeTerminationLog(pod *v1.Pod, c *v1.Container) (string, error) {
	dir := filepath.Join(r.PodDir(pod.UID), "containers", c.Name)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	path := filepath.Join(dir, rand.String(8))
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		return "", fmt.Errorf("create termination log: %w", err)
	}
	return path, os.Chmod(path, 0o666) // any user of the container may write it, whatever our umask
}

// grpcMessage strips the gRPC wrapping from an error of the runtime.
func grpcMessage(err error) string {
	if s, ok := grpcstatus.FromError(err); ok {
		return strings.TrimSpace(s.Message())
	}
	return err.Error()
}
