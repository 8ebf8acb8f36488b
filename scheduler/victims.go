package scheduler

import (
	"cmp"
	"math"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/yare-io/yare/scheduler/framework"
)

type budget = *policyv1.PodDisruptionBudget

// candidate is a node that takes the pod once the victims are gone.
type candidate struct {
	node string
	// victims are in order of importance, the most important first.
	victims []*framework.PodInfo
	// violations counts victims whose disruption budget does not allow it.
	violations int
}

// selectVictims finds a small set of pods on the node whose eviction makes
// room: all pods of lower priority are taken away, then as many as possible
// are given back, those protected by a budget first, then by importance.
// reasons say why there is no such set.
func (a *attempt) selectVictims(node *framework.NodeInfo, budgets []budget) (c candidate, reasons []string) {
	var lower []*framework.PodInfo
	for _, pod := range node.Pods {
		if pod.Priority < a.pod.Priority {
			lower = append(lower, pod)
		}
	}
	if len(lower) == 0 {
		return c, []string{noVictims}
	}
	bare := node.With(nil, lower)
	if statuses := a.rejectWithPromises(bare); statuses != nil {
		return c, statuses[0].Reasons
	}
	slices.SortStableFunc(lower, byImportance)
	violating, others := splitByBudgets(lower, budgets)
	c.node = node.Name()
	spare := func(pods []*framework.PodInfo) (evicted int) {
		for _, pod := range pods {
			with := bare.With([]*framework.PodInfo{pod}, nil)
			if a.rejectWithPromises(with) == nil {
				bare = with
				continue
			}
			c.victims = append(c.victims, pod)
			evicted++
		}
		return evicted
	}
	c.violations = spare(violating)
	spare(others)
	slices.SortStableFunc(c.victims, byImportance)
	return c, nil
}

// rejectWithPromises filters a hypothetical node, alone and beside the pods
// that were promised room on it.
func (a *attempt) rejectWithPromises(node *framework.NodeInfo) []*framework.Status {
	if ahead := a.nominated.Ahead(a.pod, node.Name()); len(ahead) > 0 {
		if statuses := a.rejectHypothetical(node.With(ahead, nil)); statuses != nil {
			return statuses
		}
	}
	return a.rejectHypothetical(node)
}

// byImportance orders by priority, then by age.
func byImportance(a, b *framework.PodInfo) int {
	if c := cmp.Compare(b.Priority, a.Priority); c != 0 {
		return c
	}
	return startTime(a.Pod).Compare(startTime(b.Pod))
}

// startTime of a pod that has not started is later than any other.
func startTime(pod *v1.Pod) time.Time {
	if pod.Status.StartTime == nil {
		return time.Unix(math.MaxInt32, 0)
	}
	return pod.Status.StartTime.Time
}

// splitByBudgets tells the pods whose eviction, in this order, would overdraw
// a disruption budget from the others.
func splitByBudgets(pods []*framework.PodInfo, budgets []budget) (violating, others []*framework.PodInfo) {
	left := make([]int32, len(budgets))
	for i, b := range budgets {
		left[i] = b.Status.DisruptionsAllowed
	}
	for _, pod := range pods {
		overdrawn := false
		for i, b := range budgets {
			if !covers(b, pod.Pod) {
				continue
			}
			left[i]--
			overdrawn = overdrawn || left[i] < 0
		}
		if overdrawn {
			violating = append(violating, pod)
		} else {
			others = append(others, pod)
		}
	}
	return violating, others
}

// covers reports whether an eviction of the pod counts against the budget; one
// that the budget already counts does not.
func covers(b budget, pod *v1.Pod) bool {
	if b.Namespace != pod.Namespace || len(pod.Labels) == 0 {
		return false
	}
	selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
	if err != nil || selector.Empty() || !selector.Matches(labels.Set(pod.Labels)) {
		return false
	}
	_, counted := b.Status.DisruptedPods[pod.Name]
	return !counted
}

// pickCandidate returns the candidate that hurts least: fewest violated
// budgets, lowest most important victim, lowest sum of priorities, fewest
// victims, youngest most important victims; the first of equals.
func pickCandidate(candidates []candidate) candidate {
	return slices.MinFunc(candidates, func(a, b candidate) int {
		return cmp.Or(
			cmp.Compare(a.violations, b.violations),
			cmp.Compare(a.highest(), b.highest()),
			cmp.Compare(a.sum(), b.sum()),
			cmp.Compare(len(a.victims), len(b.victims)),
			b.earliestStart().Compare(a.earliestStart()),
		)
	})
}

func (c *candidate) highest() int32 {
	if len(c.victims) == 0 {
		return math.MinInt32
	}
	return c.victims[0].Priority
}

// sum shifts priorities to be positive, so that one more victim is never better.
func (c *candidate) sum() (total int64) {
	for _, victim := range c.victims {
		total += int64(victim.Priority) + math.MaxInt32 + 1
	}
	return total
}

// earliestStart is that of the oldest among the most important victims.
func (c *candidate) earliestStart() time.Time {
	if len(c.victims) == 0 {
		return time.Time{}
	}
	return startTime(c.victims[0].Pod)
}
