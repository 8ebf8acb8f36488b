package plugins

import (
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/yare-io/yare/scheduler/framework"
)

// spreadConstraint is a compiled topology spread constraint.
type spreadConstraint struct {
	key        string
	maxSkew    int64
	minDomains int
	selector   labels.Selector
	// honorAffinity and honorTaints leave nodes out on which the pod could not
	// be for these reasons.
	honorAffinity, honorTaints bool
}

func newSpreadConstraint(c *v1.TopologySpreadConstraint, pod *v1.Pod) (spreadConstraint, error) {
	selector, err := metav1.LabelSelectorAsSelector(c.LabelSelector)
	if err != nil {
		return spreadConstraint{}, fmt.Errorf("topology spread constraint on %q: %w", c.TopologyKey, err)
	}
	if _, selectable := selector.Requirements(); selectable {
		if selector, err = framework.MatchLabelKeys(selector, pod, c.MatchLabelKeys); err != nil {
			return spreadConstraint{}, fmt.Errorf("topology spread constraint on %q: %w", c.TopologyKey, err)
		}
	}
	out := spreadConstraint{key: c.TopologyKey, maxSkew: int64(c.MaxSkew), minDomains: 1, selector: selector,
		honorAffinity: c.NodeAffinityPolicy == nil || *c.NodeAffinityPolicy == v1.NodeInclusionPolicyHonor,
		honorTaints:   c.NodeTaintsPolicy != nil && *c.NodeTaintsPolicy == v1.NodeInclusionPolicyHonor}
	if c.MinDomains != nil {
		out.minDomains = int(*c.MinDomains)
	}
	return out, nil
}

// spreadTask is what one pod's constraints of one kind ask for.
type spreadTask struct {
	pod         *v1.Pod
	required    nodeaffinity.RequiredNodeAffinity
	constraints []spreadConstraint
	// allKeys says that nodes without any of the keys do not take part.
	allKeys bool
}

func newSpreadTask(pod *v1.Pod, constraints []v1.TopologySpreadConstraint, when v1.UnsatisfiableConstraintAction) (*spreadTask, error) {
	t := &spreadTask{pod: pod, required: nodeaffinity.GetRequiredNodeAffinity(pod), allKeys: true}
	for i := range constraints {
		if constraints[i].WhenUnsatisfiable != when {
			continue
		}
		c, err := newSpreadConstraint(&constraints[i], pod)
		if err != nil {
			return nil, err
		}
		t.constraints = append(t.constraints, c)
	}
	return t, nil
}

// takesPart reports whether the node has all keys, if they are asked for.
func (t *spreadTask) takesPart(node *framework.NodeInfo) bool {
	return !t.allKeys || !slices.ContainsFunc(t.constraints, func(c spreadConstraint) bool {
		_, has := node.Node.Labels[c.key]
		return !has
	})
}

// includes reports whether pods on the node count for the constraint.
func (t *spreadTask) includes(c *spreadConstraint, node *framework.NodeInfo) bool {
	if c.honorAffinity {
		if matches, _ := t.required.Match(node.Node); !matches {
			return false
		}
	}
	return !c.honorTaints || tolerates(t.pod.Spec.Tolerations, node.Node.Spec.Taints)
}

// matchCounter counts matching pods on nodes and remembers the counts while
// nodes stay as they are, so that a ReplicaSet's next pod does not look at
// every pod again. It belongs to the scheduling loop.
type matchCounter struct {
	columns map[string]*matchColumn
}

// matchColumn holds the counts of one selector by slot.
type matchColumn struct {
	generation []int64
	count      []int64
}

// maxMatchColumns bounds what a matchCounter remembers.
const maxMatchColumns = 256

func newMatchCounter() *matchCounter { return &matchCounter{columns: map[string]*matchColumn{}} }

// in returns a function that counts, on a node, the pods of the namespace that
// match and are not being deleted.
func (m *matchCounter) in(namespace string, selector labels.Selector, nodes int) func(*framework.NodeInfo) int64 {
	if selector.Empty() {
		return func(*framework.NodeInfo) int64 { return 0 }
	}
	key := namespace + "/" + selector.String()
	column := m.columns[key]
	if column == nil || len(column.count) < nodes {
		if len(m.columns) >= maxMatchColumns {
			clear(m.columns)
		}
		column = &matchColumn{generation: make([]int64, nodes), count: make([]int64, nodes)}
		m.columns[key] = column
	}
	return func(node *framework.NodeInfo) int64 {
		if node.Generation == 0 {
			return countMatches(node, namespace, selector)
		}
		if column.generation[node.Slot] != node.Generation {
			column.generation[node.Slot] = node.Generation
			column.count[node.Slot] = countMatches(node, namespace, selector)
		}
		return column.count[node.Slot]
	}
}

func countMatches(node *framework.NodeInfo, namespace string, selector labels.Selector) (count int64) {
	for _, pod := range node.Pods {
		if pod.Pod.Namespace == namespace && pod.Pod.DeletionTimestamp == nil && selector.Matches(labels.Set(pod.Pod.Labels)) {
			count++
		}
	}
	return count
}
