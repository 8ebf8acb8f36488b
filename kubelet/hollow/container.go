package hollow

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/clock"
)

const (
	// exitStopped is what a container that was asked to stop exits with: it
	// obeys at once.
	exitStopped = 0
	// exitKilled is what one exits with whose sandbox was stopped under it.
	exitKilled = 137
)

// container is one container. Its fields are guarded by Runtime.mu.
type container struct {
	id      string
	sandbox *sandbox
	config  *runtimeapi.ContainerConfig
	state   runtimeapi.ContainerState

	created, started, finished int64
	exitCode                   int32
	// ending is the timer that ends the container by itself.
	ending clock.Timer
}

func containerName(sandbox string, m *runtimeapi.ContainerMetadata) string {
	return fmt.Sprintf("container/%s/%s/%d", sandbox, m.GetName(), m.GetAttempt())
}

// CreateContainer implements RuntimeServiceServer.
func (r *Runtime) CreateContainer(_ context.Context, request *runtimeapi.CreateContainerRequest) (*runtimeapi.CreateContainerResponse, error) {
	config := request.GetConfig()
	if config.GetMetadata().GetName() == "" {
		return nil, status.Error(codes.InvalidArgument, "a container needs metadata with a name")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sandboxes[request.GetPodSandboxId()]
	switch {
	case s == nil:
		return nil, status.Errorf(codes.NotFound, "no sandbox %s", request.GetPodSandboxId())
	case !s.ready:
		return nil, status.Errorf(codes.FailedPrecondition, "sandbox %s is not ready", s.id)
	case r.image(config.GetImage().GetImage()) == nil:
		return nil, status.Errorf(codes.NotFound, "no image %q", config.GetImage().GetImage())
	}
	name := containerName(s.id, config.Metadata)
	if other, taken := r.names[name]; taken {
		return nil, status.Errorf(codes.AlreadyExists, "%s is already there with id %s", name, other)
	}
	// Only what is shown again is kept: environments and mounts of thousands of
	// containers add up.
	c := &container{
		id: r.newID(), sandbox: s, state: runtimeapi.ContainerState_CONTAINER_CREATED, created: r.now(),
		config: &runtimeapi.ContainerConfig{
			Metadata: config.Metadata, Image: config.Image, Labels: config.Labels, Annotations: config.Annotations, LogPath: config.LogPath,
		},
	}
	r.containers[c.id], s.containers[c.id], r.names[name] = c, c, c.id
	r.notify(c.id, s, runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT)
	return &runtimeapi.CreateContainerResponse{ContainerId: c.id}, nil
}

// StartContainer implements RuntimeServiceServer.
func (r *Runtime) StartContainer(_ context.Context, request *runtimeapi.StartContainerRequest) (*runtimeapi.StartContainerResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, err := r.container(request.GetContainerId())
	if err != nil {
		return nil, err
	}
	if c.state != runtimeapi.ContainerState_CONTAINER_CREATED {
		return nil, status.Errorf(codes.FailedPrecondition, "container %s has been started before", c.id)
	}
	if err := r.writeLog(c); err != nil {
		return nil, status.Errorf(codes.Internal, "log of container %s: %v", c.id, err)
	}
	after, code, planned, err := exitPlan(c.sandbox.config.GetAnnotations())
	if err != nil {
		return nil, err
	}
	c.state, c.started = runtimeapi.ContainerState_CONTAINER_RUNNING, r.now()
	if planned && !r.closed {
		c.ending = r.clock.AfterFunc(after, func() { r.exitByItself(c, code) })
	}
	r.notify(c.id, c.sandbox, runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT)
	return &runtimeapi.StartContainerResponse{}, nil
}

func (r *Runtime) exitByItself(c *container, code int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.containers[c.id] == c && !r.closed {
		r.exit(c, code)
	}
}

// exit ends a container that runs.
func (r *Runtime) exit(c *container, code int32) {
	if c.state != runtimeapi.ContainerState_CONTAINER_RUNNING {
		return
	}
	c.cancelExit()
	c.state, c.finished, c.exitCode = runtimeapi.ContainerState_CONTAINER_EXITED, r.now(), code
	r.notify(c.id, c.sandbox, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT)
}

func (c *container) cancelExit() {
	if c.ending != nil {
		c.ending.Stop()
	}
}

// StopContainer implements RuntimeServiceServer. A container that is gone is
// stopped.
func (r *Runtime) StopContainer(_ context.Context, request *runtimeapi.StopContainerRequest) (*runtimeapi.StopContainerResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.containers[request.GetContainerId()]; c != nil {
		r.exit(c, exitStopped)
	}
	return &runtimeapi.StopContainerResponse{}, nil
}

// RemoveContainer implements RuntimeServiceServer. A container that is gone is
// removed.
func (r *Runtime) RemoveContainer(_ context.Context, request *runtimeapi.RemoveContainerRequest) (*runtimeapi.RemoveContainerResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.containers[request.GetContainerId()]; c != nil {
		r.exit(c, exitKilled)
		r.remove(c)
	}
	return &runtimeapi.RemoveContainerResponse{}, nil
}

func (r *Runtime) remove(c *container) {
	delete(r.containers, c.id)
	delete(c.sandbox.containers, c.id)
	delete(r.names, containerName(c.sandbox.id, c.config.Metadata))
	r.notify(c.id, c.sandbox, runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT)
}

// ContainerStatus implements RuntimeServiceServer.
func (r *Runtime) ContainerStatus(_ context.Context, request *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, err := r.container(request.GetContainerId())
	if err != nil {
		return nil, err
	}
	s := c.status()
	if r.config.Logs {
		s.LogPath = c.logPath()
	}
	return &runtimeapi.ContainerStatusResponse{Status: s}, nil
}

// ListContainers implements RuntimeServiceServer. The newest comes first.
func (r *Runtime) ListContainers(_ context.Context, request *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	filter := request.GetFilter()
	r.mu.Lock()
	defer r.mu.Unlock()
	candidates := r.containers
	if id := filter.GetPodSandboxId(); id != "" {
		candidates = nil
		if s := r.sandboxes[id]; s != nil {
			candidates = s.containers
		}
	}
	response := &runtimeapi.ListContainersResponse{}
	for _, c := range narrowed(candidates, filter.GetId()) {
		if filter.GetState() != nil && filter.GetState().GetState() != c.state ||
			!selects(filter.GetLabelSelector(), c.config.GetLabels()) {
			continue
		}
		response.Containers = append(response.Containers, &runtimeapi.Container{
			Id: c.id, PodSandboxId: c.sandbox.id, Metadata: c.config.Metadata, Image: c.config.Image, ImageRef: imageID(c.config.GetImage().GetImage()),
			ImageId: imageID(c.config.GetImage().GetImage()), State: c.state, CreatedAt: c.created, Labels: c.config.Labels, Annotations: c.config.Annotations,
		})
	}
	slices.SortFunc(response.Containers, func(a, b *runtimeapi.Container) int { return cmp.Compare(b.Id, a.Id) })
	return response, nil
}

// UpdateContainerResources implements RuntimeServiceServer: there is nothing
// that could exceed them.
func (r *Runtime) UpdateContainerResources(_ context.Context, request *runtimeapi.UpdateContainerResourcesRequest) (*runtimeapi.UpdateContainerResourcesResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := r.container(request.GetContainerId())
	return &runtimeapi.UpdateContainerResourcesResponse{}, err
}

// ReopenContainerLog implements RuntimeServiceServer: whoever moved the log
// finds an empty one in its place.
func (r *Runtime) ReopenContainerLog(_ context.Context, request *runtimeapi.ReopenContainerLogRequest) (*runtimeapi.ReopenContainerLogResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, err := r.container(request.GetContainerId())
	if err != nil || !r.config.Logs || c.logPath() == "" {
		return &runtimeapi.ReopenContainerLogResponse{}, err
	}
	if err := appendTo(c.logPath(), ""); err != nil {
		return nil, status.Errorf(codes.Internal, "log of container %s: %v", c.id, err)
	}
	return &runtimeapi.ReopenContainerLogResponse{}, nil
}

// container returns a container by its id, or says that there is none.
func (r *Runtime) container(id string) (*container, error) {
	if c := r.containers[id]; c != nil {
		return c, nil
	}
	return nil, status.Errorf(codes.NotFound, "no container %s", id)
}

func (c *container) status() *runtimeapi.ContainerStatus {
	image := c.config.GetImage().GetImage()
	s := &runtimeapi.ContainerStatus{
		Id: c.id, Metadata: c.config.Metadata, State: c.state, CreatedAt: c.created, StartedAt: c.started, FinishedAt: c.finished,
		ExitCode: c.exitCode, Image: c.config.Image, ImageRef: imageID(image), ImageId: imageID(image),
		Labels: c.config.Labels, Annotations: c.config.Annotations,
	}
	if c.state == runtimeapi.ContainerState_CONTAINER_EXITED {
		s.Reason = "Completed"
		if c.exitCode != 0 {
			s.Reason = "Error"
		}
	}
	return s
}

func (c *container) logPath() string {
	if c.config.GetLogPath() == "" || c.sandbox.config.GetLogDirectory() == "" {
		return ""
	}
	return filepath.Join(c.sandbox.config.GetLogDirectory(), c.config.GetLogPath())
}

// writeLog gives a container that starts something to show.
func (r *Runtime) writeLog(c *container) error {
	path := c.logPath()
	if !r.config.Logs || path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	return appendTo(path, fmt.Sprintf("%s stdout F hollow container %s runs nothing\n",
		r.clock.Now().UTC().Format(time.RFC3339Nano), c.config.Metadata.Name))
}

func appendTo(path, text string) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	if _, err := file.WriteString(text); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}
