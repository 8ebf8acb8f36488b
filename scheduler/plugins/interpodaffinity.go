package plugins

import (
	"fmt"

	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	config "k8s.io/kube-scheduler/config/v1"

	v1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/scheduler/framework"
)

const interPodAffinityName = "InterPodAffinity"

// InterPodAffinity honours required pod affinity and anti-affinity, that of
// the pod and the anti-affinity of pods that run, and prefers nodes by the
// preferred ones of both.
type InterPodAffinity struct {
	namespaces     corelisters.NamespaceLister
	hardWeight     int64
	ignoreExisting bool
}

var (
	podAffinityMismatch      = framework.RejectForGood(interPodAffinityName, "node(s) didn't match pod affinity rules")
	podAntiAffinityMismatch  = framework.Reject(interPodAffinityName, "node(s) didn't match pod anti-affinity rules")
	existingAntiAffinityHurt = framework.Reject(interPodAffinityName, "node(s) didn't satisfy existing pods anti-affinity rules")
)

// NewInterPodAffinity reads the weight of required affinity of running pods, 1
// by default.
func NewInterPodAffinity(namespaces corelisters.NamespaceLister, args *config.InterPodAffinityArgs) (*InterPodAffinity, error) {
	p := &InterPodAffinity{namespaces: namespaces, hardWeight: 1}
	if args == nil {
		return p, nil
	}
	p.ignoreExisting = args.IgnorePreferredTermsOfExistingPods
	if args.HardPodAffinityWeight != nil {
		p.hardWeight = int64(*args.HardPodAffinityWeight)
	}
	if p.hardWeight < 0 || p.hardWeight > 100 {
		return nil, fmt.Errorf("hardPodAffinityWeight %d is not within 0..100", p.hardWeight)
	}
	return p, nil
}

// Name returns the plugin's name in configurations.
func (*InterPodAffinity) Name() string { return interPodAffinityName }

// Scope says that answers depend on other nodes.
func (*InterPodAffinity) Scope() framework.Scope { return framework.ClusterScope }

// domain is one value of one topology label.
type domain struct{ key, value string }

// domainOf returns the node's domain under the key, ok false if it has none.
func domainOf(node *framework.NodeInfo, key string) (domain, bool) {
	value, ok := node.Node.Labels[key]
	return domain{key, value}, ok
}

// namespaceLabels looks labels of namespaces up, once each.
type namespaceLabels struct {
	lister corelisters.NamespaceLister
	known  map[string]labels.Set
}

func (n *namespaceLabels) of(name string) labels.Set {
	set, ok := n.known[name]
	if !ok {
		if namespace, err := n.lister.Get(name); err == nil {
			set = namespace.Labels
		}
		n.known[name] = set
	}
	return set
}

func (p *InterPodAffinity) namespaceLabels() *namespaceLabels {
	return &namespaceLabels{lister: p.namespaces, known: map[string]labels.Set{}}
}

// PrepareFilter implements framework.FilterPlugin: it counts, by domain, the
// pods that the pod must be near, must not be near, and that must not be near it.
func (p *InterPodAffinity) PrepareFilter(pod *framework.PodInfo, snapshot *framework.Snapshot) (framework.NodeFilter, *framework.Status) {
	f := &podAffinityFilter{pod: pod, near: map[domain]int{}, away: map[domain]int{}, refused: map[domain]int{}}
	namespaces := p.namespaceLabels()
	own := namespaces.of(pod.Pod.Namespace)
	for _, slot := range snapshot.AntiAffinityNodes {
		f.countRefusals(snapshot.Nodes[slot], own)
	}
	if len(pod.RequiredAffinity)+len(pod.RequiredAntiAffinity) > 0 {
		for _, node := range snapshot.Nodes {
			f.countOthers(node, namespaces)
		}
	}
	f.first = len(f.near) == 0 && matchesAll(pod.RequiredAffinity, pod.Pod, own)
	if len(pod.RequiredAffinity) == 0 && len(f.away) == 0 && len(f.refused) == 0 {
		return nil, nil
	}
	return f, nil
}

type podAffinityFilter struct {
	pod *framework.PodInfo
	// near counts pods that match all affinity terms, away pods that match an
	// anti-affinity term, refused pods whose anti-affinity matches the pod.
	near, away, refused map[domain]int
	// first says that no pod matches the affinity but the pod itself, which
	// then may go anywhere: someone has to be first.
	first bool
}

func (f *podAffinityFilter) countRefusals(node *framework.NodeInfo, own labels.Set) {
	for _, existing := range node.Pods {
		for i := range existing.RequiredAntiAffinity {
			term := &existing.RequiredAntiAffinity[i]
			if d, ok := domainOf(node, term.TopologyKey); ok && term.Matches(f.pod.Pod, own) {
				f.refused[d]++
			}
		}
	}
}

func (f *podAffinityFilter) countOthers(node *framework.NodeInfo, namespaces *namespaceLabels) {
	for _, existing := range node.Pods {
		theirs := namespaces.of(existing.Pod.Namespace)
		if len(f.pod.RequiredAffinity) > 0 && matchesAll(f.pod.RequiredAffinity, existing.Pod, theirs) {
			for i := range f.pod.RequiredAffinity {
				if d, ok := domainOf(node, f.pod.RequiredAffinity[i].TopologyKey); ok {
					f.near[d]++
				}
			}
		}
		for i := range f.pod.RequiredAntiAffinity {
			term := &f.pod.RequiredAntiAffinity[i]
			if d, ok := domainOf(node, term.TopologyKey); ok && term.Matches(existing.Pod, theirs) {
				f.away[d]++
			}
		}
	}
}

