package plugins

import (
	"fmt"

	config "k8s.io/kube-scheduler/config/v1"
)

// DefaultPreemptionName is the name of DefaultPreemption in configurations.
const DefaultPreemptionName = "DefaultPreemption"

// DefaultPreemption makes room for pods by evicting pods of lower priority.
// The plugin holds its settings; the scheduler does the work, because trying a
// node without its victims needs all the other plugins.
type DefaultPreemption struct {
	minPercentage, minAbsolute int
}

// NewDefaultPreemption checks how many candidates args ask for at least.
func NewDefaultPreemption(args *config.DefaultPreemptionArgs) (*DefaultPreemption, error) {
	p := &DefaultPreemption{minPercentage: 10, minAbsolute: 100}
	if args != nil && args.MinCandidateNodesPercentage != nil {
		p.minPercentage = int(*args.MinCandidateNodesPercentage)
	}
	if args != nil && args.MinCandidateNodesAbsolute != nil {
		p.minAbsolute = int(*args.MinCandidateNodesAbsolute)
	}
	if p.minPercentage < 0 || p.minPercentage > 100 || p.minAbsolute < 0 || p.minPercentage+p.minAbsolute == 0 {
		return nil, fmt.Errorf("minCandidateNodesPercentage %d must be within 0..100, minCandidateNodesAbsolute %d not negative, and not both 0", p.minPercentage, p.minAbsolute)
	}
	return p, nil
}

// Name returns the plugin's name in configurations.
func (*DefaultPreemption) Name() string { return DefaultPreemptionName }

// Candidates returns how many nodes to try before choosing among them.
func (p *DefaultPreemption) Candidates(nodes int) int {
	return min(nodes, max(nodes*p.minPercentage/100, p.minAbsolute, 1))
}
