package cache

import (
	"strings"

	"github.com/google/btree"
	"k8s.io/apimachinery/pkg/fields"
)

// objects are those of a resource by key, and once more by the value of each
// indexed field and then by key. They are copy-on-write: clone takes no time,
// and neither side sees what is changed on the other.
type objects struct {
	byKey   *btree.BTreeG[*Object]
	byField map[string]*btree.BTreeG[*Object]
	// stored is the sum of what the store has of them, in bytes.
	stored int64
}

const degree = 32

func newObjects(indexed []string) *objects {
	o := &objects{
		byKey:   btree.NewG(degree, func(a, b *Object) bool { return a.Key < b.Key }),
		byField: make(map[string]*btree.BTreeG[*Object], len(indexed)),
	}
	for _, field := range indexed {
		o.byField[field] = btree.NewG(degree, func(a, b *Object) bool {
			if a.Fields.Get(field) == b.Fields.Get(field) {
				return a.Key < b.Key
			}
			return a.Fields.Get(field) < b.Fields.Get(field)
		})
	}
	return o
}

func (o *objects) clone() *objects {
	c := &objects{byKey: o.byKey.Clone(), byField: make(map[string]*btree.BTreeG[*Object], len(o.byField)), stored: o.stored}
	for field, tree := range o.byField {
		c.byField[field] = tree.Clone()
	}
	return c
}

func (o *objects) get(key string) (*Object, bool) { return o.byKey.Get(&Object{Key: key}) }

// put adds an object or replaces the one with its key, which it returns.
func (o *objects) put(object *Object) (previous *Object) {
	previous, replaced := o.byKey.ReplaceOrInsert(object)
	o.stored += int64(object.stored)
	if replaced {
		o.stored -= int64(previous.stored)
	}
	for _, tree := range o.byField {
		if replaced {
			tree.Delete(previous)
		}
		tree.ReplaceOrInsert(object)
	}
	return previous
}

// remove takes out the object with a key, if there is one, and returns it.
func (o *objects) remove(key string) (previous *Object) {
	previous, removed := o.byKey.Delete(&Object{Key: key})
	if removed {
		o.stored -= int64(previous.stored)
		for _, tree := range o.byField {
			tree.Delete(previous)
		}
	}
	return previous
}

// ascend visits, in the order of their keys, the objects below a prefix from a
// key on that a predicate may select, until visit returns false. It leaves out
// what an index tells it to.
func (o *objects) ascend(prefix, from string, p Predicate, visit func(*Object) bool) {
	first := &Object{Key: max(prefix, from)}
	for field, tree := range o.byField {
		if value, ok := p.exactly(field); ok {
			first.Fields = fields.Set{field: value}
			tree.AscendGreaterOrEqual(first, func(object *Object) bool {
				return object.Fields.Get(field) == value && strings.HasPrefix(object.Key, prefix) && visit(object)
			})
			return
		}
	}
	o.byKey.AscendGreaterOrEqual(first, func(object *Object) bool {
		return strings.HasPrefix(object.Key, prefix) && visit(object)
	})
}

// exactly returns the one value of a field that the predicate selects.
func (p Predicate) exactly(field string) (string, bool) {
	if p.Fields == nil {
		return "", false
	}
	return p.Fields.RequiresExactMatch(field)
}
