package hollow

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// sandbox is one pod. Its fields are guarded by Runtime.mu.
type sandbox struct {
	id      string
	config  *runtimeapi.PodSandboxConfig
	handler string
	created int64
	ready   bool
	// uses is what each of its containers pretends to use.
	uses usage
	// address is the pod's own; none for pods in the host's network.
	address netip.Addr
	// containers by id.
	containers map[string]*container
}

func sandboxName(m *runtimeapi.PodSandboxMetadata) string {
	return fmt.Sprintf("sandbox/%s/%s/%s/%d", m.GetNamespace(), m.GetName(), m.GetUid(), m.GetAttempt())
}

// RunPodSandbox implements RuntimeServiceServer.
func (r *Runtime) RunPodSandbox(_ context.Context, request *runtimeapi.RunPodSandboxRequest) (*runtimeapi.RunPodSandboxResponse, error) {
	config := request.GetConfig()
	if config.GetMetadata().GetName() == "" {
		return nil, status.Error(codes.InvalidArgument, "a sandbox needs metadata with a name")
	}
	if _, _, _, err := exitPlan(config.GetAnnotations()); err != nil {
		return nil, err
	}
	uses, err := usageOf(config.GetAnnotations())
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	name := sandboxName(config.Metadata)
	if other, taken := r.names[name]; taken {
		return nil, status.Errorf(codes.AlreadyExists, "%s is already there with id %s", name, other)
	}
	s := &sandbox{
		id: r.newID(), config: config, handler: request.GetRuntimeHandler(), uses: uses,
		created: r.now(), ready: true, containers: map[string]*container{},
	}
	if !inHostNetwork(config) {
		var err error
		if s.address, err = r.addresses.take(); err != nil {
			return nil, status.Error(codes.ResourceExhausted, err.Error())
		}
	}
	r.sandboxes[s.id], r.names[name] = s, s.id
	r.notify(s.id, s, runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT)
	r.notify(s.id, s, runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT)
	return &runtimeapi.RunPodSandboxResponse{PodSandboxId: s.id}, nil
}

func inHostNetwork(config *runtimeapi.PodSandboxConfig) bool {
	return config.GetLinux().GetSecurityContext().GetNamespaceOptions().GetNetwork() == runtimeapi.NamespaceMode_NODE
}

// StopPodSandbox implements RuntimeServiceServer. A sandbox that is gone is
// stopped.
func (r *Runtime) StopPodSandbox(_ context.Context, request *runtimeapi.StopPodSandboxRequest) (*runtimeapi.StopPodSandboxResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sandboxes[request.GetPodSandboxId()]; s != nil {
		r.stopSandbox(s)
	}
	return &runtimeapi.StopPodSandboxResponse{}, nil
}

func (r *Runtime) stopSandbox(s *sandbox) {
	if !s.ready {
		return
	}
	for _, c := range s.containers {
		r.exit(c, exitKilled)
	}
	s.ready = false
	r.addresses.release(s.address)
	r.notify(s.id, s, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT)
}

// RemovePodSandbox implements RuntimeServiceServer. A sandbox that is gone is
// removed.
func (r *Runtime) RemovePodSandbox(_ context.Context, request *runtimeapi.RemovePodSandboxRequest) (*runtimeapi.RemovePodSandboxResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sandboxes[request.GetPodSandboxId()]
	if s == nil {
		return &runtimeapi.RemovePodSandboxResponse{}, nil
	}
	r.stopSandbox(s)
	for _, c := range s.containers {
		r.remove(c)
	}
	delete(r.sandboxes, s.id)
	delete(r.names, sandboxName(s.config.Metadata))
	r.notify(s.id, s, runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT)
	return &runtimeapi.RemovePodSandboxResponse{}, nil
}

// PodSandboxStatus implements RuntimeServiceServer.
func (r *Runtime) PodSandboxStatus(_ context.Context, request *runtimeapi.PodSandboxStatusRequest) (*runtimeapi.PodSandboxStatusResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sandboxes[request.GetPodSandboxId()]
	if s == nil {
		return nil, status.Errorf(codes.NotFound, "no sandbox %s", request.GetPodSandboxId())
	}
	return &runtimeapi.PodSandboxStatusResponse{
		Status: s.status(), ContainersStatuses: s.containerStatuses(), Timestamp: r.now(),
	}, nil
}

// ListPodSandbox implements RuntimeServiceServer. The newest comes first.
func (r *Runtime) ListPodSandbox(_ context.Context, request *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error) {
	filter := request.GetFilter()
	r.mu.Lock()
	defer r.mu.Unlock()
	response := &runtimeapi.ListPodSandboxResponse{}
	for id, s := range narrowed(r.sandboxes, filter.GetId()) {
		if filter.GetState() != nil && filter.GetState().GetState() != s.state() ||
			!selects(filter.GetLabelSelector(), s.config.GetLabels()) {
			continue
		}
		response.Items = append(response.Items, &runtimeapi.PodSandbox{
			Id: id, Metadata: s.config.Metadata, State: s.state(), CreatedAt: s.created,
			Labels: s.config.Labels, Annotations: s.config.Annotations, RuntimeHandler: s.handler,
		})
	}
	slices.SortFunc(response.Items, func(a, b *runtimeapi.PodSandbox) int { return cmp.Compare(b.Id, a.Id) })
	return response, nil
}

// UpdatePodSandboxResources implements RuntimeServiceServer: there is nothing
// that could exceed them.
func (r *Runtime) UpdatePodSandboxResources(context.Context, *runtimeapi.UpdatePodSandboxResourcesRequest) (*runtimeapi.UpdatePodSandboxResourcesResponse, error) {
	return &runtimeapi.UpdatePodSandboxResourcesResponse{}, nil
}

func (s *sandbox) state() runtimeapi.PodSandboxState {
	if s.ready {
		return runtimeapi.PodSandboxState_SANDBOX_READY
	}
	return runtimeapi.PodSandboxState_SANDBOX_NOTREADY
}

func (s *sandbox) status() *runtimeapi.PodSandboxStatus {
	network := &runtimeapi.PodSandboxNetworkStatus{}
	if s.address.IsValid() && s.ready {
		network.Ip = s.address.String()
	}
	return &runtimeapi.PodSandboxStatus{
		Id: s.id, Metadata: s.config.Metadata, State: s.state(), CreatedAt: s.created, Network: network,
		Linux: &runtimeapi.LinuxPodSandboxStatus{Namespaces: &runtimeapi.Namespace{
			Options: s.config.GetLinux().GetSecurityContext().GetNamespaceOptions(),
		}},
		Labels: s.config.Labels, Annotations: s.config.Annotations, RuntimeHandler: s.handler,
	}
}

func (s *sandbox) containerStatuses() []*runtimeapi.ContainerStatus {
	statuses := make([]*runtimeapi.ContainerStatus, 0, len(s.containers))
	for _, c := range s.containers {
		statuses = append(statuses, c.status())
	}
	slices.SortFunc(statuses, func(a, b *runtimeapi.ContainerStatus) int { return cmp.Compare(b.Id, a.Id) })
	return statuses
}

// narrowed is the entry of one id, or all when none is asked for.
func narrowed[T any](all map[string]T, id string) map[string]T {
	if id == "" {
		return all
	}
	if one, ok := all[id]; ok {
		return map[string]T{id: one}
	}
	return nil
}

func selects(selector, labels map[string]string) bool {
	for key, value := range selector {
		if got, ok := labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}
