package deployment

import (
	"math"

	appsv1 "k8s.io/api/apps/v1"
)

// scale follows a change of the deployment's size without moving the rollout:
// one set takes the whole size; of several, each takes its share.
func (p *planner) scale() {
	if only := p.activeOrLatest(); only != nil {
		p.resize(only, replicasOf(p.d.Spec.Replicas))
		return
	}
	if p.saturated() {
		for _, set := range byCreation(active(p.old)) {
			p.resize(set, 0)
		}
		return
	}
	if isRollingUpdate(p.d) {
		p.scaleProportionally()
	}
}

// activeOrLatest returns the one set that wants pods; if none does, the newest;
// nil if several do.
func (p *planner) activeOrLatest() *appsv1.ReplicaSet {
	sets := active(p.all())
	switch {
	case len(sets) == 1:
		return sets[0]
	case len(sets) > 1:
		return nil
	case p.newest != nil:
		return p.newest
	case len(p.old) > 0:
		sorted := byCreation(p.old)
		return sorted[len(sorted)-1]
	}
	return nil
}

// saturated says whether the newest set alone is all the deployment wants.
func (p *planner) saturated() bool {
	if p.newest == nil {
		return false
	}
	noted, ok := replicasNote(p.newest, DesiredReplicasAnnotation)
	wanted := replicasOf(p.d.Spec.Replicas)
	return ok && wantedBy(p.newest) == wanted && noted == wanted && availableOf(p.newest) == wanted
}

// scaleProportionally spreads the difference over the active sets by size. What
// rounding leaves over goes to the largest one.
func (p *planner) scaleProportionally() {
	sets := active(p.all())
	toAdd := p.allowedSize() - sum(sets, wantedBy)
	sets = bySize(sets, toAdd > 0)
	sizes := make([]int32, len(sets))
	var added int32
	for i, set := range sets {
		share := p.share(set, toAdd, added)
		sizes[i] = wantedBy(set) + share
		added += share
	}
	for i, set := range sets {
		if i == 0 {
			sizes[i] = max(0, sizes[i]+toAdd-added)
		}
		p.resize(set, sizes[i])
	}
}

func (p *planner) allowedSize() int32 {
	if wanted := replicasOf(p.d.Spec.Replicas); wanted > 0 {
		return wanted + maxSurge(p.d)
	}
	return 0
}

// share is how many of toAdd fall to the set, never more than is left.
func (p *planner) share(set *appsv1.ReplicaSet, toAdd, added int32) int32 {
	left := toAdd - added
	if wantedBy(set) == 0 || left == 0 {
		return 0
	}
	if toAdd > 0 {
		return min(p.fraction(set), left)
	}
	return max(p.fraction(set), left)
}

// fraction is how much the set would grow if all sets grew by the same factor.
func (p *planner) fraction(set *appsv1.ReplicaSet) int32 {
	size := wantedBy(set)
	if replicasOf(p.d.Spec.Replicas) == 0 {
		return -size
	}
	before, ok := replicasNote(set, MaxReplicasAnnotation)
	if !ok {
		before = p.d.Status.Replicas
	}
	if before == 0 {
		return 0
	}
	after := replicasOf(p.d.Spec.Replicas) + maxSurge(p.d)
	return int32(math.RoundToEven(float64(size)*float64(after)/float64(before))) - size
}
