package plugins

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	config "k8s.io/kube-scheduler/config/v1"

	"github.com/yare-io/yare/scheduler/framework"
)

const fitName = "NodeResourcesFit"

// NodeResourcesFit rejects nodes that have not enough of a resource left, and
// scores nodes by how much of them is taken.
type NodeResourcesFit struct {
	ignored       map[v1.ResourceName]bool
	ignoredGroups map[string]bool
	resources     []config.ResourceSpec
	rate          func(requested, capacity int64) int64
	// ratio rounds to nearest and counts only resources with a score above 0.
	ratio bool
}

// NewNodeResourcesFit reads the resources to ignore and the scoring strategy.
func NewNodeResourcesFit(args *config.NodeResourcesFitArgs) (*NodeResourcesFit, error) {
	p := &NodeResourcesFit{ignored: map[v1.ResourceName]bool{}, ignoredGroups: map[string]bool{},
		resources: defaultScoredResources(), rate: leastAllocated}
	if args == nil {
		return p, nil
	}
	for _, name := range args.IgnoredResources {
		p.ignored[v1.ResourceName(name)] = true
	}
	for _, group := range args.IgnoredResourceGroups {
		p.ignoredGroups[group] = true
	}
	if args.ScoringStrategy == nil {
		return p, nil
	}
	if len(args.ScoringStrategy.Resources) > 0 {
		p.resources = withDefaultWeights(args.ScoringStrategy.Resources)
	}
	switch args.ScoringStrategy.Type {
	case "", config.LeastAllocated:
	case config.MostAllocated:
		p.rate = mostAllocated
	case config.RequestedToCapacityRatio:
		shape, err := newShape(args.ScoringStrategy.RequestedToCapacityRatio)
		if err != nil {
			return nil, err
		}
		p.rate, p.ratio = shape.rate, true
	default:
		return nil, fmt.Errorf("scoringStrategy.type %q is not LeastAllocated, MostAllocated or RequestedToCapacityRatio", args.ScoringStrategy.Type)
	}
	return p, nil
}

func defaultScoredResources() []config.ResourceSpec {
	return []config.ResourceSpec{{Name: string(v1.ResourceCPU), Weight: 1}, {Name: string(v1.ResourceMemory), Weight: 1}}
}

func withDefaultWeights(resources []config.ResourceSpec) []config.ResourceSpec {
	resources = slices.Clone(resources)
	for i := range resources {
		if resources[i].Weight == 0 {
			resources[i].Weight = 1
		}
	}
	return resources
}

// Name returns the plugin's name in configurations.
func (*NodeResourcesFit) Name() string { return fitName }

// Scope says that answers hold for a class of pods.
func (*NodeResourcesFit) Scope() framework.Scope { return framework.NodeScope }

// PrepareFilter implements framework.FilterPlugin.
func (p *NodeResourcesFit) PrepareFilter(pod *framework.PodInfo, _ *framework.Snapshot) (framework.NodeFilter, *framework.Status) {
	filter := &fitFilter{}
	add := func(name v1.ResourceName, amount int64) {
		if amount > 0 {
			filter.asks = append(filter.asks, ask{name: name, amount: amount, reason: "Insufficient " + string(name)})
		}
	}
	add(v1.ResourceCPU, pod.Requests.MilliCPU)
	add(v1.ResourceMemory, pod.Requests.Memory)
	add(v1.ResourceEphemeralStorage, pod.Requests.EphemeralStorage)
	for name, amount := range pod.Requests.Scalar {
		group, _, _ := strings.Cut(string(name), "/")
		if !p.ignored[name] && !p.ignoredGroups[group] {
			add(name, amount)
		}
	}
	return filter, nil
}

type ask struct {
	name   v1.ResourceName
	amount int64
	reason string
}

type fitFilter struct{ asks []ask }

func (f *fitFilter) Filter(node *framework.NodeInfo) *framework.Status {
	var reasons []string
	code := framework.Unschedulable
	if len(node.Pods)+1 > node.AllowedPods {
		reasons = append(reasons, "Too many pods")
	}
	for i := range f.asks {
		a := &f.asks[i]
		capacity := node.Allocatable.Get(a.name)
		if a.amount <= capacity-node.Requested.Get(a.name) {
			continue
		}
		reasons = append(reasons, a.reason)
		if a.amount > capacity {
			code = framework.Unresolvable
		}
	}
	if reasons == nil {
		return nil
	}
	return &framework.Status{Code: code, Plugin: fitName, Reasons: reasons}
}

// PrepareScore implements framework.ScorePlugin.
func (p *NodeResourcesFit) PrepareScore(pod *framework.PodInfo, _ *framework.Snapshot, _ []*framework.NodeInfo) (framework.NodeScorer, *framework.Status) {
	return &fitScorer{plugin: p, pod: pod}, nil
}

type fitScorer struct {
	plugin *NodeResourcesFit
	pod    *framework.PodInfo
}

// Score is the weighted mean of the rates of the resources that the node has.
func (s *fitScorer) Score(node *framework.NodeInfo) int64 {
	var sum, weights int64
	for _, resource := range s.plugin.resources {
		name := v1.ResourceName(resource.Name)
		capacity := node.Allocatable.Get(name)
		asked := s.pod.Scored.Get(name)
		if capacity == 0 || asked == 0 && !native(name) {
			continue
		}
		rate := s.plugin.rate(node.Scored.Get(name)+asked, capacity)
		if s.plugin.ratio && rate <= 0 {
			continue
		}
		sum += rate * resource.Weight
		weights += resource.Weight
	}
	if weights == 0 {
		return 0
	}
	if s.plugin.ratio {
		return (2*sum + weights) / (2 * weights)
	}
	return sum / weights
}

func (*fitScorer) Normalize([]int64, []*framework.NodeInfo) {}

func native(name v1.ResourceName) bool {
	return name == v1.ResourceCPU || name == v1.ResourceMemory || name == v1.ResourceEphemeralStorage
}

func leastAllocated(requested, capacity int64) int64 {
	if requested > capacity {
		return 0
	}
	return (capacity - requested) * framework.MaxScore / capacity
}

func mostAllocated(requested, capacity int64) int64 {
	return min(requested, capacity) * framework.MaxScore / capacity
}

// Wakes implements framework.Requeuer.
func (p *NodeResourcesFit) Wakes() []framework.Wake {
	fits := func(pod *v1.Pod, _, newObj any) bool {
		node, ok := newObj.(*v1.Node)
		return ok && p.couldFit(pod, node)
	}
	frees := func(pod *v1.Pod, oldObj, _ any) bool {
		gone, ok := oldObj.(*v1.Pod)
		return !ok || gone.UID != pod.UID
	}
	return []framework.Wake{
		{On: framework.NodeAdd | framework.NodeAllocatable, Hint: fits},
		{On: framework.AssignedPodDelete | framework.AssignedPodUpdate, Hint: frees},
		{On: framework.PodUpdate},
	}
}

// couldFit reports whether the pod would fit on the node if it were empty.
func (p *NodeResourcesFit) couldFit(pod *v1.Pod, node *v1.Node) bool {
	info, _ := framework.NewPodInfo(pod)
	filter, _ := p.PrepareFilter(info, nil)
	return filter.Filter(framework.NewNodeInfo(node)).OK()
}
