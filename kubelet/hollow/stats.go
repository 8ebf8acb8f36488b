package hollow

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Containers without a process use what annotations say; all other figures are
// zero.

// ContainerStats implements RuntimeServiceServer.
func (r *Runtime) ContainerStats(_ context.Context, request *runtimeapi.ContainerStatsRequest) (*runtimeapi.ContainerStatsResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, err := r.container(request.GetContainerId())
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ContainerStatsResponse{Stats: r.containerStats(c)}, nil
}

// ListContainerStats implements RuntimeServiceServer.
func (r *Runtime) ListContainerStats(_ context.Context, request *runtimeapi.ListContainerStatsRequest) (*runtimeapi.ListContainerStatsResponse, error) {
	filter := request.GetFilter()
	r.mu.Lock()
	defer r.mu.Unlock()
	response := &runtimeapi.ListContainerStatsResponse{}
	for _, c := range narrowed(r.containers, filter.GetId()) {
		if c.state == runtimeapi.ContainerState_CONTAINER_RUNNING &&
			(filter.GetPodSandboxId() == "" || filter.GetPodSandboxId() == c.sandbox.id) &&
			selects(filter.GetLabelSelector(), c.config.GetLabels()) {
			response.Stats = append(response.Stats, r.containerStats(c))
		}
	}
	return response, nil
}

// PodSandboxStats implements RuntimeServiceServer.
func (r *Runtime) PodSandboxStats(_ context.Context, request *runtimeapi.PodSandboxStatsRequest) (*runtimeapi.PodSandboxStatsResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sandboxes[request.GetPodSandboxId()]
	if s == nil {
		return nil, status.Errorf(codes.NotFound, "no sandbox %s", request.GetPodSandboxId())
	}
	return &runtimeapi.PodSandboxStatsResponse{Stats: r.sandboxStats(s)}, nil
}

// ListPodSandboxStats implements RuntimeServiceServer.
func (r *Runtime) ListPodSandboxStats(_ context.Context, request *runtimeapi.ListPodSandboxStatsRequest) (*runtimeapi.ListPodSandboxStatsResponse, error) {
	filter := request.GetFilter()
	r.mu.Lock()
	defer r.mu.Unlock()
	response := &runtimeapi.ListPodSandboxStatsResponse{}
	for _, s := range narrowed(r.sandboxes, filter.GetId()) {
		if s.ready && selects(filter.GetLabelSelector(), s.config.GetLabels()) {
			response.Stats = append(response.Stats, r.sandboxStats(s))
		}
	}
	return response, nil
}

// ListMetricDescriptors implements RuntimeServiceServer.
func (r *Runtime) ListMetricDescriptors(context.Context, *runtimeapi.ListMetricDescriptorsRequest) (*runtimeapi.ListMetricDescriptorsResponse, error) {
	return &runtimeapi.ListMetricDescriptorsResponse{}, nil
}

// ListPodSandboxMetrics implements RuntimeServiceServer.
func (r *Runtime) ListPodSandboxMetrics(context.Context, *runtimeapi.ListPodSandboxMetricsRequest) (*runtimeapi.ListPodSandboxMetricsResponse, error) {
	return &runtimeapi.ListPodSandboxMetricsResponse{}, nil
}

func (r *Runtime) containerStats(c *container) *runtimeapi.ContainerStats {
	at, zero := r.now(), &runtimeapi.UInt64Value{}
	used := c.sandbox.uses.after(c.started, at)
	return &runtimeapi.ContainerStats{
		Attributes: &runtimeapi.ContainerAttributes{
			Id: c.id, Metadata: c.config.Metadata, Labels: c.config.Labels, Annotations: c.config.Annotations,
		},
		Cpu:           used.cpu(at),
		Memory:        used.memory(at),
		WritableLayer: &runtimeapi.FilesystemUsage{Timestamp: at, UsedBytes: zero, InodesUsed: zero},
	}
}

func (r *Runtime) sandboxStats(s *sandbox) *runtimeapi.PodSandboxStats {
	at, zero := r.now(), &runtimeapi.UInt64Value{}
	linux := &runtimeapi.LinuxPodSandboxStats{
		Network: &runtimeapi.NetworkUsage{Timestamp: at, DefaultInterface: &runtimeapi.NetworkInterfaceUsage{Name: "eth0", RxBytes: zero, TxBytes: zero}},
		Process: &runtimeapi.ProcessUsage{Timestamp: at, ProcessCount: zero},
	}
	var used usage
	for _, c := range s.containers {
		if c.state == runtimeapi.ContainerState_CONTAINER_RUNNING {
			linux.Containers = append(linux.Containers, r.containerStats(c))
			used = used.plus(s.uses.after(c.started, at))
		}
	}
	linux.Cpu, linux.Memory = used.cpu(at), used.memory(at)
	return &runtimeapi.PodSandboxStats{
		Attributes: &runtimeapi.PodSandboxAttributes{
			Id: s.id, Metadata: s.config.Metadata, Labels: s.config.Labels, Annotations: s.config.Annotations,
		},
		Linux: linux,
	}
}
