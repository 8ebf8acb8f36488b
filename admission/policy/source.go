package policy

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/admission/match"
)

// definition is what policies of both kinds are, compiled into P.
type definition[P any] struct {
	name, generation string
	ignore           bool
	params           *admissionregistrationv1.ParamKind
	criteria         *match.Criteria
	// broken: the criteria could not be compiled.
	broken error
	// program is compiled by the first request that asks for it.
	program func() P
}

// bound is a policy with its bindings, by name.
type bound[P any] struct {
	*definition[P]
	bindings []*binding
}

// binding is a binding of either kind.
type binding struct {
	name, policy string
	ref          *admissionregistrationv1.ParamRef
	actions      []admissionregistrationv1.ValidationAction
	criteria     *match.Criteria
	broken       error
}

// source follows policies and bindings of one kind.
type source[P any] struct {
	policies, bindings cache.SharedIndexInformer
	compile            func(any) *definition[P]
	bind               func(any) *binding

	changes atomic.Uint64
	mutex   sync.Mutex
	// known are compiled policies by name.
	known map[string]*definition[P]
	list  atomic.Pointer[snapshot[P]]
}

// snapshot is all policies that have bindings, as they were after some changes.
type snapshot[P any] struct {
	changes uint64
	bound   []bound[P]
}

func follow[P any](policies, bindings cache.SharedIndexInformer, compile func(any) *definition[P], bind func(any) *binding) (*source[P], error) {
	s := &source[P]{policies: policies, bindings: bindings, compile: compile, bind: bind, known: map[string]*definition[P]{}}
	note := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { s.changes.Add(1) },
		UpdateFunc: func(any, any) { s.changes.Add(1) },
		DeleteFunc: func(any) { s.changes.Add(1) },
	}
	if _, err := policies.AddEventHandler(note); err != nil {
		return nil, err
	}
	_, err := bindings.AddEventHandler(note)
	return s, err
}

// all returns the policies by name, as Kubernetes orders them.
func (s *source[P]) all() []bound[P] {
	if list := s.list.Load(); list != nil && list.changes == s.changes.Load() {
		return list.bound
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	// A change from here on makes the snapshot an old one.
	changes := s.changes.Load()
	if list := s.list.Load(); list != nil && list.changes == changes {
		return list.bound
	}
	list := &snapshot[P]{changes, s.rebuild()}
	s.list.Store(list)
	return list.bound
}

func (s *source[P]) rebuild() []bound[P] {
	byPolicy := map[string][]*binding{}
	for _, object := range sorted(s.bindings) {
		b := s.bind(object)
		byPolicy[b.policy] = append(byPolicy[b.policy], b)
	}
	now := map[string]*definition[P]{}
	var all []bound[P]
	for _, object := range sorted(s.policies) {
		m := object.(metav1.Object)
		d := s.known[m.GetName()]
		if d == nil || d.generation != generation(m) {
			d = s.compile(object)
			d.name, d.generation = m.GetName(), generation(m)
		}
		now[d.name] = d
		if len(byPolicy[d.name]) > 0 {
			all = append(all, bound[P]{d, byPolicy[d.name]})
		}
	}
	s.known = now
	return all
}

func sorted(informer cache.SharedIndexInformer) []any {
	objects := informer.GetStore().List()
	slices.SortFunc(objects, func(a, b any) int {
		return strings.Compare(a.(metav1.Object).GetName(), b.(metav1.Object).GetName())
	})
	return objects
}

// define fills what definitions of both kinds have in common.
func define[P any](failure *admissionregistrationv1.FailurePolicyType, params *admissionregistrationv1.ParamKind, constraints *admissionregistrationv1.MatchResources, program func() P) *definition[P] {
	d := &definition[P]{
		ignore: failure != nil && *failure == admissionregistrationv1.Ignore,
		params: params, program: sync.OnceValue(program),
	}
	d.criteria, d.broken = match.ForPolicy(constraints)
	return d
}

func newBinding(name, policy string, ref *admissionregistrationv1.ParamRef, resources *admissionregistrationv1.MatchResources) *binding {
	b := &binding{name: name, policy: policy, ref: ref}
	b.criteria, b.broken = match.ForPolicy(resources)
	return b
}
