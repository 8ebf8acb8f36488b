package deployment

import (
	appsv1 "k8s.io/api/apps/v1"
)

// rollingUpdate lets the newest set grow as far as the surge allows, else the
// old ones shrink as far as availability allows. One step at a time: the next
// pass sees what became of this one.
func (p *planner) rollingUpdate() {
	p.syncRevision(true)
	if p.create || p.resize(p.newest, p.newestSize()) {
		return
	}
	if p.shrinkOld() {
		return
	}
	if complete(p.d, &p.d.Status) {
		p.trimHistory()
	}
}

// newestSize is how large the newest set may be now.
func (p *planner) newestSize() int32 {
	wanted, have := replicasOf(p.d.Spec.Replicas), wantedBy(p.newest)
	if !isRollingUpdate(p.d) || have >= wanted {
		return wanted
	}
	room := wanted + maxSurge(p.d) - sum(p.all(), wantedBy)
	if room <= 0 {
		return have
	}
	return have + min(room, wanted-have)
}

// shrinkOld takes pods from the old sets: first those that are not available
// anyway, then available ones down to the minimum.
func (p *planner) shrinkOld() (changed bool) {
	old := byCreation(active(p.old))
	if len(old) == 0 {
		return false
	}
	minAvailable := replicasOf(p.d.Spec.Replicas) - maxUnavailable(p.d)
	pending := wantedBy(p.newest) - availableOf(p.newest)
	spare := sum(p.all(), wantedBy) - minAvailable - pending
	if spare <= 0 {
		return false
	}
	removed := int32(0)
	for _, set := range old {
		broken := min(spare-removed, wantedBy(set)-availableOf(set))
		if broken > 0 {
			removed += broken
			changed = p.resize(set, wantedBy(set)-broken) || changed
		}
	}
	available := sum(p.all(), availableOf) - minAvailable
	for _, set := range old {
		if available <= 0 {
			break
		}
		taken := min(available, wantedBy(set))
		if taken > 0 {
			available -= taken
			changed = p.shrinkTo(set, wantedBy(set)-taken) || changed
		}
	}
	return changed
}

// shrinkTo is resize for a set that may already have been resized in this pass:
// the event then tells of both.
func (p *planner) shrinkTo(set *appsv1.ReplicaSet, size int32) bool {
	original := p.original(set)
	set.Spec.Replicas = &original
	return p.resize(set, size)
}

func (p *planner) original(set *appsv1.ReplicaSet) int32 {
	for _, was := range p.Sets {
		if was.UID == set.UID {
			return replicasOf(was.Spec.Replicas)
		}
	}
	return replicasOf(set.Spec.Replicas)
}

// recreate ends all old pods before the first new one is made.
func (p *planner) recreate() {
	p.syncRevision(false)
	shrunk := false
	for _, set := range active(p.old) {
		shrunk = p.resize(set, 0) || shrunk
	}
	if shrunk || sum(p.old, actualOf) > 0 || p.OldPodsRunning(p.newest) {
		return
	}
	p.syncRevision(true)
	if !p.create {
		p.resize(p.newest, replicasOf(p.d.Spec.Replicas))
	}
	if complete(p.d, &p.d.Status) {
		p.trimHistory()
	}
}
