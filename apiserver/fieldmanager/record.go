package fieldmanager

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// maxUpdaters is how many entries of updates a record may have before
// Kubernetes merges the oldest.
const maxUpdaters = 10

// record brings the record of obj up to date, as apimachinery's FieldManager
// does, at a small part of its cost. It returns errUnusual, and has changed
// nothing, where that has to do it.
func (m *Manager) record(live, obj runtime.Object, manager string) error {
	before, err := meta.Accessor(live)
	if err != nil {
		return err
	}
	after, err := meta.Accessor(obj)
	if err != nil {
		return err
	}
	entries, err := m.kept(recordHeld(before), recordHeld(after))
	if err != nil {
		return err
	}
	if len(entries) == 0 && before.GetUID() != "" {
		putRecord(after, nil) // an object without a record gets none by an update
		return nil
	}
	shape, err := m.shape()
	if err != nil {
		return err
	}
	changed, removed, err := compare(shape, content(live), content(obj))
	if err != nil {
		return err
	}
	disown(&changed)
	disown(&removed)
	out, err := m.redistribute(shape, entries, changed, removed, manager)
	if err != nil {
		return err
	}
	putRecord(after, out)
	return nil
}

// disown: nobody owns metadata as such.
func disown(set *node) {
	set.member = false
	for i := range set.kids {
		if set.kids[i].key != "f:metadata" {
			continue
		}
		if set.kids[i].member = false; len(set.kids[i].kids) == 0 {
			set.kids = slices.Delete(set.kids, i, i+1)
		}
		return
	}
}

func content(obj runtime.Object) reflect.Value {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return reflect.ValueOf(u.Object)
	}
	return reflect.ValueOf(obj)
}

// kept is the record that a write starts from: that of the live object, unless
// the client resets it. A client that brings a record of its own is unusual.
func (m *Manager) kept(live, sent []metav1.ManagedFieldsEntry) ([]metav1.ManagedFieldsEntry, error) {
	switch {
	case m.part != "":
		return live, nil
	case isReset(sent):
		return nil, nil
	case len(sent) == 0 || sameRecord(live, sent):
		return live, nil
	}
	return nil, errUnusual
}

func isReset(sent []metav1.ManagedFieldsEntry) bool {
	return (sent != nil && len(sent) == 0) || (len(sent) == 1 && sent[0] == metav1.ManagedFieldsEntry{})
}

func sameRecord(a, b []metav1.ManagedFieldsEntry) bool {
	if !sameButTimes(a, b) {
		return false
	}
	for i := range a {
		if !a[i].Time.Equal(b[i].Time) {
			return false
		}
	}
	return true
}

// redistribute gives manager what changed and takes it from all others, and
// takes what was removed from all.
func (m *Manager) redistribute(s *shape, entries []metav1.ManagedFieldsEntry, changed, removed node, manager string) ([]metav1.ManagedFieldsEntry, error) {
	own := metav1.ManagedFieldsEntry{
		Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, Subresource: m.part,
		APIVersion: m.row.Kind.GroupVersion().String(), FieldsType: "FieldsV1",
	}
	if own.Manager == "" {
		own.Manager = "unknown"
	}
	out := make([]metav1.ManagedFieldsEntry, 0, len(entries)+1)
	updaters := 0
	mine := changed
	for i := range entries {
		entry := entries[i]
		if !regular(&entry, own.APIVersion) || slices.ContainsFunc(out, func(e metav1.ManagedFieldsEntry) bool { return sameOwner(&e, &entry) }) {
			return nil, errUnusual
		}
		set, err := parse(entry.FieldsV1)
		if err != nil {
			return nil, err
		}
		if !s.allows(&set) {
			return nil, errUnusual
		}
		set, fewer := set.minus(changed)
		set, fewest := set.minus(removed)
		if sameOwner(&entry, &own) && !changed.empty() {
			mine = changed.union(set)
			continue
		}
		if set.empty() {
			continue
		}
		if fewer || fewest {
			entry.FieldsV1 = fields(&set)
		}
		out = append(out, entry)
		if entry.Operation == metav1.ManagedFieldsOperationUpdate {
			updaters++
		}
	}
	if !mine.empty() {
		own.FieldsV1, own.Time = fields(&mine), &metav1.Time{Time: time.Now().Truncate(time.Second).Local()}
		out = append(out, own)
		updaters++
	}
	if updaters > maxUpdaters {
		return nil, errUnusual
	}
	if len(out) == 0 {
		return nil, nil
	}
	slices.SortStableFunc(out, compareEntries)
	return out, nil
}

// scratch has room to write a set in, which is then copied.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

func fields(set *node) *metav1.FieldsV1 {
	room := scratch.Get().(*[]byte)
	defer scratch.Put(room)
	below := node{kids: set.kids}
	*room = below.appendJSON((*room)[:0])
	out := &metav1.FieldsV1{}
	out.SetRawBytes(*room)
	return out
}

// regular reports whether an entry is of the row's version and complete.
func regular(e *metav1.ManagedFieldsEntry, version string) bool {
	return e.APIVersion == version && e.FieldsType == "FieldsV1" && e.FieldsV1 != nil &&
		(e.Operation == metav1.ManagedFieldsOperationUpdate || e.Operation == metav1.ManagedFieldsOperationApply)
}

func sameOwner(a, b *metav1.ManagedFieldsEntry) bool {
	return a.Manager == b.Manager && a.Operation == b.Operation && a.Subresource == b.Subresource
}

// compareEntries is the order of a record.
func compareEntries(a, b metav1.ManagedFieldsEntry) int {
	if c := strings.Compare(string(a.Operation), string(b.Operation)); c != 0 {
		return c
	}
	if x, y := seconds(a.Time), seconds(b.Time); x != y {
		if x < y {
			return -1
		}
		return 1
	}
	if c := strings.Compare(a.Manager, b.Manager); c != 0 {
		return c
	}
	return strings.Compare(a.Subresource, b.Subresource)
}

func seconds(t *metav1.Time) int64 {
	if t == nil {
		return 0
	}
	return t.Unix()
}

// allows reports whether a recorded set fits the schema: what is now owned as
// a whole was perhaps owned by its parts when it was recorded.
func (s *shape) allows(set *node) bool {
	if len(set.kids) == 0 {
		return true
	}
	if o := s.object; o != nil {
		if o.atomic {
			return false
		}
		return o.allows(set)
	}
	if s.list == nil {
		return true
	}
	if s.list.atomic {
		return false
	}
	for i := range set.kids {
		if !s.list.item.allows(&set.kids[i]) {
			return false
		}
	}
	return true
}

func (o *object) allows(set *node) bool {
	if o.deduced {
		return true
	}
	next := 0
	for i := range set.kids {
		kid := &set.kids[i]
		name, ok := strings.CutPrefix(kid.key, "f:")
		if !ok {
			continue
		}
		for next < len(o.fields) && o.fields[next].name < name {
			next++
		}
		below := o.rest
		if next < len(o.fields) && o.fields[next].name == name {
			below = o.fields[next].shape
		} else if f := o.named[name]; f != nil {
			below = f.shape
		}
		if below != nil && !below.allows(kid) {
			return false
		}
	}
	return true
}
