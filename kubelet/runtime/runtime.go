// Package runtime turns a pod's spec into sandboxes and containers: it writes their CRI configurations, creates, starts and
// kills them, runs lifecycle hooks and reads termination messages. It refuses to decide what should run and when.
package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/dns"
	"github.com/yare-io/yare/kubelet/env"
	"github.com/yare-io/yare/kubelet/events"
	"github.com/yare-io/yare/kubelet/images"
	"github.com/yare-io/yare/kubelet/volume"
)

// Runtime makes pods run. Its fields must not change once it is used; it is safe for concurrent use.
type Runtime struct {
	CRI    *cri.Client
	Images *images.Puller
	Events events.Recorder
	Clock  clock.Clock
	Logger *slog.Logger

	NodeName string
	DNS      dns.Config
	// PodsDir holds one directory for each pod, by UID.
	PodsDir string
	// PodLogsDir holds the containers' log files; LinksDir the links to them by container (empty: none).
	PodLogsDir, LinksDir string
	// SeccompDir holds the profiles that security contexts name.
	SeccompDir string
	// MemoryCapacity is the node's memory in bytes, for out-of-memory scores.
	MemoryCapacity int64
	// LowestOOMScore is the least score that may be set here: 0 where the kernel forbids lowering it.
	LowestOOMScore int64
	// SeccompDefault confines containers that name no profile.
	SeccompDefault bool
	// CFSQuota enforces CPU limits, in periods of CFSPeriod.
	CFSQuota  bool
	CFSPeriod time.Duration
	// AllowedUnsafeSysctls are sysctl names (or prefixes ending in *) that pods may set beyond the safe ones.
	AllowedUnsafeSysctls []string
}

// Pod is a pod together with what has been prepared for it.
type Pod struct {
	*v1.Pod
	CgroupParent string
	// Volumes holds the volumes in place, by name.
	Volumes map[string]volume.Mounted
	// Groups are further groups that volumes give access by.
	Groups []int64
	Env    *env.Source
}

// StartError is why a container could not be started, with the reason that its status shows.
type StartError struct{ Reason, Message string }

func (e *StartError) Error() string { return e.Reason + ": " + e.Message }

// PodDir returns the directory of the pod with the UID.
func (r *Runtime) PodDir(uid types.UID) string { return filepath.Join(r.PodsDir, string(uid)) }

// LogDir returns the directory of the pod's logs.
func (r *Runtime) LogDir(namespace, name string, uid types.UID) string {
	return filepath.Join(r.PodLogsDir, strings.Join([]string{namespace, name, string(uid)}, "_"))
}

// CreateSandbox creates and starts a sandbox for the pod and returns its id.
func (r *Runtime) CreateSandbox(ctx context.Context, pod Pod, attempt uint32) (string, error) {
	config, err := r.sandboxConfig(pod, attempt)
	if err != nil {
		r.Events.Pod(pod.Pod, v1.EventTypeWarning, "FailedCreatePodSandBox", "Failed to create pod sandbox: %v", err)
		return "", err
	}
	if err := os.MkdirAll(config.LogDirectory, 0o755); err != nil {
		return "", fmt.Errorf("create log directory: %w", err)
	}
	handler := ""
	if class := pod.Spec.RuntimeClassName; class != nil && *class != "" {
		err := fmt.Errorf("runtime class %q: runtime classes are not supported on this node", *class)
		r.Events.Pod(pod.Pod, v1.EventTypeWarning, "FailedCreatePodSandBox", "Failed to create pod sandbox: %v", err)
		return "", err
	}
	id, err := r.CRI.RunSandbox(ctx, config, handler)
	if err != nil {
		r.Events.Pod(pod.Pod, v1.EventTypeWarning, "FailedCreatePodSandBox", "Failed to create pod sandbox: %v", err)
		return "", err
	}
	return id, nil
}

