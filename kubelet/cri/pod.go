package cri

import (
	"cmp"
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Pod is what the runtime holds of one pod.
type Pod struct {
	UID             types.UID
	Name, Namespace string
	Sandboxes       []*Sandbox   // newest first
	Containers      []*Container // newest first
}

// Sandbox is one sandbox of a pod.
type Sandbox struct {
	ID          string
	Attempt     uint32
	Ready       bool
	CreatedAt   time.Time
	IPs         []string // empty for host network, and for sandboxes that are not ready
	Annotations map[string]string
	Handler     string
}

// Container is one container of a pod, alive or dead.
type Container struct {
	ID, Name, SandboxID              string
	State                            runtimeapi.ContainerState
	Image, ImageRef                  string
	CreatedAt, StartedAt, FinishedAt time.Time
	ExitCode                         int32
	Reason, Message                  string
	LogPath                          string
	Hash                             string
	RestartCount                     int
	TerminationMessagePath           string // on the host; empty if none was mounted
	TerminationMessagePolicy         string
	User                             *runtimeapi.ContainerUser
	Resources                        *runtimeapi.ContainerResources
}

// Running says whether the container runs.
func (c *Container) Running() bool {
	return c != nil && c.State == runtimeapi.ContainerState_CONTAINER_RUNNING
}

// Exited says whether the container ran and ended.
func (c *Container) Exited() bool {
	return c != nil && c.State == runtimeapi.ContainerState_CONTAINER_EXITED
}

// Newest returns the latest container of that name, or nil.
func (p *Pod) Newest(name string) *Container {
	for _, c := range p.Containers {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// NewestIn returns the latest container of that name in one sandbox, or nil.
func (p *Pod) NewestIn(sandboxID, name string) *Container {
	for _, c := range p.Containers {
		if c.Name == name && c.SandboxID == sandboxID {
			return c
		}
	}
	return nil
}

// Container returns the container with the id, or nil.
func (p *Pod) Container(id string) *Container {
	for _, c := range p.Containers {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// ReadySandbox returns the newest sandbox if it is ready, else nil.
func (p *Pod) ReadySandbox() *Sandbox {
	if len(p.Sandboxes) == 0 || !p.Sandboxes[0].Ready {
		return nil
	}
	return p.Sandboxes[0]
}

// Alive says whether a container of the pod may be running.
func (p *Pod) Alive() bool {
	return slices.ContainsFunc(p.Containers, func(c *Container) bool { return !c.Exited() })
}

// Pod reads what the runtime holds of the pod. Known may be an earlier answer: what cannot have changed since is
// taken from it instead of asked again.
func (c *Client) Pod(ctx context.Context, uid types.UID, known *Pod) (*Pod, error) {
	labels := map[string]string{LabelPodUID: string(uid)}
	sandboxes, err := c.ListSandboxes(ctx, labels)
	if err != nil {
		return nil, err
	}
	containers, err := c.ListContainers(ctx, labels)
	if err != nil {
		return nil, err
	}
	pod := &Pod{UID: uid}
	for _, s := range sandboxes {
		pod.Name, pod.Namespace = s.Labels[LabelPodName], s.Labels[LabelPodNamespace]
		sandbox, err := c.readSandbox(ctx, s, known)
		if err != nil {
			return nil, err
		}
		pod.Sandboxes = append(pod.Sandboxes, sandbox)
	}
	for _, item := range containers {
		container, err := c.readContainer(ctx, item, known)
		if IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		pod.Containers = append(pod.Containers, container)
	}
	slices.SortStableFunc(pod.Sandboxes, func(a, b *Sandbox) int { return b.CreatedAt.Compare(a.CreatedAt) })
	slices.SortStableFunc(pod.Containers, func(a, b *Container) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.RestartCount, a.RestartCount))
	})
	return pod, nil
}

func (c *Client) readSandbox(ctx context.Context, item *runtimeapi.PodSandbox, known *Pod) (*Sandbox, error) {
	sandbox := &Sandbox{
		ID:          item.Id,
		Attempt:     item.Metadata.GetAttempt(),
		Ready:       item.State == runtimeapi.PodSandboxState_SANDBOX_READY,
		CreatedAt:   time.Unix(0, item.CreatedAt),
		Annotations: item.Annotations,
		Handler:     item.RuntimeHandler,
	}
	if !sandbox.Ready {
		return sandbox, nil
	}
	if known != nil {
		for _, old := range known.Sandboxes {
			if old.ID == sandbox.ID && old.Ready {
				return old, nil
			}
		}
	}
	status, err := c.SandboxStatus(ctx, item.Id)
	if IsNotFound(err) {
		sandbox.Ready = false
		return sandbox, nil
	}
	if err != nil {
		return nil, err
	}
	sandbox.IPs = sandboxIPs(status)
	return sandbox, nil
}

func sandboxIPs(status *runtimeapi.PodSandboxStatus) []string {
	if status.Linux.GetNamespaces().GetOptions().GetNetwork() == runtimeapi.NamespaceMode_NODE || status.Network.GetIp() == "" {
		return nil
	}
	ips := []string{status.Network.Ip}
	for _, extra := range status.Network.AdditionalIps {
		ips = append(ips, extra.Ip)
	}
	return ips
}

func (c *Client) readContainer(ctx context.Context, item *runtimeapi.Container, known *Pod) (*Container, error) {
	if known != nil {
		if old := known.Container(item.Id); old != nil && old.State == item.State {
			return old, nil
		}
	}
	status, err := c.ContainerStatus(ctx, item.Id)
	if err != nil {
		return nil, err
	}
	container := &Container{
		ID:                       item.Id,
		Name:                     item.Labels[LabelContainerName],
		SandboxID:                item.PodSandboxId,
		State:                    status.State,
		Image:                    status.Image.GetImage(),
		ImageRef:                 cmp.Or(status.ImageId, status.ImageRef),
		CreatedAt:                unixNano(status.CreatedAt),
		StartedAt:                unixNano(status.StartedAt),
		FinishedAt:               unixNano(status.FinishedAt),
		ExitCode:                 status.ExitCode,
		Reason:                   status.Reason,
		Message:                  status.Message,
		LogPath:                  status.LogPath,
		Hash:                     item.Annotations[AnnotationHash],
		RestartCount:             intAnnotation(item.Annotations, AnnotationRestartCount),
		TerminationMessagePolicy: item.Annotations[AnnotationTerminationMessagePolicy],
		User:                     status.User,
		Resources:                status.Resources,
	}
	path := item.Annotations[AnnotationTerminationMessagePath]
	for _, mount := range status.Mounts {
		if path != "" && mount.ContainerPath == path {
			container.TerminationMessagePath = mount.HostPath
		}
	}
	return container, nil
}

func unixNano(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}
