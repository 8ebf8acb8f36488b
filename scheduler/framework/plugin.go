package framework

import (
	"context"

	v1 "k8s.io/api/core/v1"
)

// MaxScore is the best normalised score, 0 the worst.
const MaxScore int64 = 100

// Scope says what a plugin's answer for a node depends on.
type Scope int

const (
	// NodeScope: on the pod's class, that node, and what Snapshot.Epoch
	// covers. Answers are kept until one of these changes.
	NodeScope Scope = iota
	// ClusterScope: on anything; the plugin is asked anew for every pod.
	ClusterScope
)

// Plugin is anything with a name that users can enable, disable and configure.
type Plugin interface{ Name() string }

// Gate keeps pods out of the queue until it lets them pass (PreEnqueue).
type Gate interface {
	Plugin
	// Admit returns a rejection while the pod must wait. It must be fast.
	Admit(pod *v1.Pod) *Status
}

// Narrower knows from the pod alone that only a few nodes can be right.
type Narrower interface {
	Plugin
	// Narrow returns the names of the only possible nodes, or ok = false.
	Narrow(pod *v1.Pod) (names []string, ok bool)
}

// NodeFilter says which nodes a pod can run on. The status it returns for a
// node is nil or a rejection.
type NodeFilter interface{ Filter(node *NodeInfo) *Status }

// FilterPlugin compiles a pod into a NodeFilter. One call covers all nodes, so
// a plugin in another process needs one round trip for a pod.
type FilterPlugin interface {
	Plugin
	Scope() Scope
	// PrepareFilter returns nil, nil when the plugin has nothing to say about
	// the pod, and a status when it rejects the pod on every node. A NodeScope
	// plugin may be called with one pod of a class and asked about others.
	PrepareFilter(pod *PodInfo, snapshot *Snapshot) (NodeFilter, *Status)
}

// NodeScorer rates nodes for one pod.
type NodeScorer interface {
	// Score returns a raw score, in the plugin's own unit.
	Score(node *NodeInfo) int64
	// Normalize turns raw scores into 0..MaxScore in place; scores[i] belongs to
	// nodes[i].
	Normalize(scores []int64, nodes []*NodeInfo)
}

// ScorePlugin compiles a pod into a NodeScorer.
type ScorePlugin interface {
	Plugin
	Scope() Scope
	// PrepareScore returns nil, nil when the plugin has no preference about the
	// pod. feasible are the nodes that passed all filters; it is nil for a
	// NodeScope plugin.
	PrepareScore(pod *PodInfo, snapshot *Snapshot, feasible []*NodeInfo) (NodeScorer, *Status)
}

// Reserver takes and gives back what a pod needs on its chosen node outside of
// the node's own sums.
type Reserver interface {
	Plugin
	Reserve(ctx context.Context, pod *v1.Pod, node string) *Status
	// Unreserve must be safe to call when Reserve was not.
	Unreserve(ctx context.Context, pod *v1.Pod, node string)
}

// PreBinder does what must be done before the pod may start on its node. It is
// called off the scheduling loop and may block.
type PreBinder interface {
	Plugin
	PreBind(ctx context.Context, pod *v1.Pod, node string) *Status
}

// Binder writes the decision. The first enabled one is used.
type Binder interface {
	Plugin
	Bind(ctx context.Context, pod *v1.Pod, node string) error
}

// Requeuer says which changes in the cluster can make a pod schedulable that
// the plugin has rejected. A plugin that rejects and is not a Requeuer is taken
// to care for every change.
type Requeuer interface {
	Plugin
	Wakes() []Wake
}

// Wake is one kind of change, with an optional closer look.
type Wake struct {
	On Event
	// Hint looks at the change and reports whether it is worth another try for
	// the pod; nil means always. oldObj or newObj is nil for an addition or a
	// deletion. It must be fast and safe for concurrent use.
	Hint func(pod *v1.Pod, oldObj, newObj any) bool
}

// Event is a set of kinds of change.
type Event uint32

// The kinds of change that can wake a pod.
const (
	NodeAdd Event = 1 << iota
	NodeAllocatable
	NodeLabels
	NodeTaints
	NodeUnschedulable
	NodeImages
	NodeDelete
	// AssignedPod* are about pods on nodes.
	AssignedPodAdd
	AssignedPodUpdate
	AssignedPodDelete
	// PodUpdate is a change of the waiting pod itself.
	PodUpdate
	ClaimChange
	VolumeChange
	StorageClassChange
	CSINodeChange
	NamespaceLabels
	// Flushed: the pod waited long enough to be tried without a reason.
	Flushed
)

var eventNames = []string{"NodeAdd", "NodeAllocatableUpdate", "NodeLabelUpdate", "NodeTaintUpdate",
	"NodeUnschedulableUpdate", "NodeImagesUpdate", "NodeDelete", "AssignedPodAdd", "AssignedPodUpdate",
	"AssignedPodDelete", "PodUpdate", "PersistentVolumeClaimUpdate", "PersistentVolumeUpdate",
	"StorageClassUpdate", "CSINodeUpdate", "NamespaceLabelUpdate", "UnschedulableTimeout"}

// String names the first kind in the set, as metrics label it.
func (e Event) String() string {
	for i, name := range eventNames {
		if e&(1<<i) != 0 {
			return name
		}
	}
	return "None"
}
