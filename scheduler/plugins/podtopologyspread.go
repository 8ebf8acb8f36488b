package plugins

import (
	"errors"
	"fmt"
	"math"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	config "k8s.io/kube-scheduler/config/v1"

	"github.com/yare-io/yare/scheduler/framework"
)

const spreadName = "PodTopologySpread"

// PodTopologySpread keeps pods evenly spread over domains: by the pod's own
// constraints or, for pods of services and controllers that have none, by
// soft defaults over hosts and zones.
type PodTopologySpread struct {
	sources  Sources
	defaults []v1.TopologySpreadConstraint
	// system says that defaults are Kubernetes' own; then nodes without the
	// labels take part too.
	system  bool
	counter *matchCounter
}

var (
	spreadMismatch     = framework.Reject(spreadName, "node(s) didn't match pod topology spread constraints")
	spreadMissingLabel = framework.RejectForGood(spreadName, "node(s) didn't match pod topology spread constraints (missing required label)")
)

var systemDefaultConstraints = []v1.TopologySpreadConstraint{
	{TopologyKey: v1.LabelHostname, WhenUnsatisfiable: v1.ScheduleAnyway, MaxSkew: 3},
	{TopologyKey: v1.LabelTopologyZone, WhenUnsatisfiable: v1.ScheduleAnyway, MaxSkew: 5},
}

// NewPodTopologySpread reads the default constraints.
func NewPodTopologySpread(sources Sources, args *config.PodTopologySpreadArgs) (*PodTopologySpread, error) {
	p := &PodTopologySpread{sources: sources, counter: newMatchCounter()}
	if args == nil || args.DefaultingType == "" && len(args.DefaultConstraints) == 0 || args.DefaultingType == config.SystemDefaulting {
		if args != nil && len(args.DefaultConstraints) > 0 {
			return nil, errors.New("defaultConstraints cannot be given when defaultingType is System")
		}
		p.defaults, p.system = systemDefaultConstraints, true
		return p, nil
	}
	if args.DefaultingType != config.ListDefaulting {
		return nil, fmt.Errorf("defaultingType %q is not System or List", args.DefaultingType)
	}
	for i, c := range args.DefaultConstraints {
		if c.LabelSelector != nil || c.MaxSkew < 1 || c.TopologyKey == "" {
			return nil, fmt.Errorf("defaultConstraints[%d] needs a topologyKey, a positive maxSkew and no labelSelector", i)
		}
	}
	p.defaults = args.DefaultConstraints
	return p, nil
}

// Name returns the plugin's name in configurations.
func (*PodTopologySpread) Name() string { return spreadName }

// Scope says that answers depend on other nodes.
func (*PodTopologySpread) Scope() framework.Scope { return framework.ClusterScope }

// task returns the constraints of one kind that hold for the pod, nil if none.
func (p *PodTopologySpread) task(pod *v1.Pod, when v1.UnsatisfiableConstraintAction) (*spreadTask, error) {
	own := len(pod.Spec.TopologySpreadConstraints) > 0
	constraints := p.defaults
	if own {
		constraints = pod.Spec.TopologySpreadConstraints
	}
	t, err := newSpreadTask(pod, constraints, when)
	if err != nil || len(t.constraints) == 0 {
		return nil, err
	}
	if own {
		return t, nil
	}
	selector := p.sources.defaultSelector(pod)
	if selector.Empty() {
		return nil, nil
	}
	t.allKeys = !p.system
	for i := range t.constraints {
		t.constraints[i].selector = selector
	}
	return t, nil
}

// PrepareFilter implements framework.FilterPlugin.
func (p *PodTopologySpread) PrepareFilter(pod *framework.PodInfo, snapshot *framework.Snapshot) (framework.NodeFilter, *framework.Status) {
	task, err := p.task(pod.Pod, v1.DoNotSchedule)
	if err != nil {
		return nil, framework.Fail(spreadName, err)
	}
	if task == nil {
		return nil, nil
	}
	f := &spreadFilter{task: task}
	for i := range task.constraints {
		c := &task.constraints[i]
		counts := p.countDomains(task, c, snapshot)
		f.counts = append(f.counts, counts)
		f.lowest = append(f.lowest, lowest(counts, c.minDomains))
		self := int64(0)
		if c.selector.Matches(labels.Set(pod.Pod.Labels)) {
			self = 1
		}
		f.self = append(f.self, self)
	}
	return f, nil
}

// countDomains counts matching pods by the values of the constraint's key.
func (p *PodTopologySpread) countDomains(task *spreadTask, c *spreadConstraint, snapshot *framework.Snapshot) map[string]int64 {
	counts := map[string]int64{}
	matches := p.counter.in(task.pod.Namespace, c.selector, len(snapshot.Nodes))
	for _, node := range snapshot.Nodes {
		value, ok := node.Node.Labels[c.key]
		if ok && task.takesPart(node) && task.includes(c, node) {
			counts[value] += matches(node)
		}
	}
	return counts
}

