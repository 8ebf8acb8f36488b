package scheduler

import (
	"fmt"
	"math/rand/v2"

	"github.com/yare-io/yare/scheduler/framework"
	"github.com/yare-io/yare/scheduler/state"
)

// decider chooses nodes. It is a function from a pod and a snapshot to a node
// or a diagnosis, with memory that only makes it faster. Not safe for concurrent use.
type decider struct {
	classes   *classes
	nominated *state.Nominated
	// pick returns a number in [0, n), to choose among equally good nodes.
	pick func(n int) int
	// feasible, totals and scores are memory that each decision uses again.
	feasible       []*framework.NodeInfo
	totals, scores []int64
}

func newDecider(nominated *state.Nominated) *decider {
	return &decider{classes: newClasses(), nominated: nominated, pick: rand.IntN}
}

// decision is a chosen node, or why there is none.
type decision struct {
	node      string
	diagnosis *Diagnosis
	// attempt is set with a diagnosis that lists nodes.
	attempt *attempt
	// evaluated and feasible count nodes.
	evaluated, feasible int
}

// attempt is the work on one pod.
type attempt struct {
	profile  *profile
	pod      *framework.PodInfo
	snapshot *framework.Snapshot
	class    *class
	// only, if set, are the nodes that a Narrower allows; then class has no
	// rows, since so few nodes are not worth them. others says why no other
	// node is looked at.
	only   map[string]bool
	others []*framework.Status
	// filters are those of ClusterScope plugins for this pod.
	filters   []framework.NodeFilter
	nominated *state.Nominated
}

// decide chooses a node for the pod. The error is set when a plugin could not
// answer; the diagnosis when every node was rejected.
func (d *decider) decide(p *profile, pod *framework.PodInfo, snapshot *framework.Snapshot) (decision, error) {
	diagnosis := &Diagnosis{Nodes: len(snapshot.Nodes)}
	if diagnosis.Nodes == 0 {
		return decision{diagnosis: diagnosis}, nil
	}
	a, status := d.prepare(p, pod, snapshot)
	if status.IsFailure() {
		return decision{}, fmt.Errorf("plugin %q: %s", status.Plugin, status.Message())
	}
	if !status.OK() {
		diagnosis.Everywhere = status
		return decision{diagnosis: diagnosis}, nil
	}
	feasible, err := a.filter(diagnosis, d.feasible[:0])
	d.feasible = feasible
	if err != nil {
		return decision{}, err
	}
	result := decision{evaluated: len(snapshot.Nodes), feasible: len(feasible)}
	if len(feasible) == 0 {
		result.diagnosis, result.attempt = diagnosis, a
		return result, nil
	}
	result.node, err = d.choose(a, feasible)
	return result, err
}

func (d *decider) prepare(p *profile, pod *framework.PodInfo, snapshot *framework.Snapshot) (*attempt, *framework.Status) {
	a := &attempt{profile: p, pod: pod, snapshot: snapshot, nominated: d.nominated}
	var status *framework.Status
	if a.filters, status = clusterFilters(p, pod, snapshot); !status.OK() {
		return nil, status
	}
	if a.narrow(); a.only != nil {
		a.class, status = newClass(classKey{}, p, pod, snapshot)
	} else {
		a.class, status = d.classes.of(p, pod, snapshot)
	}
	if !status.OK() {
		return nil, status
	}
	return a, nil
}

// narrow intersects what the profile's narrowers allow.
func (a *attempt) narrow() {
	var by []string
	for _, narrower := range a.profile.narrowers {
		names, ok := narrower.Narrow(a.pod.Pod)
		if !ok {
			continue
		}
		by = append(by, narrower.Name())
		allowed := map[string]bool{}
		for _, name := range names {
			allowed[name] = a.only == nil || a.only[name]
		}
		a.only = allowed
	}
	if a.only != nil {
		a.others = []*framework.Status{framework.RejectForGood(by[0], fmt.Sprintf("node(s) didn't satisfy plugin(s) %v", by))}
	}
}

// rejectAlone asks the NodeScope filters.
func (a *attempt) rejectAlone(node *framework.NodeInfo) []*framework.Status {
	switch {
	case a.only == nil:
		return a.class.rejections[node.Slot]
	case !a.only[node.Name()]:
		return a.others
	}
	return a.class.reject(node)
}

func clusterFilters(p *profile, pod *framework.PodInfo, snapshot *framework.Snapshot) ([]framework.NodeFilter, *framework.Status) {
	var filters []framework.NodeFilter
	for _, plugin := range p.filters {
		if plugin.Scope() != framework.ClusterScope {
			continue
		}
		filter, status := plugin.PrepareFilter(pod, snapshot)
		if !status.OK() {
			return nil, status
		}
		if filter != nil {
			filters = append(filters, filter)
		}
	}
	return filters, nil
}

