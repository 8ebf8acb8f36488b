package deployment

import (
	"fmt"
	"maps"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Snapshot is all that a decision depends on. It is not changed.
type Snapshot struct {
	Deployment *appsv1.Deployment
	// Sets are the replica sets the deployment owns.
	Sets []*appsv1.ReplicaSet
	// OldPodsRunning says that a pod of another set than the one named by the
	// template has not ended yet. Only the Recreate strategy asks.
	OldPodsRunning func(newest *appsv1.ReplicaSet) bool
	Now            time.Time
}

// Plan is what should change. Every object in it is a copy with the changes made.
type Plan struct {
	// Create is a new replica set, or nil.
	Create *appsv1.ReplicaSet
	// Update are replica sets to write, in order; Delete those to remove.
	Update []SetUpdate
	Delete []*appsv1.ReplicaSet
	// Deployment is the deployment with its new status and annotations.
	Deployment *appsv1.Deployment
	// CheckAgain is when progress should be looked at even if nothing changes;
	// zero: not.
	CheckAgain time.Duration
}

// SetUpdate is a replica set to write and the event that tells of it, if any.
type SetUpdate struct {
	Set   *appsv1.ReplicaSet
	Event string
}

// planner collects a Plan. Sets in it are copies that show the changes so far,
// so that each step sees what the steps before it decided.
type planner struct {
	Snapshot
	d       *appsv1.Deployment
	newest  *appsv1.ReplicaSet
	old     []*appsv1.ReplicaSet
	create  bool
	events  map[*appsv1.ReplicaSet]string
	changed []*appsv1.ReplicaSet
	delete  []*appsv1.ReplicaSet
}

// Decide plans one step of the deployment's way to its spec.
func Decide(s Snapshot) Plan {
	p := newPlanner(s)
	if s.Deployment.DeletionTimestamp != nil {
		return p.finish(p.plainStatus())
	}
	p.notePause()
	switch {
	case p.d.Spec.Paused:
		p.syncRevision(false)
		p.scale()
		p.trimHistory()
		return p.finish(p.plainStatus())
	case p.sizeChanged():
		p.syncRevision(false)
		p.scale()
		return p.finish(p.plainStatus())
	case isRollingUpdate(p.d):
		p.rollingUpdate()
	default:
		p.recreate()
	}
	return p.finish(p.rolloutStatus())
}

func newPlanner(s Snapshot) *planner {
	p := &planner{Snapshot: s, d: s.Deployment.DeepCopy(), events: map[*appsv1.ReplicaSet]string{}}
	copies := make([]*appsv1.ReplicaSet, 0, len(s.Sets))
	for _, set := range s.Sets {
		copies = append(copies, set.DeepCopy())
	}
	p.newest = newest(p.d, copies)
	for _, set := range copies {
		if set != p.newest {
			p.old = append(p.old, set)
		}
	}
	return p
}

func (p *planner) finish(status appsv1.DeploymentStatus, checkAgain time.Duration) Plan {
	plan := Plan{Deployment: p.d, Delete: p.delete, CheckAgain: checkAgain}
	p.d.Status = status
	if p.create {
		plan.Create = p.newest
	}
	for _, set := range p.changed {
		if !p.create || set != p.newest {
			plan.Update = append(plan.Update, SetUpdate{Set: set, Event: p.events[set]})
		}
	}
	return plan
}

func (p *planner) all() []*appsv1.ReplicaSet {
	if p.newest == nil {
		return p.old
	}
	return append(slices.Clone(p.old), p.newest)
}

func (p *planner) touch(set *appsv1.ReplicaSet) {
	if !slices.Contains(p.changed, set) {
		p.changed = append(p.changed, set)
	}
}

// resize gives a set a new size, or only notes the deployment's size on it.
func (p *planner) resize(set *appsv1.ReplicaSet, size int32) (changed bool) {
	was := replicasOf(set.Spec.Replicas)
	if noted := setReplicasAnnotations(set, p.d); !noted && was == size {
		return false
	}
	p.touch(set)
	if was == size {
		return false
	}
	direction := "up"
	if size < was {
		direction = "down"
	}
	set.Spec.Replicas = &size
	p.events[set] = fmt.Sprintf("Scaled %s replica set %s from %d to %d", direction, set.Name, was, size)
	return true
}

// syncRevision makes the newest set carry the highest revision and the
// deployment show it; if there is no such set, one is planned when asked to.
func (p *planner) syncRevision(mayCreate bool) {
	revision := latestRevision(p.old) + 1
	if p.newest == nil {
		if mayCreate {
			p.newest = newSet(p.d, revision)
			p.create = true
			size := p.newestSize()
			p.newest.Spec.Replicas = &size
			p.showRevision()
			p.progress(corev1.ConditionTrue, "NewReplicaSetCreated", fmt.Sprintf("Created new replica set %q", p.newest.Name))
		}
		return
	}
	changed := inheritAnnotations(p.d, p.newest, revision, true)
	if p.newest.Spec.MinReadySeconds != p.d.Spec.MinReadySeconds {
		p.newest.Spec.MinReadySeconds = p.d.Spec.MinReadySeconds
		changed = true
	}
	if changed {
		p.touch(p.newest)
	}
	p.showRevision()
	if conditionOf(p.d.Status.Conditions, appsv1.DeploymentProgressing) == nil {
		p.progress(corev1.ConditionTrue, "FoundNewReplicaSet", fmt.Sprintf("Found new replica set %q", p.newest.Name))
	}
}

func (p *planner) showRevision() {
	revision := p.newest.Annotations[RevisionAnnotation]
	if revision != "" && p.d.Annotations[RevisionAnnotation] != revision {
		p.d.Annotations = withKey(p.d.Annotations, RevisionAnnotation, revision)
	}
}

// newSet makes the replica set of the deployment's template, without a size.
func newSet(d *appsv1.Deployment, revision int64) *appsv1.ReplicaSet {
	hash := TemplateHash(&d.Spec.Template, d.Status.CollisionCount)
	template := *d.Spec.Template.DeepCopy()
	template.Labels = withKey(template.Labels, appsv1.DefaultDeploymentUniqueLabelKey, hash)
	selector := d.Spec.Selector.DeepCopy()
	selector.MatchLabels = withKey(selector.MatchLabels, appsv1.DefaultDeploymentUniqueLabelKey, hash)
	none := int32(0)
	set := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Name:            d.Name + "-" + hash,
			Namespace:       d.Namespace,
			Labels:          template.Labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(d, Kind)},
		},
		Spec: appsv1.ReplicaSetSpec{
			Replicas:        &none,
			MinReadySeconds: d.Spec.MinReadySeconds,
			Selector:        selector,
			Template:        template,
		},
	}
	inheritAnnotations(d, set, revision, false)
	return set
}

