package node

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/component-helpers/apimachinery/lease"
	"k8s.io/utils/clock"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// Config is what a Manager works with.
type Config struct {
	Client kubernetes.Interface
	Clock  clock.Clock
	Logger *slog.Logger

	Name       string
	Labels     map[string]string
	Taints     []v1.Taint
	ProviderID string
	// Register: create the Node if there is none.
	Register bool

	LeaseDuration   time.Duration
	UpdateFrequency time.Duration // how often the status is computed
	ReportFrequency time.Duration // how often it is written although it has not changed

	// Status fills in all of the status but conditions' heartbeat and transition times, which the Manager keeps. It is
	// called from one goroutine at a time.
	Status func(ctx context.Context, status *v1.NodeStatus)
}

const (
	leaseNamespace = "kube-node-lease"
	leastRetry     = 50 * time.Millisecond
	mostRetry      = 5 * time.Second
	startupPause   = 100 * time.Millisecond // between looks while the node has never been ready
)

// Manager keeps the Node object. It is safe for concurrent use.
type Manager struct {
	Config
	changed chan struct{}

	mu       sync.Mutex
	node     *v1.Node // as last written or read
	reported time.Time
}

// New returns a manager that starts to work with Run.
func New(config Config) *Manager {
	return &Manager{Config: config, changed: make(chan struct{}, 1)}
}

// Node returns the Node as last written or read; nil before registration. It must not be changed.
func (m *Manager) Node() *v1.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.node
}

// Changed has the status computed, and if need be written, now.
func (m *Manager) Changed() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// Run registers the node and keeps it fresh until ctx ends.
func (m *Manager) Run(ctx context.Context) {
	if !m.register(ctx) {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { m.keepLease(ctx) })
	defer wg.Wait()
	for {
		if err := m.update(ctx); err != nil && ctx.Err() == nil {
			m.Logger.Warn("the node's status could not be written", "node", m.Name, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-m.changed:
		case <-m.Clock.After(m.period()):
		}
	}
}

// period is short until the node has been ready once, so that a fresh node is used at once.
func (m *Manager) period() time.Duration {
	if ready := Condition(m.Node().Status.Conditions, v1.NodeReady); ready == nil || ready.Status != v1.ConditionTrue {
		return startupPause
	}
	return m.UpdateFrequency
}

func (m *Manager) keepLease(ctx context.Context) {
	controller := lease.NewController(m.Clock, m.Client, m.Name, int32(m.LeaseDuration.Seconds()), nil,
		m.LeaseDuration/4, m.Name, leaseNamespace, m.ownLease)
	controller.Run(ctx)
}

// ownLease ties the lease to the Node, so that it goes with it.
func (m *Manager) ownLease(l *coordinationv1.Lease) error {
	if len(l.OwnerReferences) == 0 {
		l.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "v1", Kind: "Node", Name: m.Name, UID: m.Node().UID,
		}}
	}
	return nil
}

// register creates the Node or adopts the one that is there. It tries until ctx ends.
func (m *Manager) register(ctx context.Context) bool {
	for pause := leastRetry; ; pause = min(2*pause, mostRetry) {
		err := m.tryRegister(ctx)
		if err == nil {
			return true
		}
		if ctx.Err() == nil {
			m.Logger.Warn("the node could not be registered", "node", m.Name, "error", err, "retry", pause)
		}
		select {
		case <-ctx.Done():
			return false
		case <-m.Clock.After(pause):
		}
	}
}

