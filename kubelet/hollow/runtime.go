// Package hollow is a container runtime without containers: it speaks CRI v1
// and keeps in memory what it was told to run. With it a kubelet needs neither
// root nor a kernel's help, and thousands of nodes fit into one process.
//
// A hollow container runs from its start until it is stopped, or as long as its
// pod's annotations say. There is no process in it: exec, attach and
// port-forward are refused. The package knows CRI and nothing of Kubernetes'
// own objects.
package hollow

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/clock"
)

// Annotations of a pod that end its containers by themselves.
const (
	// ExitAfterAnnotation is how long containers run ("5s").
	ExitAfterAnnotation = "hollow.yare.io/exit-after"
	// ExitCodeAnnotation is what they exit with then; 0 when it is not there.
	ExitCodeAnnotation = "hollow.yare.io/exit-code"
)

// Config says what a runtime pretends. The zero value is good.
type Config struct {
	// PodCIDR is where pods' addresses are from until the kubelet names another
	// range. Zero: pods have no address until then.
	PodCIDR netip.Prefix
	// Images are there from the beginning; all others can be pulled.
	Images []string
	// Logs makes each container write one line to its log file, so that there
	// is something to show. Without, containers have no log files.
	Logs bool
	// Clock is the clock of all times. Nil: the real one.
	Clock clock.WithDelayedExecution
}

// Runtime is a hollow container runtime. It implements
// runtimeapi.RuntimeServiceServer and runtimeapi.ImageServiceServer, and is
// safe for concurrent use.
type Runtime struct {
	runtimeapi.UnimplementedRuntimeServiceServer
	runtimeapi.UnimplementedImageServiceServer

	config Config
	clock  clock.WithDelayedExecution

	mu         sync.Mutex
	lastID     uint64
	sandboxes  map[string]*sandbox
	containers map[string]*container
	// names keeps sandboxes and containers from being made twice: it maps what
	// identifies them to clients to their id.
	names     map[string]string
	images    map[string]*runtimeapi.Image
	addresses addresses
	// watchers are those who want events, each with a queue of its own.
	watchers map[*watcher]bool
	closed   bool
}

var (
	_ runtimeapi.RuntimeServiceServer = (*Runtime)(nil)
	_ runtimeapi.ImageServiceServer   = (*Runtime)(nil)
)

// New returns a runtime without pods. Close ends it.
func New(config Config) *Runtime {
	r := &Runtime{
		config: config, clock: config.Clock,
		sandboxes: map[string]*sandbox{}, containers: map[string]*container{}, names: map[string]string{},
		images: map[string]*runtimeapi.Image{}, watchers: map[*watcher]bool{},
		addresses: addresses{prefix: config.PodCIDR.Masked(), used: map[netip.Addr]bool{}},
	}
	if r.clock == nil {
		r.clock = clock.RealClock{}
	}
	for _, name := range config.Images {
		r.addImage(name)
	}
	return r
}

// Close ends all watches and forgets what containers would still do.
func (r *Runtime) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for w := range r.watchers {
		r.drop(w, status.Error(codes.Unavailable, "the runtime is closed"))
	}
	for _, c := range r.containers {
		c.cancelExit()
	}
}

// Version implements RuntimeServiceServer.
func (r *Runtime) Version(context.Context, *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{
		Version: "0.1.0", RuntimeName: "hollow", RuntimeVersion: "v1", RuntimeApiVersion: "v1",
	}, nil
}

// Status implements RuntimeServiceServer.
func (r *Runtime) Status(context.Context, *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error) {
	return &runtimeapi.StatusResponse{Status: &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{
		{Type: runtimeapi.RuntimeReady, Status: true},
		{Type: runtimeapi.NetworkReady, Status: true},
	}}}, nil
}

// RuntimeConfig implements RuntimeServiceServer.
func (r *Runtime) RuntimeConfig(context.Context, *runtimeapi.RuntimeConfigRequest) (*runtimeapi.RuntimeConfigResponse, error) {
	return &runtimeapi.RuntimeConfigResponse{
		Linux: &runtimeapi.LinuxRuntimeConfiguration{CgroupDriver: runtimeapi.CgroupDriver_CGROUPFS},
	}, nil
}

// UpdateRuntimeConfig implements RuntimeServiceServer: pods that start from now
// on get addresses from the range given.
func (r *Runtime) UpdateRuntimeConfig(_ context.Context, request *runtimeapi.UpdateRuntimeConfigRequest) (*runtimeapi.UpdateRuntimeConfigResponse, error) {
	cidr := request.GetRuntimeConfig().GetNetworkConfig().GetPodCidr()
	if cidr == "" {
		return &runtimeapi.UpdateRuntimeConfigResponse{}, nil
	}
	prefix, err := firstPrefix(cidr)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "pod CIDR %q: %v", cidr, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addresses.use(prefix)
	return &runtimeapi.UpdateRuntimeConfigResponse{}, nil
}

// newID returns an id like those of real runtimes: hexadecimal, and unique.
func (r *Runtime) newID() string {
	r.lastID++
	return fmt.Sprintf("%064x", r.lastID)
}

func (r *Runtime) now() int64 { return r.clock.Now().UnixNano() }

// exitPlan is what a pod's annotations say of the end of its containers.
func exitPlan(annotations map[string]string) (after time.Duration, code int32, planned bool, err error) {
	text, planned := annotations[ExitAfterAnnotation]
	if !planned {
		return 0, 0, false, nil
	}
	if after, err = time.ParseDuration(text); err != nil || after < 0 {
		return 0, 0, false, status.Errorf(codes.InvalidArgument, "annotation %s: %q is no duration", ExitAfterAnnotation, text)
	}
	if text := annotations[ExitCodeAnnotation]; text != "" {
		parsed, err := strconv.ParseUint(text, 10, 8)
		if err != nil {
			return 0, 0, false, status.Errorf(codes.InvalidArgument, "annotation %s: %q is no exit code", ExitCodeAnnotation, text)
		}
		code = int32(parsed)
	}
	return after, code, true, nil
}