// StartContainer pulls the image, creates and starts the container and runs its postStart hook. It sees the processes of the
// container with the id target, if there is one. Errors are of type *StartError.
func (r *Runtime) StartContainer(ctx context.Context, pod Pod, c *v1.Container, restarts int, sandbox *cri.Sandbox, target string) error {
	sandboxConfig, err := r.sandboxConfig(pod, sandbox.Attempt)
	if err != nil {
		return &StartError{Reason: "CreateContainerConfigError", Message: err.Error()}
	}
	image, err := r.Images.Ensure(ctx, pod.Pod, c, sandboxConfig)
	if err != nil {
		var failure *images.Error
		if errors.As(err, &failure) {
			r.Events.Container(pod.Pod, c.Name, v1.EventTypeWarning, "Failed", "Error: %s", failure.Reason)
			return &StartError{Reason: failure.Reason, Message: failure.Message}
		}
		return &StartError{Reason: "ErrImagePull", Message: err.Error()}
	}
	config, err := r.containerConfig(ctx, pod, c, image, restarts, sandbox.IPs)
	if err != nil {
		return r.failed(pod, c, "CreateContainerConfigError", err)
	}
	if target != "" {
		namespaces := config.Linux.SecurityContext.NamespaceOptions
		namespaces.Pid, namespaces.TargetId = runtimeapi.NamespaceMode_TARGET, target
	}
	id, err := r.CRI.CreateContainer(ctx, sandbox.ID, config, sandboxConfig)
	if err != nil {
		return r.failed(pod, c, "CreateContainerError", err)
	}
	r.Events.Container(pod.Pod, c.Name, v1.EventTypeNormal, "Created", "Container created")
	if err := r.CRI.StartContainer(ctx, id); err != nil {
		return r.failed(pod, c, "RunContainerError", err)
	}
	r.Events.Container(pod.Pod, c.Name, v1.EventTypeNormal, "Started", "Container started")
	r.linkLog(pod.Pod, c.Name, id, filepath.Join(sandboxConfig.LogDirectory, config.LogPath))
	return r.postStart(ctx, pod, c, id, sandbox.IPs)
}

func (r *Runtime) failed(pod Pod, c *v1.Container, reason string, err error) error {
	message := grpcMessage(err)
	r.Events.Container(pod.Pod, c.Name, v1.EventTypeWarning, "Failed", "Error: %s", message)
	return &StartError{Reason: reason, Message: message}
}

// linkLog links the log under a name by which log collectors find it. Its failure harms nobody.
func (r *Runtime) linkLog(pod *v1.Pod, container, id, target string) {
	if r.LinksDir == "" {
		return
	}
	if err := os.Symlink(target, r.logLink(pod.Namespace, pod.Name, container, id)); err != nil && !os.IsExist(err) {
		r.Logger.Warn("a container's log could not be linked", "pod", pod.Namespace+"/"+pod.Name, "container", container, "error", err)
	}
}

func (r *Runtime) logLink(namespace, name, container, id string) string {
	base := fmt.Sprintf("%s_%s_%s-%s", name, namespace, container, id)
	return filepath.Join(r.LinksDir, base[:min(len(base), 251)]+".log")
}

// RemoveContainer removes a dead container with its log.
func (r *Runtime) RemoveContainer(ctx context.Context, pod *cri.Pod, c *cri.Container) error {
	if err := r.CRI.RemoveContainer(ctx, c.ID); err != nil {
		return fmt.Errorf("remove container %s: %w", c.ID, err)
	}
	if r.LinksDir != "" {
		os.Remove(r.logLink(pod.Namespace, pod.Name, c.Name, c.ID))
	}
	if c.LogPath == "" {
		return nil
	}
	rotated, err := filepath.Glob(c.LogPath + "*")
	if err != nil {
		return nil
	}
	for _, path := range rotated {
		os.Remove(path)
	}
	return nil
}

// RemovePod removes all sandboxes and containers of a pod that has stopped, with their logs.
func (r *Runtime) RemovePod(ctx context.Context, pod *cri.Pod) error {
	for _, c := range pod.Containers {
		if err := r.RemoveContainer(ctx, pod, c); err != nil {
			return err
		}
	}
	for _, s := range pod.Sandboxes {
		if err := r.CRI.RemoveSandbox(ctx, s.ID); err != nil {
			return fmt.Errorf("remove sandbox %s: %w", s.ID, err)
		}
	}
	if pod.Name == "" {
		return nil
	}
	return os.RemoveAll(r.LogDir(pod.Namespace, pod.Name, pod.UID))
}

func namespaceOptions(pod *v1.Pod) *runtimeapi.NamespaceOption {
	options := &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER}
	if pod.Spec.HostNetwork {
		options.Network = runtimeapi.NamespaceMode_NODE
	}
	if pod.Spec.HostIPC {
		options.Ipc = runtimeapi.NamespaceMode_NODE
	}
	switch {
	case pod.Spec.HostPID:
		options.Pid = runtimeapi.NamespaceMode_NODE
	case pod.Spec.ShareProcessNamespace != nil && *pod.Spec.ShareProcessNamespace:
		options.Pid = runtimeapi.NamespaceMode_POD
	}
	return options
}
