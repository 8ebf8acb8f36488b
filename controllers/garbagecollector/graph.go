package garbagecollector

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// object is what the graph keeps of an object.
type object struct {
	uid             types.UID
	namespace, name string
	gvk             schema.GroupVersionKind
	resource        schema.GroupVersionResource
	owners          []metav1.OwnerReference
	// deleting: deletion has begun. foreground and orphan: its dependents are to
	// be deleted, or let go, before it may go itself.
	deleting, foreground, orphan bool
}

func (o *object) waitsForDependents() bool { return o.deleting && o.foreground }

// work is what a change makes necessary: objects to look at because they may
// have to go, and objects whose dependents must be let go.
type work struct {
	check, orphan []types.UID
}

// graph is who owns whom, as last seen. It is safe for concurrent use. Objects
// in it are never changed, only replaced.
type graph struct {
	mu      sync.RWMutex
	objects map[types.UID]*object
	// dependents maps an owner, seen or not, to those that name it.
	dependents map[types.UID]map[types.UID]struct{}
}

func newGraph() *graph {
	return &graph{objects: map[types.UID]*object{}, dependents: map[types.UID]map[types.UID]struct{}{}}
}

// put notes an object's present state.
func (g *graph) put(now *object) work {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.objects[now.uid]
	g.objects[now.uid] = now
	var w work
	if old == nil {
		old = &object{}
	}
	g.unlink(old, now, &w)
	if g.link(old, now) {
		w.check = append(w.check, now.uid)
	}
	if now.deleting && now.orphan && !(old.deleting && old.orphan) {
		w.orphan = append(w.orphan, now.uid)
	}
	if now.waitsForDependents() && !old.waitsForDependents() {
		w.check = append(w.check, now.uid)
		w.check = append(w.check, g.dependentsOf(now.uid)...)
	}
	return w
}

// unlink drops the references that now has no more. An owner that waits for its
// dependents may have one less to wait for.
func (g *graph) unlink(old, now *object, w *work) {
	for _, ref := range old.owners {
		kept := referenceTo(now.owners, ref.UID)
		if kept == nil {
			g.removeDependent(ref.UID, old.uid)
		}
		if owner := g.objects[ref.UID]; owner != nil && owner.waitsForDependents() && (kept == nil || !equality.Semantic.DeepEqual(*kept, ref)) {
			w.check = append(w.check, ref.UID)
		}
	}
}

// link adds the references that are new, and says whether one of them names an
// owner that is not known or on its way out.
func (g *graph) link(old, now *object) (doubtful bool) {
	for _, ref := range now.owners {
		set := g.dependents[ref.UID]
		if set == nil {
			set = map[types.UID]struct{}{}
			g.dependents[ref.UID] = set
		}
		set[now.uid] = struct{}{}
		if before := referenceTo(old.owners, ref.UID); before == nil || !sameOwner(*before, ref) {
			doubtful = doubtful || !g.holds(now, ref)
		}
	}
	return doubtful
}

func sameOwner(a, b metav1.OwnerReference) bool {
	return a.APIVersion == b.APIVersion && a.Kind == b.Kind && a.Name == b.Name
}

func (g *graph) removeDependent(owner, dependent types.UID) {
	delete(g.dependents[owner], dependent)
	if len(g.dependents[owner]) == 0 {
		delete(g.dependents, owner)
	}
}

// drop notes that an object is gone.
func (g *graph) drop(uid types.UID) work {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.objects[uid]
	if old == nil {
		return work{}
	}
	delete(g.objects, uid)
	var w work
	for _, ref := range old.owners {
		g.removeDependent(ref.UID, uid)
		if owner := g.objects[ref.UID]; owner != nil && owner.waitsForDependents() {
			w.check = append(w.check, ref.UID)
		}
	}
	w.check = append(w.check, g.dependentsOf(uid)...)
	return w
}

func (g *graph) dependentsOf(uid types.UID) []types.UID {
	var found []types.UID
	for dependent := range g.dependents[uid] {
		found = append(found, dependent)
	}
	return found
}

// holds says whether the graph knows the referenced owner, under the very
// coordinates, and the owner is to stay.
func (g *graph) holds(dependent *object, ref metav1.OwnerReference) bool {
	owner := g.objects[ref.UID]
	if owner == nil || owner.waitsForDependents() {
		return false
	}
	group, err := schema.ParseGroupVersion(ref.APIVersion)
	return err == nil && owner.gvk.Group == group.Group && owner.gvk.Kind == ref.Kind && owner.name == ref.Name &&
		(owner.namespace == "" || owner.namespace == dependent.namespace)
}

func (g *graph) get(uid types.UID) *object {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.objects[uid]
}

// settled says whether every owner of the object is known and stays: then there
// is nothing to ask the API.
func (g *graph) settled(o *object) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return !slices.ContainsFunc(o.owners, func(ref metav1.OwnerReference) bool { return !g.holds(o, ref) })
}

// allDependents returns the known objects that name the owner.
func (g *graph) allDependents(owner types.UID) []*object {
	g.mu.RLock()
	defer g.mu.RUnlock()
	var found []*object
	for uid := range g.dependents[owner] {
		if o := g.objects[uid]; o != nil {
			found = append(found, o)
		}
	}
	return found
}

// blocking returns the dependents that the owner must wait for.
func (g *graph) blocking(owner types.UID) []*object {
	return slices.DeleteFunc(g.allDependents(owner), func(o *object) bool {
		ref := referenceTo(o.owners, owner)
		return ref == nil || ref.BlockOwnerDeletion == nil || !*ref.BlockOwnerDeletion
	})
}

func referenceTo(refs []metav1.OwnerReference, uid types.UID) *metav1.OwnerReference {
	for i := range refs {
		if refs[i].UID == uid {
			return &refs[i]
		}
	}
	return nil
}
