package cgroup

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/resource"

	"github.com/yare-io/yare/kubelet/qos"
)

// Config is what a Manager works with.
type Config struct {
	// Root is the group below which everything happens ("/" if empty); Mount is where control groups are mounted.
	Root, Mount string
	// Allocatable is what all pods together may use.
	Allocatable v1.ResourceList
	// Enforce holds all pods together to the allocatable memory.
	Enforce bool
	// PodPids limits the processes of a pod; 0 or less means no limit.
	PodPids int64
	// CFSQuota enforces CPU limits, in periods of CFSPeriod (100 ms if 0).
	CFSQuota  bool
	CFSPeriod time.Duration
	Logger    *slog.Logger
}

// Manager keeps the pods' groups. Where control groups cannot be written it does nothing. It is safe for concurrent use.
type Manager struct {
	Config
	tree *hierarchy // nil: nothing can be done

	mu       sync.Mutex
	requests map[types.UID]int64 // milli-CPU of burstable pods
	paths    map[types.UID]string
}

const podPrefix = "pod"

// New makes the groups above the pods. If that is not possible here, it says so in the log and returns a manager that
// leaves everything to the runtime.
func New(config Config) *Manager {
	if config.Mount == "" {
		config.Mount = defaultMount
	}
	if config.CFSPeriod <= 0 {
		config.CFSPeriod = qos.QuotaPeriod * time.Microsecond
	}
	m := &Manager{Config: config, requests: map[types.UID]int64{}, paths: map[types.UID]string{}}
	tree, err := detect(config.Mount)
	if err == nil {
		m.tree = tree
		err = m.prepareTop()
	}
	if err != nil {
		config.Logger.Warn("control groups cannot be managed here; pods run without limits of their own", "error", err)
		m.tree = nil
	}
	return m
}

func (m *Manager) top() string { return filepath.Join("/", m.Root, "kubepods") }

func (m *Manager) classPath(class v1.PodQOSClass) string {
	switch class {
	case v1.PodQOSBurstable:
		return filepath.Join(m.top(), "burstable")
	case v1.PodQOSBestEffort:
		return filepath.Join(m.top(), "besteffort")
	}
	return m.top()
}

func (m *Manager) prepareTop() error {
	shares := qos.Shares(m.Allocatable.Cpu().MilliValue())
	top := limits{shares: shares, weight: qos.Weight(shares)}
	if m.Enforce {
		top.memory = m.Allocatable.Memory().Value()
	}
	if err := m.tree.apply(m.top(), top); err != nil {
		return err
	}
	for _, class := range []v1.PodQOSClass{v1.PodQOSBurstable, v1.PodQOSBestEffort} {
		if err := m.tree.apply(m.classPath(class), limits{shares: qos.Shares(0), weight: 1}); err != nil {
			return err
		}
	}
	return nil
}

// Prepare makes the pod's group and returns it as the parent of its containers' groups; "" where there are none.
func (m *Manager) Prepare(pod *v1.Pod) (string, error) {
	if m.tree == nil {
		return "", nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	class := qos.Of(pod)
	path := filepath.Join(m.classPath(class), podPrefix+string(pod.UID))
	if m.paths[pod.UID] == path {
		return path, nil
	}
	if err := m.tree.apply(path, m.podLimits(pod, class)); err != nil {
		return "", fmt.Errorf("create cgroup of pod: %w", err)
	}
	m.paths[pod.UID] = path
	if class != v1.PodQOSBurstable {
		return path, nil
	}
	requests := resource.PodRequests(pod, resource.PodResourcesOptions{})
	m.requests[pod.UID] = requests.Cpu().MilliValue()
	return path, m.weighBurstable()
}

// podLimits sums the containers up. A limit counts only if every container has one.
func (m *Manager) podLimits(pod *v1.Pod, class v1.PodQOSClass) limits {
	requests := resource.PodRequests(pod, resource.PodResourcesOptions{})
	allowed := resource.PodLimits(pod, resource.PodResourcesOptions{})
	l := limits{shares: qos.Shares(requests.Cpu().MilliValue()), pids: max(m.PodPids, 0)}
	if class == v1.PodQOSBestEffort {
		l.shares = qos.Shares(0)
	}
	l.weight = qos.Weight(l.shares)
	if m.CFSQuota && limited(pod, v1.ResourceCPU) {
		l.period = m.CFSPeriod.Microseconds()
		l.quota = qos.Quota(allowed.Cpu().MilliValue(), l.period)
	}
	if limited(pod, v1.ResourceMemory) {
		l.memory = allowed.Memory().Value()
	}
	return l
}

func limited(pod *v1.Pod, name v1.ResourceName) bool {
	if pod.Spec.Resources != nil {
		if _, ok := pod.Spec.Resources.Limits[name]; ok {
			return true
		}
	}
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if limit, ok := list[i].Resources.Limits[name]; !ok || limit.IsZero() {
				return false
			}
		}
	}
	return true
}

// weighBurstable gives the burstable pods together the weight of what they asked for.
func (m *Manager) weighBurstable() error {
	total := int64(0)
	for _, milli := range m.requests {
		total += milli
	}
	shares := qos.Shares(total)
	return m.tree.apply(m.classPath(v1.PodQOSBurstable), limits{shares: shares, weight: qos.Weight(shares)})
}

// Remove removes the pod's group and kills what still runs in it. Removing twice is no error.
func (m *Manager) Remove(uid types.UID) error {
	if m.tree == nil || uid == "" {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, class := range []v1.PodQOSClass{v1.PodQOSGuaranteed, v1.PodQOSBurstable, v1.PodQOSBestEffort} {
		if err := m.tree.remove(filepath.Join(m.classPath(class), podPrefix+string(uid))); err != nil {
			return err
		}
	}
	delete(m.paths, uid)
	if _, ok := m.requests[uid]; !ok {
		return nil
	}
	delete(m.requests, uid)
	return m.weighBurstable()
}

// Pods returns the UIDs of all pods that have a group.
func (m *Manager) Pods() []types.UID {
	if m.tree == nil {
		return nil
	}
	found := map[types.UID]bool{}
	for _, mount := range m.tree.all {
		for _, class := range []v1.PodQOSClass{v1.PodQOSGuaranteed, v1.PodQOSBurstable, v1.PodQOSBestEffort} {
			entries, err := os.ReadDir(filepath.Join(mount, m.classPath(class)))
			if err != nil {
				continue
			}
			for _, entry := range entries {
				if uid, ok := strings.CutPrefix(entry.Name(), podPrefix); ok && entry.IsDir() {
					found[types.UID(uid)] = true
				}
			}
		}
	}
	uids := make([]types.UID, 0, len(found))
	for uid := range found {
		uids = append(uids, uid)
	}
	return uids
}

// Close removes the groups above the pods, if no pod is left in them.
func (m *Manager) Close() error {
	if m.tree == nil || len(m.Pods()) > 0 {
		return nil
	}
	return m.tree.remove(m.top())
}
