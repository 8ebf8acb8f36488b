// Package kubelet is the node agent: it takes the pods bound to its node from the API server and from files, has them run by a
// container runtime, and reports how they and the node are. This package only wires its parts together; each
// part is a package below it. All that it knows of the cluster it learns through a client; it never sees the API
// server's own code.
package kubelet

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/mount-utils"

	"github.com/yare-io/yare/kubelet/cgroup"
	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/dns"
	"github.com/yare-io/yare/kubelet/events"
	"github.com/yare-io/yare/kubelet/images"
	"github.com/yare-io/yare/kubelet/node"
	"github.com/yare-io/yare/kubelet/objects"
	"github.com/yare-io/yare/kubelet/podworker"
	"github.com/yare-io/yare/kubelet/probe"
	"github.com/yare-io/yare/kubelet/runtime"
	"github.com/yare-io/yare/kubelet/status"
	"github.com/yare-io/yare/kubelet/volume"
)

// Kubelet is one node's agent.
type Kubelet struct {
	config      Config
	logger      *slog.Logger
	cri         *cri.Client
	ownsCRI     bool
	machine     node.Machine
	capacity    v1.ResourceList
	allocatable v1.ResourceList
	broadcaster record.EventBroadcaster
	recorder    record.EventRecorder

	sources  *sources
	objects  *objects.Store
	tokens   *objects.Tokens
	volumes  *volume.Manager
	cgroups  *cgroup.Manager // nil where control groups are left alone
	statuses *status.Manager
	probes   *probe.Manager
	workers  *podworker.Workers
	watcher  *cri.Watcher
	node     *node.Manager

	mu          sync.Mutex
	runtimeName string
	networkErr  error
}

// New makes a kubelet; nothing runs before Run. It fails on settings that cannot be honoured.
func New(config Config) (*Kubelet, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	k := &Kubelet{config: config, logger: config.Logger, cri: config.Runtime, networkErr: errRuntimeUnknown}
	if k.cri == nil {
		if config.RuntimeEndpoint == "" {
			config.RuntimeEndpoint = config.Settings.ContainerRuntimeEndpoint
		}
		if k.cri, err = cri.Dial(config.RuntimeEndpoint, config.Settings.RuntimeRequestTimeout.Duration); err != nil {
			return nil, fmt.Errorf("kubelet: %w", err)
		}
		k.ownsCRI = true
	}
	if err := k.measure(); err != nil {
		return nil, fmt.Errorf("kubelet: %w", err)
	}
	k.assemble()
	return k, nil
}

// measure reads what the node has and works out what pods may use of it.
func (k *Kubelet) measure() error {
	var err error
	if k.machine, err = node.ReadMachine(k.config.RootDir); err != nil {
		return err
	}
	k.capacity = k.machine.Capacity
	k.capacity[v1.ResourcePods] = *resource.NewQuantity(int64(k.maxPods()), resource.DecimalSI)
	for name, quantity := range k.config.Capacity {
		k.capacity[name] = quantity
	}
	s := &k.config.Settings
	k.allocatable, err = node.Reserve(k.capacity, []map[string]string{s.SystemReserved, s.KubeReserved}, s.EvictionHard)
	return err
}

func (k *Kubelet) maxPods() int32 {
	s := &k.config.Settings
	if s.PodsPerCore > 0 {
		return min(s.MaxPods, s.PodsPerCore*int32(k.capacity.Cpu().Value()))
	}
	return s.MaxPods
}

// assemble makes the parts, each from those above it.
func (k *Kubelet) assemble() {
	c := &k.config
	k.broadcaster = record.NewBroadcaster()
	k.recorder = k.broadcaster.NewRecorder(scheme.Scheme, v1.EventSource{Component: "kubelet", Host: c.NodeName})
	recorder := events.Recorder{Recorder: k.recorder}
	k.sources = newSources(k)
	k.objects = objects.NewStore(c.Client, k.logger, k.objectsChanged)
	k.tokens = objects.NewTokens(c.Client, c.Clock)
	k.statuses = status.NewManager(c.Client, k.sources.apiPod, k.logger)
	k.probes = &probe.Manager{CRI: k.cri, Events: recorder, Clock: c.Clock, Logger: k.logger, OnChange: k.wake}
	k.volumes = k.newVolumes()
	k.workers = podworker.New(podworker.Config{
		CRI: k.cri, Runtime: k.newRuntime(recorder), Volumes: k.volumes, Statuses: k.statuses, Probes: k.probes,
		Cgroups: cgroupsOf(k), References: []podworker.References{k.objects, tokenReferences{k.tokens}}, Events: recorder, Clock: c.Clock, Logger: k.logger,
		Environment: k.environment, Admit: k.admit, NetworkReady: k.networkReady, RuntimeName: k.runtime,
		MaxBackoff: c.Settings.CrashLoopBackOff.MaxContainerRestartPeriod.Duration,
		SyncPeriod: c.Settings.SyncFrequency.Duration,
	})
	k.watcher = &cri.Watcher{
		Client: k.cri, Clock: c.Clock, Logger: k.logger, Period: c.RelistPeriod, OnChange: k.wake, OnList: k.adoptOrphans,
	}
	k.node = k.newNode()
}

