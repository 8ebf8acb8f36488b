package kubelet

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	kubeletconfig "k8s.io/kubelet/config/v1beta1"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/server"
)

// Version is the version the node reports for its kubelet.
const Version = "v1.37.2+yare"

// Config is what a Kubelet is made from. Client and NodeName must be set; everything else has a usual value.
type Config struct {
	// Client reaches the API server as this node.
	Client kubernetes.Interface
	// NodeName is the name of the Node object.
	NodeName string
	// Hostname is the label kubernetes.io/hostname and the Hostname address; NodeName if empty.
	Hostname string
	// NodeIPs are the node's addresses, the primary one first. Without any, the address that the default route leaves
	// by is taken, else the loopback address.
	NodeIPs []string
	// Runtime is the container runtime. If nil, RuntimeEndpoint is dialled, or else the one of Settings.
	Runtime         *cri.Client
	RuntimeEndpoint string
	// RootDir holds what the kubelet keeps on disk; /var/lib/kubelet if empty.
	RootDir string
	// ContainerLogsDir holds links to container logs by name (/var/log/containers if empty; "-" for none).
	ContainerLogsDir string
	// Settings is the kubelet's configuration file. Unset fields get Kubernetes' defaults. Fields that ask for what this
	// kubelet cannot do make New fail.
	Settings kubeletconfig.KubeletConfiguration
	// Labels are added to the Node; Taints are set when it is created.
	Labels map[string]string
	Taints []v1.Taint
	// Capacity overrides what is read from the machine, by resource.
	Capacity v1.ResourceList
	// WithoutHost: touch nothing of the machine but RootDir: no cgroups, no mounts. For runtimes that live in memory.
	WithoutHost bool
	// RelistPeriod is how often a runtime that sends no events is listed; one second if 0.
	RelistPeriod time.Duration
	// Server, if set, is how the node's own HTTPS API is served: TLS, Authenticator, Authorizer and Metrics. The rest is filled in:
	// Listener, if nil, is opened at the address and port of Settings.
	Server *server.Config
	// KeepImages are never removed to make room, such as the one that sandboxes are made from.
	KeepImages []string
	// Logger and Clock default to slog.Default and the real clock.
	Logger *slog.Logger
	Clock  clock.WithTicker
}

// withDefaults fills in the usual values and checks what was given.
func (c Config) withDefaults() (Config, error) {
	if c.Client == nil || c.NodeName == "" {
		return c, errors.New("kubelet: Client and NodeName must be set")
	}
	if c.Hostname == "" {
		c.Hostname = c.NodeName
	}
	if c.RootDir == "" {
		c.RootDir = "/var/lib/kubelet"
	}
	if c.ContainerLogsDir == "" {
		c.ContainerLogsDir = "/var/log/containers"
	}
	if c.ContainerLogsDir == "-" {
		c.ContainerLogsDir = ""
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if len(c.NodeIPs) == 0 {
		c.NodeIPs = []string{defaultAddress()}
	}
	c.Settings = *c.Settings.DeepCopy()
	SetDefaults(&c.Settings)
	if err := Validate(&c.Settings); err != nil {
		return c, err
	}
	return c, c.makeDirs()
}

func (c *Config) makeDirs() error {
	dirs := []string{filepath.Join(c.RootDir, "pods"), c.Settings.PodLogsDir}
	if c.ContainerLogsDir != "" {
		dirs = append(dirs, c.ContainerLogsDir)
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return fmt.Errorf("kubelet: %w", err)
		}
	}
	return nil
}

