package podnetwork

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// Agent keeps one node's pod network in step with the nodes of the cluster.
type Agent struct {
	cfg          Config
	log          *slog.Logger
	informers    informers.SharedInformerFactory
	ownInformers bool
	nodes        corelisters.NodeLister
	network      *network
	// wake holds at most one token: a node has changed.
	wake chan struct{}
}

// New checks the configuration and prepares an agent; Run starts it.
func New(cfg Config) (*Agent, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	a := &Agent{cfg: cfg, log: cfg.Logger, informers: cfg.Informers, network: newNetwork(&cfg), wake: make(chan struct{}, 1)}
	if a.informers == nil {
		a.informers, a.ownInformers = informers.NewSharedInformerFactory(cfg.Client, 0), true
	}
	a.nodes = a.informers.Core().V1().Nodes().Lister()
	return a, nil
}

// Cleanup removes what an agent with this configuration has put on the machine:
// CNI configuration, routes, rules, bridge and remembered addresses. Only
// CNIConfDir, BridgeName, IPAMDir and Logger are used.
func Cleanup(ctx context.Context, cfg Config) error {
	cfg.defaults()
	return newNetwork(&cfg).remove(ctx)
}

// Run keeps the network until ctx ends, and leaves it as it is then, so that
// pods can go on. All that it started has ended when it returns.
func (a *Agent) Run(ctx context.Context) error {
	informer := a.informers.Core().V1().Nodes().Informer()
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { a.changed() },
		DeleteFunc: func(any) { a.changed() },
		UpdateFunc: func(oldObj, newObj any) {
			if concerns(oldObj, newObj) {
				a.changed()
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	defer func() {
		_ = informer.RemoveEventHandler(registration)
		if a.ownInformers {
			a.informers.Shutdown()
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.informers.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return ctx.Err()
	}
	a.loop(ctx)
	return nil
}

func (a *Agent) changed() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// concerns ignores the heartbeats in node statuses.
func concerns(oldObj, newObj any) bool {
	old, ok1 := oldObj.(*v1.Node)
	node, ok2 := newObj.(*v1.Node)
	return !ok1 || !ok2 || !slices.Equal(old.Spec.PodCIDRs, node.Spec.PodCIDRs) || old.Spec.PodCIDR != node.Spec.PodCIDR ||
		!slices.Equal(old.Status.Addresses, node.Status.Addresses) || networkUnavailable(node) != nil
}

func (a *Agent) loop(ctx context.Context) {
	retry := firstRetry
	for {
		wait := resyncEvery
		if err := a.sync(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("pod network is not as it should be", "error", err, "retryAfter", retry)
			wait, retry = retry, min(2*retry, longestRetry)
		} else {
			retry = firstRetry
		}
		if !a.pause(ctx, wait) {
			return
		}
	}
}

// pause waits for a change or for the time to pass; it returns false when ctx ends.
func (a *Agent) pause(ctx context.Context, d time.Duration) bool {
	timer := a.cfg.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-a.wake:
	case <-timer.C():
	}
	return true
}

func (a *Agent) sync(ctx context.Context) error {
	nodes, err := a.nodes.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	plan := NewPlan(nodes, a.cfg.NodeName, a.cfg.ClusterCIDRs)
	if err := a.network.apply(ctx, plan); err != nil {
		return err
	}
	if len(plan.PodCIDRs) == 0 {
		a.log.Debug("node has no pod CIDR yet", "node", a.cfg.NodeName)
		return nil
	}
	return a.reportAvailable(ctx)
}

// networkUnavailable returns the condition of that type if it is true.
func networkUnavailable(node *v1.Node) *v1.NodeCondition {
	for i := range node.Status.Conditions {
		c := &node.Status.Conditions[i]
		if c.Type == v1.NodeNetworkUnavailable && c.Status != v1.ConditionFalse {
			return c
		}
	}
	return nil
}

// reportAvailable clears the node's NetworkUnavailable condition where a cloud
// or an administrator has set it.
func (a *Agent) reportAvailable(ctx context.Context) error {
	node, err := a.nodes.Get(a.cfg.NodeName)
	if err != nil || networkUnavailable(node) == nil {
		return nil
	}
	now := metav1.NewTime(a.cfg.Clock.Now())
	condition := v1.NodeCondition{Type: v1.NodeNetworkUnavailable, Status: v1.ConditionFalse, Reason: "PodNetworkReady",
		Message: "the node's pod network is set up", LastHeartbeatTime: now, LastTransitionTime: now}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []v1.NodeCondition{condition}}})
	if err != nil {
		return fmt.Errorf("node condition: %w", err)
	}
	_, err = a.cfg.Client.CoreV1().Nodes().Patch(ctx, a.cfg.NodeName, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("report pod network as available: %w", err)
	}
	return nil
}