func (m *Manager) tryRegister(ctx context.Context) error {
	nodes := m.Client.CoreV1().Nodes()
	if m.Register {
		created, err := nodes.Create(ctx, m.initial(ctx), metav1.CreateOptions{})
		if err == nil {
			m.Logger.Info("the node is registered", "node", m.Name)
			m.keep(created)
			return nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	existing, err := nodes.Get(ctx, m.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	m.keep(existing)
	return m.reconcile(ctx, existing)
}

func (m *Manager) keep(node *v1.Node) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.node = node
}

// initial is the Node as it is created, status included.
func (m *Manager) initial(ctx context.Context) *v1.Node {
	node := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: m.Name, Labels: maps.Clone(m.Labels),
			Annotations: map[string]string{"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
		},
		Spec: v1.NodeSpec{Taints: slices.Clone(m.Taints), ProviderID: m.ProviderID},
	}
	node.Status = m.status(ctx, v1.NodeStatus{})
	return node
}

// reconcile gives a Node that was there before the labels it must have.
func (m *Manager) reconcile(ctx context.Context, node *v1.Node) error {
	missing := map[string]string{}
	for key, value := range m.Labels {
		if node.Labels[key] != value {
			missing[key] = value
		}
	}
	if len(missing) == 0 {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": missing}})
	if err != nil {
		return err
	}
	updated, err := m.Client.CoreV1().Nodes().Patch(ctx, m.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("update labels: %w", err)
	}
	m.keep(updated)
	return nil
}

// status computes the whole status, taking times from old where nothing changed.
func (m *Manager) status(ctx context.Context, old v1.NodeStatus) v1.NodeStatus {
	status := *old.DeepCopy()
	status.Conditions = nil
	m.Status(ctx, &status)
	now := metav1.NewTime(m.Clock.Now()).Rfc3339Copy()
	for i := range status.Conditions {
		c := &status.Conditions[i]
		c.LastHeartbeatTime, c.LastTransitionTime = now, now
		if before := Condition(old.Conditions, c.Type); before != nil && before.Status == c.Status {
			c.LastTransitionTime = before.LastTransitionTime
		}
	}
	for _, c := range old.Conditions {
		if Condition(status.Conditions, c.Type) == nil {
			status.Conditions = append(status.Conditions, c)
		}
	}
	return status
}

// Condition returns the condition of a type, or nil.
func Condition(all []v1.NodeCondition, kind v1.NodeConditionType) *v1.NodeCondition {
	for i := range all {
		if all[i].Type == kind {
			return &all[i]
		}
	}
	return nil
}

// update writes the status if it differs from what the API server has, or has not been written for long. The
// server's own copy counts: there a node that was out of reach is marked as lost.
func (m *Manager) update(ctx context.Context) error {
	node, err := m.Client.CoreV1().Nodes().Get(ctx, m.Name, metav1.GetOptions{ResourceVersion: "0"})
	if apierrors.IsNotFound(err) && m.Register {
		return m.tryRegister(ctx)
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	due := m.Clock.Since(m.reported) >= m.ReportFrequency
	m.mu.Unlock()
	status := m.status(ctx, node.Status)
	if !due && !differs(node.Status, status) {
		m.keep(node)
		return nil
	}
	updated, err := m.patch(ctx, node, status)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.node, m.reported = updated, m.Clock.Now()
	return nil
}

// differs compares statuses without their heartbeats.
func differs(a, b v1.NodeStatus) bool {
	return !apiequality.Semantic.DeepEqual(withoutHeartbeats(a), withoutHeartbeats(b))
}

func withoutHeartbeats(s v1.NodeStatus) v1.NodeStatus {
	out := *s.DeepCopy()
	for i := range out.Conditions {
		out.Conditions[i].LastHeartbeatTime = metav1.Time{}
	}
	return out
}

func (m *Manager) patch(ctx context.Context, node *v1.Node, status v1.NodeStatus) (*v1.Node, error) {
	old, err := json.Marshal(v1.Node{Status: node.Status})
	if err != nil {
		return nil, err
	}
	wanted, err := json.Marshal(v1.Node{Status: status})
	if err != nil {
		return nil, err
	}
	diff, err := strategicpatch.CreateTwoWayMergePatch(old, wanted, v1.Node{})
	if err != nil {
		return nil, fmt.Errorf("compare statuses: %w", err)
	}
	return m.Client.CoreV1().Nodes().Patch(ctx, m.Name, types.StrategicMergePatchType, diff, metav1.PatchOptions{}, "status")
}