// SetDefaults fills in Kubernetes' defaults for what is not set.
func SetDefaults(s *kubeletconfig.KubeletConfiguration) {
	setDuration(&s.SyncFrequency, time.Minute)
	setDuration(&s.FileCheckFrequency, 20*time.Second)
	setDuration(&s.NodeStatusUpdateFrequency, 10*time.Second)
	setDuration(&s.NodeStatusReportFrequency, 5*time.Minute)
	setDuration(&s.RuntimeRequestTimeout, 2*time.Minute)
	setDuration(&s.StreamingConnectionIdleTimeout, 4*time.Hour)
	setDuration(&s.ImageMinimumGCAge, 2*time.Minute)
	setDuration(&s.EvictionPressureTransitionPeriod, 5*time.Minute)
	setString(&s.Address, "0.0.0.0")
	setString(&s.PodLogsDir, "/var/log/pods")
	setString(&s.CgroupDriver, "cgroupfs")
	setString(&s.ContainerRuntimeEndpoint, cri.DefaultEndpoint)
	setString(&s.ContainerLogMaxSize, "10Mi")
	setInt(&s.Port, 10250)
	setInt(&s.MaxPods, 110)
	setInt(&s.NodeLeaseDurationSeconds, 40)
	setPointer(&s.EnableServer, true)
	setPointer(&s.HealthzPort, 10248)
	setString(&s.HealthzBindAddress, "127.0.0.1")
	setPointer(&s.RegisterNode, true)
	setPointer(&s.CgroupsPerQOS, true)
	setPointer(&s.CPUCFSQuota, true)
	setPointer(&s.CPUCFSQuotaPeriod, metav1.Duration{Duration: 100 * time.Millisecond})
	setPointer(&s.SerializeImagePulls, true)
	setPointer(&s.ImageGCHighThresholdPercent, 85)
	setPointer(&s.ImageGCLowThresholdPercent, 80)
	setPointer(&s.ContainerLogMaxFiles, 5)
	setPointer(&s.ContainerLogMaxWorkers, 1)
	setPointer(&s.ContainerLogMonitorInterval, metav1.Duration{Duration: 10 * time.Second})
	setPointer(&s.NodeStatusMaxImages, 50)
	setPointer(&s.PodPidsLimit, -1)
	setPointer(&s.EventRecordQPS, 50)
	setPointer(&s.ResolverConfig, "/etc/resolv.conf")
	setPointer(&s.SeccompDefault, false)
	if s.EventBurst == 0 {
		s.EventBurst = 100
	}
	if s.EvictionHard == nil {
		s.EvictionHard = maps.Clone(defaultEviction)
	}
	if s.EnforceNodeAllocatable == nil {
		s.EnforceNodeAllocatable = []string{"pods"}
	}
	setPointer(&s.CrashLoopBackOff.MaxContainerRestartPeriod, metav1.Duration{Duration: 5 * time.Minute})
}

var defaultEviction = map[string]string{
	"memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%", "imagefs.available": "15%", "imagefs.inodesFree": "5%",
}

func setDuration(d *metav1.Duration, usual time.Duration) {
	if d.Duration == 0 {
		d.Duration = usual
	}
}

func setString(s *string, usual string) {
	if *s == "" {
		*s = usual
	}
}

func setInt(n *int32, usual int32) {
	if *n == 0 {
		*n = usual
	}
}

func setPointer[T any](p **T, usual T) {
	if *p == nil {
		*p = &usual
	}
}

// Validate refuses settings that cannot be honoured.
func Validate(s *kubeletconfig.KubeletConfiguration) error {
	var errs []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("kubelet configuration: "+format, args...))
		}
	}
	refuse(s.CgroupDriver != "cgroupfs", "cgroupDriver %q is not supported, only cgroupfs", s.CgroupDriver)
	refuse(s.StaticPodURL != "", "staticPodURL is not supported")
	refuse(s.ReadOnlyPort != 0, "readOnlyPort is not supported")
	refuse(s.CPUManagerPolicy != "" && s.CPUManagerPolicy != "none", "cpuManagerPolicy %q is not supported", s.CPUManagerPolicy)
	refuse(s.MemoryManagerPolicy != "" && s.MemoryManagerPolicy != kubeletconfig.NoneMemoryManagerPolicy,
		"memoryManagerPolicy %q is not supported", s.MemoryManagerPolicy)
	refuse(s.TopologyManagerPolicy != "" && s.TopologyManagerPolicy != kubeletconfig.NoneTopologyManagerPolicy,
		"topologyManagerPolicy %q is not supported", s.TopologyManagerPolicy)
	refuse(len(s.EvictionSoft) > 0, "evictionSoft is not supported")
	refuse(s.MemorySwap.SwapBehavior != "" && s.MemorySwap.SwapBehavior != "NoSwap", "memorySwap %q is not supported", s.MemorySwap.SwapBehavior)
	refuse(s.RunOnce, "runOnce is not supported")
	refuse(s.ShutdownGracePeriod.Duration > 0 || len(s.ShutdownGracePeriodByPodPriority) > 0, "graceful node shutdown is not supported")
	refuse(*s.ImageGCLowThresholdPercent >= *s.ImageGCHighThresholdPercent && *s.ImageGCHighThresholdPercent < 100,
		"imageGCLowThresholdPercent must be less than imageGCHighThresholdPercent")
	refuse(*s.ContainerLogMaxFiles < 2, "containerLogMaxFiles must be greater than 1")
	size, err := resource.ParseQuantity(s.ContainerLogMaxSize)
	refuse(err != nil || size.Value() <= 0, "containerLogMaxSize %q is not a size", s.ContainerLogMaxSize)
	refuse(s.MaxPods < 0, "maxPods must not be negative")
	return errors.Join(errs...)
}
