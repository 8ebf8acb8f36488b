package admission

import (
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
)

// Turns is what a mutating plugin with many parts (webhooks, policies) must
// know in the second run of the first: a part has a second turn when it wants
// one, has had a first, and the object has changed since.
type Turns struct {
	// taken are the parts that may have another turn, due those that have.
	taken, due sets.Set[string]
	// left is the object as the plugin left it.
	left runtime.Object
}

// TurnsOf returns the turns of a plugin in a request.
func TurnsOf(a *Attributes, plugin string) *Turns {
	t, ok := a.Kept(plugin).(*Turns)
	if !ok {
		t = &Turns{taken: sets.New[string](), due: sets.New[string]()}
		a.Keep(plugin, t)
	}
	if a.Rerun() && t.taken.Len() > 0 && !apiequality.Semantic.DeepEqual(t.left, a.Object) {
		t.call()
	}
	return t
}

// Has reports whether it is a part's turn.
func (t *Turns) Has(a *Attributes, part string) bool { return !a.Rerun() || t.due.Has(part) }

// Took notes that a part has had its turn, whether it changed the object, and
// whether it wants another turn when others do later.
func (t *Turns) Took(a *Attributes, part string, changed, again bool) {
	if changed {
		t.call()
		a.RunAgain()
	}
	if again {
		t.taken.Insert(part)
	}
}

// End notes how the plugin leaves the object.
func (t *Turns) End(a *Attributes) {
	if t.taken.Len() > 0 && a.Object != nil {
		t.left = a.Object.DeepCopyObject()
	}
}

// call makes all that took a turn due another.
func (t *Turns) call() {
	t.due = t.due.Union(t.taken)
	t.taken = sets.New[string]()
}