func (k *Kubelet) podsDir() string { return filepath.Join(k.config.RootDir, "pods") }

func (k *Kubelet) newRuntime(recorder events.Recorder) *runtime.Runtime {
	c, s := &k.config, &k.config.Settings
	parallel := 1
	if !*s.SerializeImagePulls {
		parallel = 16
		if s.MaxParallelImagePulls != nil {
			parallel = int(*s.MaxParallelImagePulls)
		}
	}
	return &runtime.Runtime{
		CRI: k.cri, Images: images.NewPuller(k.cri, recorder, k.objects, parallel, c.Clock), Events: recorder,
		Clock: c.Clock, Logger: k.logger, NodeName: c.NodeName,
		DNS:     dns.Config{ClusterDNS: s.ClusterDNS, ClusterDomain: s.ClusterDomain, ResolverFile: *s.ResolverConfig},
		PodsDir: k.podsDir(), PodLogsDir: s.PodLogsDir, LinksDir: c.ContainerLogsDir,
		SeccompDir: filepath.Join(c.RootDir, "seccomp"), MemoryCapacity: k.capacity.Memory().Value(),
		LowestOOMScore: lowestOOMScore(), SeccompDefault: *s.SeccompDefault,
		CFSQuota: *s.CPUCFSQuota, CFSPeriod: s.CPUCFSQuotaPeriod.Duration, AllowedUnsafeSysctls: s.AllowedUnsafeSysctls,
	}
}

func (k *Kubelet) newVolumes() *volume.Manager {
	return &volume.Manager{
		PodsDir: k.podsDir(), Objects: k.objects, Tokens: k.tokens, Mounter: mount.New(""), Logger: k.logger,
		Tmpfs:       !k.config.WithoutHost && mayMount(),
		Allocatable: func() v1.ResourceList { return k.allocatable },
	}
}

// Run is the node until ctx ends; then it returns nil when everything has stopped. Containers keep running: a kubelet that
// comes after finds them again.
func (k *Kubelet) Run(ctx context.Context) error {
	if k.ownsCRI {
		defer k.cri.Close()
	}
	sink := k.broadcaster.StartRecordingToSink(&typedv1.EventSinkImpl{Interface: k.config.Client.CoreV1().Events("")})
	defer sink.Stop()
	defer k.broadcaster.Shutdown()
	asked := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, part := range []func(context.Context){
		k.node.Run, k.objects.Run, k.statuses.Run, k.probes.Run, k.sources.run, k.watchRuntime, k.runPods,
		k.rotator().Run, k.collector().Run,
	} {
		wg.Go(func() { part(ctx) })
	}
	for _, serve := range k.servers() {
		wg.Go(func() {
			if err := serve(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("kubelet: serve: %w", err))
			}
		})
	}
	<-ctx.Done()
	wg.Wait()
	if asked.Err() != nil {
		return nil
	}
	return context.Cause(ctx)
}

// runPods runs pods once their sources have been read and the runtime has answered, and looks for what nobody owns.
func (k *Kubelet) runPods(ctx context.Context) {
	if !k.awaitRuntime(ctx) || !k.sources.wait(ctx) {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { k.watcher.Run(ctx) })
	wg.Go(func() { k.workers.Run(ctx) })
	wg.Go(func() { k.sweep(ctx) })
	wg.Wait()
}

func (k *Kubelet) wake(uid types.UID) { k.workers.Wake(uid) }

func (k *Kubelet) objectsChanged(pods []types.UID) {
	for _, uid := range pods {
		k.workers.Refresh(uid)
	}
}

// adoptOrphans takes on pods that run although no source knows them, in order to end them.
func (k *Kubelet) adoptOrphans(all map[types.UID]cri.PodRef) {
	for uid, ref := range all {
		if !k.sources.knows(uid) && !k.workers.Known(uid) {
			k.logger.Info("a pod that nobody wants is ended", "pod", ref.Namespace+"/"+ref.Name, "uid", uid)
			k.workers.Adopt(ref)
		}
	}
}
