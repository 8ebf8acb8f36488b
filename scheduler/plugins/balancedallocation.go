package plugins

import (
	"math"

	v1 "k8s.io/api/core/v1"
	config "k8s.io/kube-scheduler/config/v1"

	"github.com/yare-io/yare/scheduler/framework"
)

// NodeResourcesBalancedAllocation prefers nodes whose resources are taken more
// evenly with the pod than without it.
type NodeResourcesBalancedAllocation struct{ resources []config.ResourceSpec }

// NewNodeResourcesBalancedAllocation takes the resources to balance, CPU and
// memory by default.
func NewNodeResourcesBalancedAllocation(args *config.NodeResourcesBalancedAllocationArgs) *NodeResourcesBalancedAllocation {
	if args == nil || len(args.Resources) == 0 {
		return &NodeResourcesBalancedAllocation{resources: defaultScoredResources()}
	}
	return &NodeResourcesBalancedAllocation{resources: args.Resources}
}

// Name returns the plugin's name in configurations.
func (*NodeResourcesBalancedAllocation) Name() string { return "NodeResourcesBalancedAllocation" }

// Scope says that answers hold for a class of pods.
func (*NodeResourcesBalancedAllocation) Scope() framework.Scope { return framework.NodeScope }

// PrepareScore implements framework.ScorePlugin; pods that ask for nothing
// balance nothing.
func (p *NodeResourcesBalancedAllocation) PrepareScore(pod *framework.PodInfo, _ *framework.Snapshot, _ []*framework.NodeInfo) (framework.NodeScorer, *framework.Status) {
	if pod.Requests.Zero() {
		return nil, nil
	}
	return &balanceScorer{resources: p.resources, asked: &pod.Requests}, nil
}

type balanceScorer struct {
	resources []config.ResourceSpec
	asked     *framework.Resources
}

func (s *balanceScorer) Score(node *framework.NodeInfo) int64 {
	const half = framework.MaxScore / 2
	return half + (half+s.balance(node, true)-s.balance(node, false))/2
}

func (*balanceScorer) Normalize([]int64, []*framework.NodeInfo) {}

// balance is MaxScore less the standard deviation, in percent, of the taken
// fractions of the resources.
func (s *balanceScorer) balance(node *framework.NodeInfo, withPod bool) int64 {
	var fractions []float64
	var sum float64
	for _, resource := range s.resources {
		name := v1.ResourceName(resource.Name)
		capacity, asked := node.Allocatable.Get(name), s.asked.Get(name)
		if capacity == 0 || asked == 0 && !native(name) {
			continue
		}
		taken := node.Requested.Get(name)
		if withPod {
			taken += asked
		}
		fraction := min(float64(taken)/float64(capacity), 1)
		fractions = append(fractions, fraction)
		sum += fraction
	}
	return int64((1 - deviation(fractions, sum)) * float64(framework.MaxScore))
}

func deviation(fractions []float64, sum float64) float64 {
	if len(fractions) < 2 {
		return 0
	}
	mean := sum / float64(len(fractions))
	var squares float64
	for _, f := range fractions {
		squares += (f - mean) * (f - mean)
	}
	return math.Sqrt(squares / float64(len(fractions)))
}
