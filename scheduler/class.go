package scheduler

import (
	"container/list"
	"crypto/sha256"
	"fmt"

	v1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/scheduler/framework"
)

// A class is the pods of one profile that NodeScope plugins cannot tell apart.
// Its verdicts and raw scores are kept in columns, one row for each slot of the
// snapshot, and a row is computed again only when its node has changed.
type class struct {
	key     classKey
	epoch   int64
	filters []framework.NodeFilter
	// scorers are those of NodeScope plugins, in the profile's order; nil where
	// the plugin has no preference, or is not of NodeScope.
	scorers []framework.NodeScorer

	// generation of the node that the row was computed from, 0 for none.
	generation []int64
	// rejections is nil for nodes that pass.
	rejections [][]*framework.Status
	// raw[i] is the column of scorers[i].
	raw [][]int64
}

type classKey [sha256.Size]byte

// keyOf digests what NodeScope plugins may look at in a pod.
func keyOf(profile string, pod *v1.Pod) (classKey, error) {
	spec := v1.PodSpec{
		NodeName: pod.Spec.NodeName, NodeSelector: pod.Spec.NodeSelector, Tolerations: pod.Spec.Tolerations,
		HostNetwork: pod.Spec.HostNetwork, Overhead: pod.Spec.Overhead, Resources: pod.Spec.Resources,
		Containers: classContainers(pod.Spec.Containers), InitContainers: classContainers(pod.Spec.InitContainers),
	}
	if a := pod.Spec.Affinity; a != nil && a.NodeAffinity != nil {
		spec.Affinity = &v1.Affinity{NodeAffinity: a.NodeAffinity}
	}
	bytes, err := spec.Marshal()
	if err != nil {
		return classKey{}, fmt.Errorf("digest pod spec: %w", err)
	}
	return sha256.Sum256(append(bytes, profile...)), nil
}

func classContainers(containers []v1.Container) []v1.Container {
	out := make([]v1.Container, len(containers))
	for i := range containers {
		c := &containers[i]
		out[i] = v1.Container{Image: c.Image, Resources: c.Resources, Ports: c.Ports, RestartPolicy: c.RestartPolicy}
	}
	return out
}

// newClass compiles the pod's NodeScope filters and scorers.
func newClass(key classKey, p *profile, pod *framework.PodInfo, snapshot *framework.Snapshot) (*class, *framework.Status) {
	c := &class{key: key, epoch: snapshot.Epoch, scorers: make([]framework.NodeScorer, len(p.scorers)), raw: make([][]int64, len(p.scorers))}
	for _, plugin := range p.filters {
		if plugin.Scope() != framework.NodeScope {
			continue
		}
		filter, status := plugin.PrepareFilter(pod, snapshot)
		if !status.OK() {
			return nil, status
		}
		if filter != nil {
			c.filters = append(c.filters, filter)
		}
	}
	for i, plugin := range p.scorers {
		if plugin.Scope() != framework.NodeScope {
			continue
		}
		scorer, status := plugin.PrepareScore(pod, snapshot, nil)
		if !status.OK() {
			return nil, status
		}
		c.scorers[i] = scorer
	}
	return c, nil
}

// sync computes the rows whose node has changed.
func (c *class) sync(snapshot *framework.Snapshot) {
	n := len(snapshot.Nodes)
	c.generation = resize(c.generation, n)
	c.rejections = resize(c.rejections, n)
	for i, scorer := range c.scorers {
		if scorer != nil {
			c.raw[i] = resize(c.raw[i], n)
		}
	}
	for slot, node := range snapshot.Nodes {
		if c.generation[slot] != node.Generation {
			c.generation[slot] = node.Generation
			c.compute(slot, node)
		}
	}
}

func (c *class) compute(slot int, node *framework.NodeInfo) {
	c.rejections[slot] = c.reject(node)
	if c.rejections[slot] != nil {
		return
	}
	for i, scorer := range c.scorers {
		if scorer != nil {
			c.raw[i][slot] = scorer.Score(node)
		}
	}
}

// reject returns what every filter that objects has to say, nil if none does.
func (c *class) reject(node *framework.NodeInfo) []*framework.Status {
	var statuses []*framework.Status
	for _, filter := range c.filters {
		if status := filter.Filter(node); !status.OK() {
			statuses = append(statuses, status)
		}
	}
	return statuses
}

func resize[T any](column []T, n int) []T {
	if n <= cap(column) {
		grown := column[:n]
		clear(grown[min(len(column), n):])
		return grown
	}
	grown := make([]T, n, n+n/8+8)
	copy(grown, column)
	return grown
}

// maxRows bounds the rows that all classes keep together, to about 100 bytes each.
const (
	maxRows    = 400_000
	minClasses = 8
)

// classes keeps the most recently used classes. It belongs to the scheduling loop.
type classes struct {
	byKey map[classKey]*list.Element
	// recent has the last used class in front.
	recent *list.List
}

func newClasses() *classes { return &classes{byKey: map[classKey]*list.Element{}, recent: list.New()} }

// of returns the pod's class with every row up to date with the snapshot.
func (cs *classes) of(p *profile, pod *framework.PodInfo, snapshot *framework.Snapshot) (*class, *framework.Status) {
	key, err := keyOf(p.name, pod.Pod)
	if err != nil {
		return nil, framework.Fail("", err)
	}
	element, ok := cs.byKey[key]
	if !ok || element.Value.(*class).epoch != snapshot.Epoch {
		c, status := newClass(key, p, pod, snapshot)
		if !status.OK() {
			return nil, status
		}
		if ok {
			element.Value = c
		} else {
			element = cs.recent.PushFront(c)
			cs.byKey[key] = element
		}
	}
	cs.recent.MoveToFront(element)
	cs.evict(len(snapshot.Nodes))
	c := element.Value.(*class)
	c.sync(snapshot)
	return c, nil
}

func (cs *classes) evict(nodes int) {
	limit := max(minClasses, maxRows/max(nodes, 1))
	for cs.recent.Len() > limit {
		last := cs.recent.Back()
		delete(cs.byKey, last.Value.(*class).key)
		cs.recent.Remove(last)
	}
}