func withKey(from map[string]string, key, value string) map[string]string {
	with := maps.Clone(from)
	if with == nil {
		with = map[string]string{}
	}
	with[key] = value
	return with
}

// trimHistory drops the oldest revisions that are settled at no pods, down to
// the history limit.
func (p *planner) trimHistory() {
	limit := p.d.Spec.RevisionHistoryLimit
	if limit == nil {
		return
	}
	var kept []*appsv1.ReplicaSet
	for _, set := range p.old {
		if set.DeletionTimestamp == nil {
			kept = append(kept, set)
		}
	}
	for _, set := range byRevision(kept)[:max(0, len(kept)-int(*limit))] {
		if actualOf(set) == 0 && wantedBy(set) == 0 && set.Generation <= set.Status.ObservedGeneration {
			p.delete = append(p.delete, set)
		}
	}
}

// sizeChanged says whether the deployment was scaled since its sets were sized.
func (p *planner) sizeChanged() bool {
	for _, set := range active(p.all()) {
		if noted, ok := replicasNote(set, DesiredReplicasAnnotation); ok && noted != replicasOf(p.d.Spec.Replicas) {
			return true
		}
	}
	return false
}

// Changed says whether the plan's deployment differs from the one it was made of.
func (plan Plan) Changed(from *appsv1.Deployment) bool {
	return !maps.Equal(plan.Deployment.Annotations, from.Annotations) ||
		!equality.Semantic.DeepEqual(plan.Deployment.Status, from.Status)
}