// lowest is the smallest count, 0 while there are fewer domains than wanted.
func lowest(counts map[string]int64, minDomains int) int64 {
	if len(counts) < minDomains {
		return 0
	}
	var least int64 = math.MaxInt32
	for _, count := range counts {
		least = min(least, count)
	}
	return least
}

// spreadFilter has one entry for each constraint in each list.
type spreadFilter struct {
	task   *spreadTask
	counts []map[string]int64
	lowest []int64
	self   []int64
}

func (f *spreadFilter) Filter(node *framework.NodeInfo) *framework.Status {
	for i := range f.task.constraints {
		c := &f.task.constraints[i]
		value, ok := node.Node.Labels[c.key]
		if !ok {
			return spreadMissingLabel
		}
		if f.counts[i][value]+f.self[i]-f.lowest[i] > c.maxSkew {
			return spreadMismatch
		}
	}
	return nil
}

// PrepareScore implements framework.ScorePlugin.
func (p *PodTopologySpread) PrepareScore(pod *framework.PodInfo, snapshot *framework.Snapshot, feasible []*framework.NodeInfo) (framework.NodeScorer, *framework.Status) {
	task, err := p.task(pod.Pod, v1.ScheduleAnyway)
	if err != nil {
		return nil, framework.Fail(spreadName, err)
	}
	if task == nil {
		return nil, nil
	}
	s := &spreadScorer{task: task}
	for i := range task.constraints {
		c := &task.constraints[i]
		values, nodes := map[string]bool{}, 0
		for _, node := range feasible {
			if !task.takesPart(node) {
				continue
			}
			nodes++
			if value, ok := node.Node.Labels[c.key]; ok {
				values[value] = true
			}
		}
		domains := len(values)
		if c.key == v1.LabelHostname {
			domains = nodes
			s.onNode = append(s.onNode, p.counter.in(pod.Pod.Namespace, c.selector, len(snapshot.Nodes)))
			s.counts = append(s.counts, nil)
		} else {
			s.onNode = append(s.onNode, nil)
			s.counts = append(s.counts, p.countDomains(task, c, snapshot))
		}
		s.weights = append(s.weights, math.Log(float64(domains+2)))
	}
	return s, nil
}

// spreadScorer has one entry for each constraint in each list: counts by
// domain or, for hosts, onNode.
type spreadScorer struct {
	task    *spreadTask
	weights []float64
	counts  []map[string]int64
	onNode  []func(*framework.NodeInfo) int64
}

// Score grows with the number of matching pods near the node.
func (s *spreadScorer) Score(node *framework.NodeInfo) int64 {
	if !s.task.takesPart(node) {
		return 0
	}
	var score float64
	for i := range s.task.constraints {
		c := &s.task.constraints[i]
		value, ok := node.Node.Labels[c.key]
		if !ok {
			continue
		}
		var count int64
		if s.onNode[i] != nil {
			count = s.onNode[i](node)
		} else {
			count = s.counts[i][value]
		}
		score += float64(count)*s.weights[i] + float64(c.maxSkew-1)
	}
	return int64(math.Round(score))
}

// Normalize turns the order around; nodes that do not take part get nothing.
func (s *spreadScorer) Normalize(scores []int64, nodes []*framework.NodeInfo) {
	var least, most int64 = math.MaxInt64, 0
	for i, node := range nodes {
		if s.task.takesPart(node) {
			least, most = min(least, scores[i]), max(most, scores[i])
		}
	}
	for i, node := range nodes {
		switch {
		case !s.task.takesPart(node):
			scores[i] = 0
		case most == 0:
			scores[i] = framework.MaxScore
		default:
			scores[i] = framework.MaxScore * (most + least - scores[i]) / most
		}
	}
}

// Wakes implements framework.Requeuer.
func (*PodTopologySpread) Wakes() []framework.Wake {
	inNamespace := func(pod *v1.Pod, oldObj, newObj any) bool {
		for _, obj := range []any{oldObj, newObj} {
			if other, ok := obj.(*v1.Pod); ok && other != nil && other.Namespace == pod.Namespace {
				return true
			}
		}
		return false
	}
	return []framework.Wake{
		{On: framework.NodeAdd | framework.NodeDelete | framework.NodeLabels | framework.NodeTaints},
		{On: framework.AssignedPodAdd | framework.AssignedPodUpdate | framework.AssignedPodDelete, Hint: inNamespace},
		{On: framework.PodUpdate},
	}
}
