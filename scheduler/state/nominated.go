package state

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/yare-io/yare/scheduler/framework"
)

// Nominated remembers which waiting pods have been promised room on which
// node, after preemption made it. It is safe for concurrent use.
type Nominated struct {
	mu     sync.Mutex
	byNode map[string]map[types.UID]*framework.PodInfo
	nodeOf map[types.UID]string
}

// NewNominated returns an empty set.
func NewNominated() *Nominated {
	return &Nominated{byNode: map[string]map[types.UID]*framework.PodInfo{}, nodeOf: map[types.UID]string{}}
}

// Set promises the pod room on node, in place of any earlier promise; an empty
// node takes the promise back.
func (n *Nominated) Set(pod *framework.PodInfo, node string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.drop(pod.Pod.UID)
	if node == "" {
		return
	}
	if n.byNode[node] == nil {
		n.byNode[node] = map[types.UID]*framework.PodInfo{}
	}
	n.byNode[node][pod.Pod.UID] = pod
	n.nodeOf[pod.Pod.UID] = node
}

// Drop takes the pod's promise back.
func (n *Nominated) Drop(uid types.UID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.drop(uid)
}

func (n *Nominated) drop(uid types.UID) {
	node, ok := n.nodeOf[uid]
	if !ok {
		return
	}
	delete(n.nodeOf, uid)
	delete(n.byNode[node], uid)
	if len(n.byNode[node]) == 0 {
		delete(n.byNode, node)
	}
}

// Node returns the node that the pod was promised, or "".
func (n *Nominated) Node(uid types.UID) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.nodeOf[uid]
}

// Empty reports whether there is no promise at all.
func (n *Nominated) Empty() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.nodeOf) == 0
}

// Ahead returns the pods promised room on node that the given pod must not
// take it from: those of the same or a higher priority, other than itself.
func (n *Nominated) Ahead(pod *framework.PodInfo, node string) []*framework.PodInfo {
	n.mu.Lock()
	defer n.mu.Unlock()
	var ahead []*framework.PodInfo
	for uid, other := range n.byNode[node] {
		if uid != pod.Pod.UID && other.Priority >= pod.Priority {
			ahead = append(ahead, other)
		}
	}
	return ahead
}

// Below returns the pods promised room on node that have a lower priority.
func (n *Nominated) Below(pod *framework.PodInfo, node string) []*framework.PodInfo {
	n.mu.Lock()
	defer n.mu.Unlock()
	var below []*framework.PodInfo
	for _, other := range n.byNode[node] {
		if other.Priority < pod.Priority {
			below = append(below, other)
		}
	}
	return below
}
