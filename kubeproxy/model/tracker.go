package model

import (
	"slices"
	"sync"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Tracker keeps the objects and the rules they make, and tells what changed.
// Its cost is that of the services that changed. Safe for concurrent use.
type Tracker struct {
	mu       sync.Mutex
	node     Node
	services map[types.NamespacedName]*v1.Service
	// slices holds the endpoint slices by service and slice name.
	slices map[types.NamespacedName]map[string]*discoveryv1.EndpointSlice
	// dirty services must be built again; rules are the ones built last.
	dirty map[types.NamespacedName]struct{}
	rules map[types.NamespacedName][]Rule
}

// NewTracker returns a tracker without objects.
func NewTracker(node Node) *Tracker {
	return &Tracker{
		node: node, services: map[types.NamespacedName]*v1.Service{}, slices: map[types.NamespacedName]map[string]*discoveryv1.EndpointSlice{},
		dirty: map[types.NamespacedName]struct{}{}, rules: map[types.NamespacedName][]Rule{},
	}
}

// SetNode changes the node that rules are for; all services are built again.
func (t *Tracker) SetNode(node Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.node == node {
		return
	}
	t.node = node
	for name := range t.services {
		t.dirty[name] = struct{}{}
	}
}

// SetService adds or replaces a service.
func (t *Tracker) SetService(service *v1.Service) {
	name := types.NamespacedName{Namespace: service.Namespace, Name: service.Name}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.services[name] = service
	t.dirty[name] = struct{}{}
}

// RemoveService forgets a service; its endpoint slices are kept.
func (t *Tracker) RemoveService(name types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.services, name)
	t.dirty[name] = struct{}{}
}

// SetSlice adds or replaces an endpoint slice; one that belongs to no service
// is ignored.
func (t *Tracker) SetSlice(slice *discoveryv1.EndpointSlice) {
	name, ok := serviceOf(slice)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.slices[name] == nil {
		t.slices[name] = map[string]*discoveryv1.EndpointSlice{}
	}
	t.slices[name][slice.Name] = slice
	t.dirty[name] = struct{}{}
}

// RemoveSlice forgets an endpoint slice.
func (t *Tracker) RemoveSlice(slice *discoveryv1.EndpointSlice) {
	name, ok := serviceOf(slice)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.slices[name], slice.Name)
	if len(t.slices[name]) == 0 {
		delete(t.slices, name)
	}
	t.dirty[name] = struct{}{}
}

func serviceOf(slice *discoveryv1.EndpointSlice) (types.NamespacedName, bool) {
	name := slice.Labels[discoveryv1.LabelServiceName]
	return types.NamespacedName{Namespace: slice.Namespace, Name: name}, name != ""
}

// Change is a rule that came, changed or went: Old or New is nil.
type Change struct{ Old, New *Rule }

// Key returns the key of the rule.
func (c Change) Key() Key {
	if c.New != nil {
		return c.New.Key
	}
	return c.Old.Key
}

// Changes returns what changed since the last call, in order of the keys.
func (t *Tracker) Changes() []Change {
	t.mu.Lock()
	defer t.mu.Unlock()
	var changes []Change
	for name := range t.dirty {
		built := Build(t.services[name], t.slicesOf(name), t.node)
		changes = append(changes, diff(t.rules[name], built)...)
		if len(built) == 0 {
			delete(t.rules, name)
			continue
		}
		t.rules[name] = built
	}
	clear(t.dirty)
	slices.SortFunc(changes, func(a, b Change) int { return a.Key().Compare(b.Key()) })
	return changes
}

// Rules returns all rules, as the last call of Changes left them, in order.
func (t *Tracker) Rules() []Rule {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []Rule
	for _, rules := range t.rules {
		all = append(all, rules...)
	}
	slices.SortFunc(all, func(a, b Rule) int { return a.Key.Compare(b.Key) })
	return all
}

func (t *Tracker) slicesOf(name types.NamespacedName) []*discoveryv1.EndpointSlice {
	out := make([]*discoveryv1.EndpointSlice, 0, len(t.slices[name]))
	for _, slice := range t.slices[name] {
		out = append(out, slice)
	}
	slices.SortFunc(out, func(a, b *discoveryv1.EndpointSlice) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}

// diff compares two sorted lists of rules.
func diff(old, built []Rule) []Change {
	var changes []Change
	for len(old) > 0 || len(built) > 0 {
		order := -1
		switch {
		case len(old) == 0:
			order = 1
		case len(built) > 0:
			order = old[0].Key.Compare(built[0].Key)
		}
		switch {
		case order < 0:
			changes = append(changes, Change{Old: &old[0]})
		case order > 0:
			changes = append(changes, Change{New: &built[0]})
		case !old[0].Equal(&built[0]):
			changes = append(changes, Change{Old: &old[0], New: &built[0]})
		}
		if order <= 0 {
			old = old[1:]
		}
		if order >= 0 {
			built = built[1:]
		}
	}
	return changes
}
