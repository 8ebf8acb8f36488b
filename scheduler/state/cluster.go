package state

import (
	"fmt"
	"slices"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/yare-io/yare/scheduler/framework"
)

// Cluster is the mutable picture. It is safe for concurrent use.
type Cluster struct {
	mu sync.Mutex
	// nodes holds every node that exists or that a pod is on. An entry whose
	// Node is nil is only there for its pods.
	nodes map[string]*framework.NodeInfo
	// pods holds every pod that is counted on a node, assumed ones included.
	pods map[types.UID]*placed
	// generation of the last change to any node.
	generation int64
	// dirty names the nodes changed since the last snapshot.
	dirty    map[string]struct{}
	snapshot *framework.Snapshot
}

type placed struct {
	info    *framework.PodInfo
	node    string
	assumed bool
}

// NewCluster returns a cluster without nodes.
func NewCluster() *Cluster {
	return &Cluster{
		nodes: map[string]*framework.NodeInfo{}, pods: map[types.UID]*placed{}, dirty: map[string]struct{}{},
		snapshot: &framework.Snapshot{Index: map[string]int{}, ImageNodes: map[string]int{}},
	}
}

// SetNode adds or replaces a node.
func (c *Cluster) SetNode(node *v1.Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.node(node.Name).SetNode(node)
	c.touch(node.Name)
}

// RemoveNode forgets a node; pods that are still on it stay counted in case it
// comes back.
func (c *Cluster) RemoveNode(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, ok := c.nodes[name]
	if !ok {
		return
	}
	info.SetNode(nil)
	c.touch(name)
	c.dropIfEmpty(name)
}

// SetPod counts a pod in that the API says is on a node, in place of what was
// known of it before. That confirms an assumed pod.
func (c *Cluster) SetPod(pod *v1.Pod) error {
	info, err := framework.NewPodInfo(pod)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(pod.UID)
	c.place(info, pod.Spec.NodeName, false)
	if err != nil {
		return fmt.Errorf("pod %s counted without its affinity: %w", info.Key(), err)
	}
	return nil
}

// RemovePod counts a pod out.
func (c *Cluster) RemovePod(uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(uid)
}

// Assume counts a pod in on the node chosen for it, before the API knows.
func (c *Cluster) Assume(pod *framework.PodInfo, node string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.pods[pod.Pod.UID]; ok {
		return fmt.Errorf("pod %s is already on a node", pod.Key())
	}
	c.place(pod, node, true)
	return nil
}

// Forget takes back an assumption; a pod that the API has confirmed stays.
func (c *Cluster) Forget(uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.pods[uid]; ok && p.assumed {
		c.remove(uid)
	}
}

// Assumed reports whether the pod is counted but not confirmed.
func (c *Cluster) Assumed(uid types.UID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.pods[uid]
	return ok && p.assumed
}

// Size returns how many nodes, counted pods and assumed pods there are.
func (c *Cluster) Size() (nodes, pods, assumed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pods {
		if p.assumed {
			assumed++
		}
	}
	return len(c.nodes), len(c.pods), assumed
}

func (c *Cluster) node(name string) *framework.NodeInfo {
	info, ok := c.nodes[name]
	if !ok {
		info = framework.NewNodeInfo(nil)
		c.nodes[name] = info
	}
	return info
}

func (c *Cluster) place(info *framework.PodInfo, node string, assumed bool) {
	c.node(node).AddPod(info)
	c.pods[info.Pod.UID] = &placed{info: info, node: node, assumed: assumed}
	c.touch(node)
}

func (c *Cluster) remove(uid types.UID) {
	p, ok := c.pods[uid]
	if !ok {
		return
	}
	delete(c.pods, uid)
	c.nodes[p.node].RemovePod(uid)
	c.touch(p.node)
	c.dropIfEmpty(p.node)
}

func (c *Cluster) dropIfEmpty(name string) {
	if info := c.nodes[name]; info.Node == nil && len(info.Pods) == 0 {
		delete(c.nodes, name)
	}
}

func (c *Cluster) touch(name string) {
	c.generation++
	c.nodes[name].Generation = c.generation
	c.dirty[name] = struct{}{}
}

// Snapshot returns the cluster as it is now. It costs a copy of each node that
// has changed since the last call, and is valid until the next: one caller only.
func (c *Cluster) Snapshot() *framework.Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	affinity := false
	for _, name := range c.dirtyNames() {
		affinity = c.refresh(name) || affinity
	}
	clear(c.dirty)
	if affinity {
		c.snapshot.IndexAffinity()
	}
	return c.snapshot
}

// dirtyNames is sorted so that the order of nodes does not hang on chance.
func (c *Cluster) dirtyNames() []string {
	names := make([]string, 0, len(c.dirty))
	for name := range c.dirty {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// refresh brings one node of the snapshot up to date and reports whether the
// affinity indexes may have changed.
func (c *Cluster) refresh(name string) bool {
	old, current := c.snapshot.Node(name), c.nodes[name]
	exists := current != nil && current.Node != nil
	switch {
	case exists && old != nil:
		next := current.Clone()
		next.Slot = old.Slot
		c.snapshot.Nodes[old.Slot] = next
		c.countImages(old, next)
		return old.AffinityPods+next.AffinityPods > 0
	case exists:
		next := current.Clone()
		next.Slot = len(c.snapshot.Nodes)
		c.snapshot.Nodes = append(c.snapshot.Nodes, next)
		c.snapshot.Index[name] = next.Slot
		c.countImages(nil, next)
		return next.AffinityPods > 0
	case old != nil:
		c.removeSlot(old)
		c.countImages(old, nil)
		return true
	}
	return false
}

// removeSlot moves the last node into the place of the one that is gone.
func (c *Cluster) removeSlot(gone *framework.NodeInfo) {
	last := len(c.snapshot.Nodes) - 1
	moved := c.snapshot.Nodes[last].Clone()
	moved.Slot = gone.Slot
	c.snapshot.Nodes[gone.Slot] = moved
	c.snapshot.Index[moved.Name()] = gone.Slot
	c.snapshot.Nodes[last] = nil
	c.snapshot.Nodes = c.snapshot.Nodes[:last]
	delete(c.snapshot.Index, gone.Name())
}

func (c *Cluster) countImages(old, next *framework.NodeInfo) {
	changed := old == nil || next == nil
	if old != nil {
		for image := range old.Images {
			if next != nil && hasImage(next, image) {
				continue
			}
			changed = true
			if c.snapshot.ImageNodes[image]--; c.snapshot.ImageNodes[image] == 0 {
				delete(c.snapshot.ImageNodes, image)
			}
		}
	}
	if next != nil {
		for image := range next.Images {
			if old != nil && hasImage(old, image) {
				continue
			}
			changed = true
			c.snapshot.ImageNodes[image]++
		}
	}
	if changed {
		c.snapshot.Epoch++
	}
}

func hasImage(node *framework.NodeInfo, image string) bool {
	_, ok := node.Images[image]
	return ok
}