// filter appends to feasible the nodes that can take the pod, and notes in
// diagnosis why the others cannot.
func (a *attempt) filter(diagnosis *Diagnosis, feasible []*framework.NodeInfo) ([]*framework.NodeInfo, error) {
	promises := !a.nominated.Empty()
	for _, node := range a.snapshot.Nodes {
		statuses := a.rejectAlone(node)
		if statuses == nil {
			statuses = a.rejectOne(node, a.filters)
		}
		if statuses == nil && promises {
			statuses = a.rejectForPromises(node)
		}
		if statuses == nil {
			feasible = append(feasible, node)
			continue
		}
		if statuses[0].IsFailure() {
			return feasible, fmt.Errorf("plugin %q on node %q: %s", statuses[0].Plugin, node.Name(), statuses[0].Message())
		}
		diagnosis.Rejected = append(diagnosis.Rejected, NodeRejection{Node: node.Name(), Statuses: statuses})
	}
	return feasible, nil
}

func (a *attempt) rejectOne(node *framework.NodeInfo, filters []framework.NodeFilter) []*framework.Status {
	for _, filter := range filters {
		if status := filter.Filter(node); !status.OK() {
			return []*framework.Status{status}
		}
	}
	return nil
}

// rejectForPromises looks whether the pod still fits beside the pods that have
// been promised room on the node.
func (a *attempt) rejectForPromises(node *framework.NodeInfo) []*framework.Status {
	ahead := a.nominated.Ahead(a.pod, node.Name())
	if len(ahead) == 0 {
		return nil
	}
	return a.rejectHypothetical(node.With(ahead, nil))
}

// rejectHypothetical filters a node that is not in the snapshot as it is.
func (a *attempt) rejectHypothetical(node *framework.NodeInfo) []*framework.Status {
	if statuses := a.class.reject(node); statuses != nil {
		return statuses
	}
	if len(a.filters) == 0 {
		return nil
	}
	filters, status := clusterFilters(a.profile, a.pod, a.snapshot.With(node))
	if !status.OK() {
		return []*framework.Status{status}
	}
	return a.rejectOne(node, filters)
}

// choose returns the best feasible node; the one that was promised to the pod
// wins over any score.
func (d *decider) choose(a *attempt, feasible []*framework.NodeInfo) (string, error) {
	if promised := d.nominated.Node(a.pod.Pod.UID); promised != "" {
		for _, node := range feasible {
			if node.Name() == promised {
				return promised, nil
			}
		}
	}
	if len(feasible) == 1 {
		return feasible[0].Name(), nil
	}
	d.totals, d.scores = resize(d.totals[:0], len(feasible)), resize(d.scores, len(feasible))
	if err := a.score(feasible, d.totals, d.scores); err != nil {
		return "", err
	}
	return feasible[d.best(d.totals)].Name(), nil
}

// score adds the weighted normalised scores of all plugins to totals, which
// are 0 before; scores is memory to work in.
func (a *attempt) score(feasible []*framework.NodeInfo, totals, scores []int64) error {
	for i, plugin := range a.profile.scorers {
		scorer := a.class.scorers[i]
		switch {
		case scorer != nil:
			for k, node := range feasible {
				if a.only == nil {
					scores[k] = a.class.raw[i][node.Slot]
				} else {
					scores[k] = scorer.Score(node)
				}
			}
		case plugin.Scope() == framework.ClusterScope:
			var status *framework.Status
			if scorer, status = plugin.PrepareScore(a.pod, a.snapshot, feasible); !status.OK() {
				return fmt.Errorf("plugin %q: %s", plugin.Name(), status.Message())
			}
			for k, node := range feasible {
				if scorer != nil {
					scores[k] = scorer.Score(node)
				}
			}
		}
		if scorer == nil {
			continue
		}
		scorer.Normalize(scores, feasible)
		for k, score := range scores {
			totals[k] += plugin.weight * score
		}
	}
	return nil
}

// best returns the index of the highest total, any of them with equal chances.
func (d *decider) best(totals []int64) int {
	chosen, ties := 0, 1
	for i := 1; i < len(totals); i++ {
		switch {
		case totals[i] > totals[chosen]:
			chosen, ties = i, 1
		case totals[i] == totals[chosen]:
			if ties++; d.pick(ties) == 0 {
				chosen = i
			}
		}
	}
	return chosen
}
