// Package nodeipam gives every node a prefix of the cluster's pod addresses, and
// takes it back when the node goes. What it gave out is written in the nodes
// alone: after a restart it reads them before it gives out more.
package nodeipam

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/yare-io/yare/controllers/worker"
)

// Ranges are the addresses to give out.
type Ranges struct {
	// Cluster has one prefix for each IP family.
	Cluster []netip.Prefix
	// Services are never given to a node.
	Services []netip.Prefix
	// MaskIPv4 and MaskIPv6 are the lengths of a node's prefixes; 0 means 24
	// and 64.
	MaskIPv4, MaskIPv6 int
}

type controller struct {
	env   *worker.Env
	nodes corelisters.NodeLister

	mu    sync.Mutex
	pools []*pool
	// given are the prefixes of nodes, by UID, also of those in whose cached
	// state they do not show yet.
	given   map[types.UID][]netip.Prefix
	counted bool
}

// New makes the range allocator.
func New(env *worker.Env, ranges Ranges) (worker.Runner, error) {
	if len(ranges.Cluster) == 0 {
		return nil, worker.NotConfigured("no cluster CIDR")
	}
	pools, err := poolsOf(ranges)
	if err != nil {
		return nil, err
	}
	nodes := env.Informers.Core().V1().Nodes()
	c := &controller{env: env, nodes: nodes.Lister(), pools: pools, given: map[types.UID][]netip.Prefix{}}
	loop := worker.NewLoop(env, worker.Options[worker.Key]{Queue: "cidrallocator_node", Workers: env.Workers, Reconcile: c.reconcile})
	worker.Watch(loop, nodes.Informer(), func(old, now *corev1.Node) {
		switch {
		case now == nil:
			c.release(old)
		case old != nil && old.UID != now.UID:
			c.release(old)
			loop.Add(worker.KeyOf(now))
		case len(now.Spec.PodCIDRs) == 0:
			loop.Add(worker.KeyOf(now))
		}
	})
	return loop, nil
}

func poolsOf(ranges Ranges) ([]*pool, error) {
	var pools []*pool
	for _, cluster := range ranges.Cluster {
		bits := ranges.MaskIPv4
		if cluster.Addr().Is6() {
			bits = ranges.MaskIPv6
		}
		if bits == 0 && cluster.Addr().Is6() {
			bits = 64
		} else if bits == 0 {
			bits = 24
		}
		p, err := newPool(cluster, bits)
		if err != nil {
			return nil, err
		}
		for _, services := range ranges.Services {
			p.occupy(services)
		}
		pools = append(pools, p)
	}
	return pools, nil
}

func (c *controller) reconcile(ctx context.Context, key worker.Key) error {
	node, err := c.nodes.Get(key.Name)
	if apierrors.IsNotFound(err) || err == nil && (len(node.Spec.PodCIDRs) > 0 || node.DeletionTimestamp != nil) {
		return nil
	}
	if err != nil {
		return err
	}
	prefixes, err := c.reserve(node)
	if err != nil {
		c.env.Events.Eventf(node, corev1.EventTypeNormal, "CIDRNotAvailable", "Node %s status is now: CIDRNotAvailable", node.Name)
		return fmt.Errorf("failed to allocate CIDR for node %s: %w", node.Name, err)
	}
	return c.write(ctx, node, prefixes)
}

// reserve takes a prefix of each pool for the node, or returns those it has
// already.
func (c *controller) reserve(node *corev1.Node) ([]netip.Prefix, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.count(); err != nil {
		return nil, err
	}
	if prefixes := c.given[node.UID]; prefixes != nil {
		return prefixes, nil
	}
	var prefixes []netip.Prefix
	for _, p := range c.pools {
		prefix, err := p.allocate()
		if err != nil {
			c.giveBack(prefixes)
			return nil, err
		}
		prefixes = append(prefixes, prefix)
	}
	c.given[node.UID] = prefixes
	return prefixes, nil
}

// count notes, once, what all nodes have. The cache is complete by then.
func (c *controller) count() error {
	if c.counted {
		return nil
	}
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		return err
	}
	for _, node := range nodes {
		for _, prefix := range prefixesOf(node) {
			for _, p := range c.pools {
				p.occupy(prefix)
			}
		}
	}
	c.counted = true
	return nil
}

func prefixesOf(node *corev1.Node) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, text := range node.Spec.PodCIDRs {
		if prefix, err := netip.ParsePrefix(text); err == nil {
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes
}

func (c *controller) release(node *corev1.Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	prefixes := c.given[node.UID]
	if prefixes == nil {
		prefixes = prefixesOf(node)
	}
	delete(c.given, node.UID)
	if c.counted {
		c.giveBack(prefixes)
	}
}

func (c *controller) giveBack(prefixes []netip.Prefix) {
	for _, prefix := range prefixes {
		for _, p := range c.pools {
			p.release(prefix)
		}
	}
}

// write patches the node. If it fails, the prefixes stay reserved for the retry.
func (c *controller) write(ctx context.Context, node *corev1.Node, prefixes []netip.Prefix) error {
	texts := make([]string, 0, len(prefixes))
	for _, prefix := range prefixes {
		texts = append(texts, prefix.String())
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": node.UID},
		"spec":     map[string]any{"podCIDR": texts[0], "podCIDRs": texts},
	})
	if err != nil {
		return err
	}
	_, err = c.env.Client.CoreV1().Nodes().Patch(ctx, node.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
