package kubelet

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/yare-io/yare/kubelet/node"
)

var errRuntimeUnknown = errors.New("container runtime status check may not have completed yet")

// runtimeRetry is the pause between attempts to reach a runtime that does not answer yet.
const runtimeRetry = 100 * time.Millisecond

// runtimePeriod is how often the runtime's own conditions are read.
const runtimePeriod = 5 * time.Second

func (k *Kubelet) newNode() *node.Manager {
	c, s := &k.config, &k.config.Settings
	return node.New(node.Config{
		Client: c.Client, Clock: c.Clock, Logger: k.logger,
		Name: c.NodeName, Labels: k.labels(), Taints: append(slices.Clone(c.Taints), s.RegisterWithTaints...),
		ProviderID: s.ProviderID, Register: *s.RegisterNode,
		LeaseDuration:   time.Duration(s.NodeLeaseDurationSeconds) * time.Second,
		UpdateFrequency: s.NodeStatusUpdateFrequency.Duration, ReportFrequency: s.NodeStatusReportFrequency.Duration,
		Status: k.nodeStatus,
	})
}

func (k *Kubelet) labels() map[string]string {
	labels := map[string]string{
		v1.LabelHostname: k.config.Hostname,
		v1.LabelOSStable: k.machine.Info.OperatingSystem, "beta.kubernetes.io/os": k.machine.Info.OperatingSystem,
		v1.LabelArchStable: k.machine.Info.Architecture, "beta.kubernetes.io/arch": k.machine.Info.Architecture,
	}
	maps.Copy(labels, k.config.Labels)
	return labels
}

// nodeStatus fills in all that the node says of itself.
func (k *Kubelet) nodeStatus(ctx context.Context, s *v1.NodeStatus) {
	s.Capacity, s.Allocatable = k.capacity, k.allocatable
	s.Addresses = nil
	for _, ip := range k.config.NodeIPs {
		s.Addresses = append(s.Addresses, v1.NodeAddress{Type: v1.NodeInternalIP, Address: ip})
	}
	s.Addresses = append(s.Addresses, v1.NodeAddress{Type: v1.NodeHostName, Address: k.config.Hostname})
	s.DaemonEndpoints.KubeletEndpoint.Port = k.port()
	s.NodeInfo = k.machine.Info
	s.NodeInfo.KubeletVersion = Version
	runtimeErr, networkErr := k.readRuntime(ctx, s)
	if images, err := k.cri.ListImages(ctx); err == nil {
		s.Images = imageList(images, int(*k.config.Settings.NodeStatusMaxImages))
	}
	pressure := node.Pressure{
		Memory: k.evictor.has(v1.NodeMemoryPressure), Disk: k.evictor.has(v1.NodeDiskPressure), PID: k.evictor.has(v1.NodePIDPressure),
	}
	s.Conditions = node.Conditions(pressure, firstError(runtimeErr, networkErr))
}

// readRuntime asks the runtime who and how it is.
func (k *Kubelet) readRuntime(ctx context.Context, s *v1.NodeStatus) (runtimeErr, networkErr error) {
	ctx, cancel := context.WithTimeout(ctx, runtimePeriod)
	defer cancel()
	version, err := k.cri.Version(ctx)
	if err != nil {
		return node.RuntimeErrors(nil, err)
	}
	s.NodeInfo.ContainerRuntimeVersion = version.RuntimeName + "://" + version.RuntimeVersion
	status, err := k.cri.Conditions(ctx)
	runtimeErr, networkErr = node.RuntimeErrors(status, err)
	k.mu.Lock()
	k.runtimeName, k.networkErr = version.RuntimeName, networkErr
	k.mu.Unlock()
	if features := status.GetFeatures(); features != nil {
		s.Features = &v1.NodeFeatures{SupplementalGroupsPolicy: new(features.SupplementalGroupsPolicy)}
	}
	s.RuntimeHandlers = handlers(status)
	return runtimeErr, networkErr
}

// handlers are the kinds of sandboxes that the runtime says it has; older ones do not say.
func handlers(status *runtimeapi.StatusResponse) []v1.NodeRuntimeHandler {
	var out []v1.NodeRuntimeHandler
	for _, h := range status.GetRuntimeHandlers() {
		out = append(out, v1.NodeRuntimeHandler{Name: h.Name, Features: &v1.NodeRuntimeHandlerFeatures{
			RecursiveReadOnlyMounts: new(h.GetFeatures().GetRecursiveReadOnlyMounts()), UserNamespaces: new(h.GetFeatures().GetUserNamespaces()),
		}})
	}
	slices.SortFunc(out, func(a, b v1.NodeRuntimeHandler) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// imageList names the largest images, each with at most five of its names.
func imageList(images []*runtimeapi.Image, most int) []v1.ContainerImage {
	list := make([]v1.ContainerImage, 0, len(images))
	for _, image := range images {
		names := append(slices.Clone(image.RepoDigests), image.RepoTags...)
		if len(names) > 0 {
			list = append(list, v1.ContainerImage{Names: names[:min(len(names), 5)], SizeBytes: int64(image.Size)})
		}
	}
	slices.SortFunc(list, func(a, b v1.ContainerImage) int {
		return cmp.Or(cmp.Compare(b.SizeBytes, a.SizeBytes), cmp.Compare(a.Names[0], b.Names[0]))
	})
	if most >= 0 {
		list = list[:min(len(list), most)]
	}
	return list
}

// watchRuntime notices when the runtime or its network comes or goes, sooner than the node's status would.
func (k *Kubelet) watchRuntime(ctx context.Context) {
	ready := false
	for {
		status, err := k.cri.Conditions(ctx)
		runtimeErr, networkErr := node.RuntimeErrors(status, err)
		k.mu.Lock()
		k.networkErr = networkErr
		k.mu.Unlock()
		now := runtimeErr == nil && networkErr == nil
		if now != ready && ctx.Err() == nil {
			ready = now
			k.node.Changed()
		}
		pause := runtimePeriod
		if !ready {
			pause = runtimeRetry
		}
		select {
		case <-ctx.Done():
			return
		case <-k.config.Clock.After(pause):
		}
	}
}

// awaitRuntime waits until the runtime has told its name.
func (k *Kubelet) awaitRuntime(ctx context.Context) bool {
	for {
		version, err := k.cri.Version(ctx)
		if err == nil {
			k.mu.Lock()
			k.runtimeName = version.RuntimeName
			k.mu.Unlock()
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-k.config.Clock.After(runtimeRetry):
		}
	}
}

func (k *Kubelet) runtime() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.runtimeName
}

func (k *Kubelet) networkReady() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.networkErr
}

// defaultAddress is the address that packets to elsewhere leave by. Nothing is sent to find out.
func defaultAddress() string {
	conn, err := net.Dial("udp", "192.0.2.1:9")
	if err != nil {
		return "127.0.0.1"
	}
	defer conn.Close()
	if addr, ok := conn.LocalAddr().(*net.UDPAddr); ok && !addr.IP.IsUnspecified() {
		return addr.IP.String()
	}
	return "127.0.0.1"
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// port is where the node's own API is served.
func (k *Kubelet) port() int32 {
	if server := k.config.Server; server != nil && server.Listener != nil {
		if address, ok := server.Listener.Addr().(*net.TCPAddr); ok {
			return int32(address.Port)
		}
	}
	return k.config.Settings.Port
}
