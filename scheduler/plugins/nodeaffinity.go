package plugins

import (
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	config "k8s.io/kube-scheduler/config/v1"

	"github.com/yare-io/yare/scheduler/framework"
)

// NodeAffinity honours spec.nodeSelector and required node affinity, and
// prefers nodes by preferred node affinity.
type NodeAffinity struct {
	added          *nodeaffinity.NodeSelector
	addedPreferred *nodeaffinity.PreferredSchedulingTerms
}

const nodeAffinityName = "NodeAffinity"

var (
	affinityMismatch      = framework.RejectForGood(nodeAffinityName, "node(s) didn't match Pod's node affinity/selector")
	addedAffinityMismatch = framework.RejectForGood(nodeAffinityName, "node(s) didn't match scheduler-enforced node affinity")
)

// NewNodeAffinity compiles the affinity that args add to every pod's own.
func NewNodeAffinity(args *config.NodeAffinityArgs) (*NodeAffinity, error) {
	plugin := &NodeAffinity{}
	if args == nil || args.AddedAffinity == nil {
		return plugin, nil
	}
	var err error
	if required := args.AddedAffinity.RequiredDuringSchedulingIgnoredDuringExecution; required != nil {
		if plugin.added, err = nodeaffinity.NewNodeSelector(required); err != nil {
			return nil, fmt.Errorf("addedAffinity, required: %w", err)
		}
	}
	if preferred := args.AddedAffinity.PreferredDuringSchedulingIgnoredDuringExecution; len(preferred) > 0 {
		if plugin.addedPreferred, err = nodeaffinity.NewPreferredSchedulingTerms(preferred); err != nil {
			return nil, fmt.Errorf("addedAffinity, preferred: %w", err)
		}
	}
	return plugin, nil
}

// Name returns the plugin's name in configurations.
func (*NodeAffinity) Name() string { return nodeAffinityName }

// Scope says that answers hold for a class of pods.
func (*NodeAffinity) Scope() framework.Scope { return framework.NodeScope }

// PrepareFilter implements framework.FilterPlugin.
func (p *NodeAffinity) PrepareFilter(pod *framework.PodInfo, _ *framework.Snapshot) (framework.NodeFilter, *framework.Status) {
	affinity := pod.Pod.Spec.Affinity
	asks := len(pod.Pod.Spec.NodeSelector) > 0 || affinity != nil && affinity.NodeAffinity != nil &&
		affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil
	if !asks && p.added == nil {
		return nil, nil
	}
	return &nodeAffinityFilter{added: p.added, required: nodeaffinity.GetRequiredNodeAffinity(pod.Pod)}, nil
}

// Narrow implements framework.Narrower for pods that name their node in every
// term of required affinity, as those of a DaemonSet do.
func (p *NodeAffinity) Narrow(pod *v1.Pod) ([]string, bool) {
	affinity := pod.Spec.Affinity
	if affinity == nil || affinity.NodeAffinity == nil || affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return nil, false
	}
	var names []string
	for _, term := range affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		i := slices.IndexFunc(term.MatchFields, func(r v1.NodeSelectorRequirement) bool {
			return r.Key == metav1.ObjectNameField && r.Operator == v1.NodeSelectorOpIn
		})
		if i < 0 {
			return nil, false
		}
		names = append(names, term.MatchFields[i].Values...)
	}
	slices.Sort(names)
	return slices.Compact(names), len(names) > 0
}

// PrepareScore implements framework.ScorePlugin.
func (p *NodeAffinity) PrepareScore(pod *framework.PodInfo, _ *framework.Snapshot, _ []*framework.NodeInfo) (framework.NodeScorer, *framework.Status) {
	var own *nodeaffinity.PreferredSchedulingTerms
	if a := pod.Pod.Spec.Affinity; a != nil && a.NodeAffinity != nil && len(a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution) > 0 {
		terms, err := nodeaffinity.NewPreferredSchedulingTerms(a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
		if err != nil {
			return nil, framework.Fail(nodeAffinityName, err)
		}
		own = terms
	}
	if own == nil && p.addedPreferred == nil {
		return nil, nil
	}
	return &nodeAffinityScorer{own: own, added: p.addedPreferred}, nil
}

// Wakes implements framework.Requeuer.
func (p *NodeAffinity) Wakes() []framework.Wake {
	return []framework.Wake{{On: framework.NodeAdd | framework.NodeLabels, Hint: func(pod *v1.Pod, _, newObj any) bool {
		node, ok := newObj.(*v1.Node)
		if !ok || p.added != nil && !p.added.Match(node) {
			return false
		}
		matches, err := nodeaffinity.GetRequiredNodeAffinity(pod).Match(node)
		return matches || err != nil
	}}}
}

type nodeAffinityFilter struct {
	added    *nodeaffinity.NodeSelector
	required nodeaffinity.RequiredNodeAffinity
}

func (f *nodeAffinityFilter) Filter(node *framework.NodeInfo) *framework.Status {
	if f.added != nil && !f.added.Match(node.Node) {
		return addedAffinityMismatch
	}
	// A term that cannot be parsed matches no node, as the API server's
	// validation would have told the author.
	if matches, _ := f.required.Match(node.Node); !matches {
		return affinityMismatch
	}
	return nil
}

type nodeAffinityScorer struct {
	own, added *nodeaffinity.PreferredSchedulingTerms
}

func (s *nodeAffinityScorer) Score(node *framework.NodeInfo) int64 {
	var score int64
	if s.own != nil {
		score += s.own.Score(node.Node)
	}
	if s.added != nil {
		score += s.added.Score(node.Node)
	}
	return score
}

func (*nodeAffinityScorer) Normalize(scores []int64, _ []*framework.NodeInfo) {
	scaleToMax(scores, false)
}
