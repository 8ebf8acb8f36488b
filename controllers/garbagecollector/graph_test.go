package garbagecollector

import (
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
)

var thing = schema.GroupVersionKind{Version: "v1", Kind: "Thing"}

func newObject(uid types.UID, owners ...types.UID) *object {
	block := true
	o := &object{uid: uid, namespace: "default", name: string(uid), gvk: thing}
	for _, owner := range owners {
		o.owners = append(o.owners, metav1.OwnerReference{APIVersion: "v1", Kind: "Thing", Name: string(owner), UID: owner, BlockOwnerDeletion: &block})
	}
	return o
}

// model plays the API server: it knows what exists, and the graph is told of it
// in an order of its own for each object.
type model struct {
	exists map[types.UID]*object
	graph  *graph
	work   work
}

func (m *model) tell(w work) {
	m.work.check = append(m.work.check, w.check...)
	m.work.orphan = append(m.work.orphan, w.orphan...)
}

// drain does the collector's work, with the model as the API, until none is left.
func (m *model) drain() bool {
	for range 10_000 {
		if len(m.work.check) == 0 {
			return true
		}
		uid := m.work.check[0]
		m.work.check = m.work.check[1:]
		m.attempt(uid)
	}
	return false
}

func (m *model) attempt(uid types.UID) {
	o := m.graph.get(uid)
	if o == nil || o.deleting && !o.foreground || m.exists[uid] == nil {
		return
	}
	if o.waitsForDependents() {
		blocking := m.graph.blocking(uid)
		for _, dependent := range blocking {
			if !dependent.waitsForDependents() {
				m.work.check = append(m.work.check, dependent.uid)
			}
		}
		if len(blocking) == 0 {
			m.remove(uid)
		}
		return
	}
	if m.graph.settled(o) {
		return
	}
	state := func(ref metav1.OwnerReference) ownerState {
		switch owner := m.exists[ref.UID]; {
		case owner == nil:
			return dangling
		case owner.waitsForDependents():
			return waiting
		}
		return solid
	}
	v := judge(o.owners, state, nil, len(m.graph.allDependents(uid)) > 0)
	switch {
	case len(v.forget) > 0:
		kept := *o
		kept.owners = slices.DeleteFunc(slices.Clone(o.owners), func(ref metav1.OwnerReference) bool { return slices.Contains(v.forget, ref.UID) })
		m.put(&kept)
	case v.delete == metav1.DeletePropagationForeground:
		dying := *o
		dying.deleting, dying.foreground = true, true
		m.put(&dying)
	case v.delete != "":
		m.remove(uid)
	}
}

func (m *model) put(o *object) {
	m.exists[o.uid] = o
	m.tell(m.graph.put(o))
}

func (m *model) remove(uid types.UID) {
	delete(m.exists, uid)
	m.tell(m.graph.drop(uid))
}

// Whatever is made and deleted, and in whatever order it is seen: in the end
// everything that had owners and lost them all is gone, and nothing else is.
func TestObjectsWithoutOwnersAndNoOthersAreCollected(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{exists: map[types.UID]*object{}, graph: newGraph()}
		size := rapid.IntRange(1, 12).Draw(t, "objects")
		all := make([]*object, size)
		for i := range all {
			var owners []types.UID
			if i > 0 {
				for range rapid.IntRange(0, 2).Draw(t, "owners") {
					owner := types.UID(fmt.Sprint(rapid.IntRange(0, i-1).Draw(t, "owner")))
					if !slices.Contains(owners, owner) {
						owners = append(owners, owner)
					}
				}
			}
			all[i] = newObject(types.UID(fmt.Sprint(i)), owners...)
			m.exists[all[i].uid] = all[i]
		}
		for _, i := range rapid.Permutation(indexes(size)).Draw(t, "seen in order") {
			m.tell(m.graph.put(all[i]))
		}
		if !m.drain() {
			t.Fatal("the work never ends")
		}
		deleted := map[types.UID]bool{}
		for range rapid.IntRange(0, size).Draw(t, "deletions") {
			doomed := all[rapid.IntRange(0, size-1).Draw(t, "delete")]
			current := m.exists[doomed.uid]
			if current == nil || current.deleting {
				continue
			}
			deleted[doomed.uid] = true
			if rapid.Bool().Draw(t, "foreground") {
				dying := *current
				dying.deleting, dying.foreground = true, true
				m.put(&dying)
			} else {
				m.remove(doomed.uid)
			}
			if rapid.Bool().Draw(t, "meanwhile collect") && !m.drain() {
				t.Fatal("the work never ends")
			}
		}
		if !m.drain() {
			t.Fatal("the work never ends")
		}
		want := survivors(all, deleted)
		for _, o := range all {
			if _, exists := m.exists[o.uid]; exists != want[o.uid] {
				t.Fatalf("object %s exists: %t, want %t", o.uid, exists, want[o.uid])
			}
		}
	})
}

func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// survivors are the objects not deleted that never had an owner or have one
// that survives. Owners come before their dependents in all.
func survivors(all []*object, deleted map[types.UID]bool) map[types.UID]bool {
	alive := map[types.UID]bool{}
	for _, o := range all {
		owned := slices.ContainsFunc(o.owners, func(ref metav1.OwnerReference) bool { return alive[ref.UID] })
		alive[o.uid] = !deleted[o.uid] && (len(o.owners) == 0 || owned)
	}
	return alive
}

func TestOwnerUnderAnotherNameIsDoubted(t *testing.T) {
	g := newGraph()
	g.put(newObject("owner"))
	if w := g.put(newObject("child", "owner")); len(w.check) != 0 {
		t.Errorf("a sound reference is doubted: %v", w)
	}
	liar := newObject("liar", "owner")
	liar.owners[0].Name = "someone else"
	if w := g.put(liar); !slices.Equal(w.check, []types.UID{"liar"}) {
		t.Errorf("a reference by another name is believed: %v", w)
	}
	abroad := newObject("abroad", "owner")
	abroad.namespace = "elsewhere"
	if w := g.put(abroad); !slices.Equal(w.check, []types.UID{"abroad"}) {
		t.Errorf("a reference from another namespace is believed: %v", w)
	}
}