func matchesAll(terms []framework.AffinityTerm, pod *v1.Pod, namespace labels.Set) bool {
	for i := range terms {
		if !terms[i].Matches(pod, namespace) {
			return false
		}
	}
	return true
}

func (f *podAffinityFilter) Filter(node *framework.NodeInfo) *framework.Status {
	if !f.nearEnough(node) {
		return podAffinityMismatch
	}
	for i := range f.pod.RequiredAntiAffinity {
		if d, ok := domainOf(node, f.pod.RequiredAntiAffinity[i].TopologyKey); ok && f.away[d] > 0 {
			return podAntiAffinityMismatch
		}
	}
	if len(f.refused) == 0 {
		return nil
	}
	for key, value := range node.Node.Labels {
		if f.refused[domain{key, value}] > 0 {
			return existingAntiAffinityHurt
		}
	}
	return nil
}

func (f *podAffinityFilter) nearEnough(node *framework.NodeInfo) bool {
	for i := range f.pod.RequiredAffinity {
		d, ok := domainOf(node, f.pod.RequiredAffinity[i].TopologyKey)
		if !ok || f.near[d] == 0 && !f.first {
			return false
		}
	}
	return true
}

// PrepareScore implements framework.ScorePlugin.
func (p *InterPodAffinity) PrepareScore(pod *framework.PodInfo, snapshot *framework.Snapshot, _ []*framework.NodeInfo) (framework.NodeScorer, *framework.Status) {
	s := &podAffinityScorer{weights: map[domain]int64{}}
	namespaces := p.namespaceLabels()
	if len(pod.PreferredAffinity)+len(pod.PreferredAntiAffinity) > 0 {
		for _, node := range snapshot.Nodes {
			for _, existing := range node.Pods {
				theirs := namespaces.of(existing.Pod.Namespace)
				s.add(node, pod.PreferredAffinity, existing.Pod, theirs, 1)
				s.add(node, pod.PreferredAntiAffinity, existing.Pod, theirs, -1)
			}
		}
	}
	if !p.ignoreExisting || len(s.weights) > 0 {
		p.addExisting(s, pod, snapshot, namespaces.of(pod.Pod.Namespace))
	}
	if len(s.weights) == 0 {
		return nil, nil
	}
	s.keys = map[string]bool{}
	for d := range s.weights {
		s.keys[d.key] = true
	}
	return s, nil
}

// addExisting counts what running pods wish about the pod.
func (p *InterPodAffinity) addExisting(s *podAffinityScorer, pod *framework.PodInfo, snapshot *framework.Snapshot, own labels.Set) {
	for _, slot := range snapshot.AffinityNodes {
		node := snapshot.Nodes[slot]
		for _, existing := range node.Pods {
			if p.hardWeight > 0 {
				s.addRequired(node, existing.RequiredAffinity, pod.Pod, own, p.hardWeight)
			}
			s.add(node, existing.PreferredAffinity, pod.Pod, own, 1)
			s.add(node, existing.PreferredAntiAffinity, pod.Pod, own, -1)
		}
	}
}

// podAffinityScorer sums weights by domain.
type podAffinityScorer struct {
	weights map[domain]int64
	keys    map[string]bool
}

func (s *podAffinityScorer) add(node *framework.NodeInfo, terms []framework.AffinityTerm, other *v1.Pod, namespace labels.Set, sign int64) {
	for i := range terms {
		if d, ok := domainOf(node, terms[i].TopologyKey); ok && terms[i].Matches(other, namespace) {
			s.weights[d] += sign * int64(terms[i].Weight)
		}
	}
}

func (s *podAffinityScorer) addRequired(node *framework.NodeInfo, terms []framework.AffinityTerm, other *v1.Pod, namespace labels.Set, weight int64) {
	for i := range terms {
		if d, ok := domainOf(node, terms[i].TopologyKey); ok && terms[i].Matches(other, namespace) {
			s.weights[d] += weight
		}
	}
}

func (s *podAffinityScorer) Score(node *framework.NodeInfo) int64 {
	var score int64
	for key := range s.keys {
		if d, ok := domainOf(node, key); ok {
			score += s.weights[d]
		}
	}
	return score
}

// Normalize spreads the scores from 0 for the lowest to the maximum.
func (*podAffinityScorer) Normalize(scores []int64, _ []*framework.NodeInfo) {
	lowest, highest := scores[0], scores[0]
	for _, score := range scores {
		lowest, highest = min(lowest, score), max(highest, score)
	}
	for i, score := range scores {
		scores[i] = 0
		if highest > lowest {
			scores[i] = int64(float64(framework.MaxScore) * (float64(score-lowest) / float64(highest-lowest)))
		}
	}
}

// Wakes implements framework.Requeuer.
func (p *InterPodAffinity) Wakes() []framework.Wake {
	return []framework.Wake{
		{On: framework.NodeAdd | framework.NodeLabels},
		{On: framework.AssignedPodAdd, Hint: func(pod *v1.Pod, _, newObj any) bool { return p.wantsNear(pod, newObj) }},
		{On: framework.AssignedPodUpdate | framework.AssignedPodDelete | framework.NamespaceLabels | framework.PodUpdate},
	}
}

// wantsNear reports whether a pod that came satisfies an affinity term.
func (p *InterPodAffinity) wantsNear(pod *v1.Pod, newObj any) bool {
	other, ok := newObj.(*v1.Pod)
	info, err := framework.NewPodInfo(pod)
	if !ok || err != nil {
		return true
	}
	theirs := p.namespaceLabels().of(other.Namespace)
	for i := range info.RequiredAffinity {
		if info.RequiredAffinity[i].Matches(other, theirs) {
			return true
		}
	}
	return false
}
