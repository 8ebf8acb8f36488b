package fieldmanager

import (
	"maps"
	"reflect"
	"slices"

	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// compare returns the fields that a change of an object from one value to
// another adds or modifies, and those that it removes, as
// structured-merge-diff's Compare does. What it finds unusual is left to that.
func compare(s *shape, from, to reflect.Value) (changed, removed node, err error) {
	err = s.compare(look(from), look(to), &changed, &removed)
	return changed, removed, err
}

type kind uint8

const (
	absent kind = iota
	null
	scalar
	listed
	mapped
)

// found is a value at some place, without the pointers and interfaces around.
type found struct {
	v    reflect.Value
	kind kind
}

func look(v reflect.Value) found {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return found{kind: null}
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Invalid:
		return found{}
	case reflect.Struct:
		return found{v, mapped}
	case reflect.Map:
		if v.IsNil() {
			return found{kind: null}
		}
		return found{v, mapped}
	case reflect.Slice:
		switch {
		case v.IsNil():
			return found{kind: null}
		case v.Type().Elem().Kind() == reflect.Uint8:
			return found{v, scalar}
		}
		return found{v, listed}
	default:
		return found{v, scalar}
	}
}

// compare puts what differs at and below a place into changed and removed.
func (s *shape) compare(l, r found, changed, removed *node) error {
	if s.unknown {
		return errUnusual
	}
	if s.converted != nil {
		return s.compareConverted(l, r, changed, removed)
	}
	// Null takes the form of the other side. Two forms are two values.
	form := r.kind
	if form == absent || form == null {
		form = l.kind
	}
	if l.kind > null && r.kind > null && l.kind != r.kind {
		return errUnusual
	}
	switch {
	case form == absent:
		return errUnusual
	case form == null:
		leaf(l, r, l.kind == r.kind, changed, removed)
		return nil
	case form == scalar && s.scalar:
		leaf(l, r, sameScalar(l, r), changed, removed)
		return nil
	case form == listed && s.list != nil:
		return s.list.compare(l, r, changed, removed)
	case form == mapped && s.object != nil:
		return s.object.compare(l, r, changed, removed)
	}
	return errUnusual // the schema does not allow it
}

// leaf records a place that is owned as a whole.
func leaf(l, r found, same bool, changed, removed *node) {
	switch {
	case r.kind == absent:
		removed.member = true
	case l.kind == absent || !same:
		changed.member = true
	}
}

// branch records a place whose parts are owned one by one.
func branch(l, r found, changed, removed *node) {
	if l.kind == absent {
		changed.member = true
	} else if r.kind == absent {
		removed.member = true
	}
}

func sameScalar(l, r found) bool {
	if l.kind != scalar || r.kind != scalar {
		return l.kind == r.kind
	}
	if l.v.Kind() == r.v.Kind() {
		switch l.v.Kind() {
		case reflect.String:
			return l.v.String() == r.v.String()
		case reflect.Bool:
			return l.v.Bool() == r.v.Bool()
		case reflect.Int, reflect.Int64, reflect.Int32, reflect.Int16, reflect.Int8:
			return l.v.Int() == r.v.Int()
		}
	}
	return sameValue(l, r)
}

// sameValue compares whole values as structured-merge-diff does.
func sameValue(l, r found) bool {
	if l.kind < scalar || r.kind < scalar {
		return l.kind == r.kind
	}
	return reflect.DeepEqual(l.v.Interface(), r.v.Interface()) || value.Equals(smdValue(l.v), smdValue(r.v))
}

func smdValue(v reflect.Value) value.Value {
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	out, err := value.NewValueReflect(p.Interface())
	if err != nil {
		return value.NewValueInterface(nil)
	}
	return out
}

// compareConverted compares values that write themselves. Those that write
// objects or lists are compared as a whole, to find whether they differ.
func (s *shape) compareConverted(l, r found, changed, removed *node) error {
	if l.kind > null && r.kind > null && l.v.Comparable() && r.v.Comparable() && l.v.Equal(r.v) {
		return nil
	}
	x, err := s.convert(l)
	if err != nil {
		return err
	}
	y, err := s.convert(r)
	if err != nil {
		return err
	}
	if l.kind != absent && r.kind != absent && reflect.DeepEqual(x, y) {
		return nil
	}
	if structured(x) || structured(y) {
		return errUnusual
	}
	leaf(l, r, false, changed, removed)
	return nil
}

func (s *shape) convert(f found) (any, error) {
	if f.kind < scalar {
		return nil, nil
	}
	return s.converted.ToUnstructured(f.v)
}

func structured(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

func (o *object) compare(l, r found, changed, removed *node) error {
	if o.atomic {
		leaf(l, r, l.kind != absent && r.kind != absent && sameValue(l, r), changed, removed)
		return nil
	}
	some, err := false, error(nil)
	if o.fields != nil || isStruct(l) || isStruct(r) {
		some, err = o.compareStruct(l, r, changed, removed)
	} else {
		some, err = o.compareMap(l, r, changed, removed)
	}
	if err != nil {
		return err
	}
	if !some { // an empty object is owned as a whole
		leaf(l, r, l.kind == r.kind, changed, removed)
		return nil
	}
	branch(l, r, changed, removed)
	return nil
}

func isStruct(f found) bool { return f.kind == mapped && f.v.Kind() == reflect.Struct }

// compareStruct reports whether there is any field on either side.
func (o *object) compareStruct(l, r found, changed, removed *node) (bool, error) {
	some := false
	for i := range o.fields {
		f := &o.fields[i]
		x, y := f.of(l), f.of(r)
		if x.kind == absent && y.kind == absent {
			continue
		}
		some = true
		if err := f.compare(f.key, x, y, changed, removed); err != nil {
			return false, err
		}
	}
	return some, nil
}

// of returns a Go struct's field.
func (f *field) of(owner found) found {
	if owner.kind != mapped {
		return found{}
	}
	v := f.entry.GetFrom(owner.v)
	if f.entry.CanOmit(v) {
		return found{}
	}
	return look(v)
}

// compare compares the values of one field, whose sets are those below its key
// in the sets of the object.
func (f *field) compare(key string, l, r found, changed, removed *node) error {
	if f.skip {
		return nil
	}
	return descend(key, f.shape, l, r, changed, removed)
}

func descend(key string, s *shape, l, r found, changed, removed *node) error {
	more, less := node{key: key}, node{key: key}
	if err := s.compare(l, r, &more, &less); err != nil {
		return err
	}
	if !more.empty() {
		changed.add(more)
	}
	if !less.empty() {
		removed.add(less)
	}
	return nil
}

func (o *object) compareMap(l, r found, changed, removed *node) (bool, error) {
	if before, after, are := o.strings(l, r); are {
		return compareStrings(before, after, changed, removed)
	}
	names := entries(l, nil)
	names = entries(r, names)
	slices.Sort(names)
	names = slices.Compact(names)
	for _, name := range names {
		x, y := entry(l, name), entry(r, name)
		if f := o.named[name]; f != nil {
			if err := f.compare(f.key, x, y, changed, removed); err != nil {
				return false, err
			}
			continue
		}
		if o.rest == nil || !isPlain(name) {
			return false, errUnusual
		}
		if o.rest.scalar && x.kind == scalar && y.kind == scalar && sameScalar(x, y) {
			continue
		}
		if err := descend("f:"+name, o.rest, x, y, changed, removed); err != nil {
			return false, err
		}
	}
	return len(names) > 0, nil
}

// strings returns two maps of Go strings that are owned entry by entry.
func (o *object) strings(l, r found) (before, after map[string]string, are bool) {
	if o.named != nil || o.rest == nil || !o.rest.scalar || o.rest.unknown || o.rest.converted != nil {
		return nil, nil, false
	}
	as := func(f found) (map[string]string, bool) {
		if f.kind != mapped {
			return nil, true
		}
		m, ok := f.v.Interface().(map[string]string)
		return m, ok
	}
	before, x := as(l)
	after, y := as(r)
	return before, after, x && y
}

func compareStrings(before, after map[string]string, changed, removed *node) (bool, error) {
	names := slices.AppendSeq(make([]string, 0, len(before)+len(after)), maps.Keys(before))
	names = slices.AppendSeq(names, maps.Keys(after))
	slices.Sort(names)
	names = slices.Compact(names)
	if len(before) == 0 {
		changed.kids = make([]node, 0, len(names))
	}
	for _, name := range names {
		if !isPlain(name) {
			return false, errUnusual
		}
		was, there := before[name]
		is, stays := after[name]
		switch {
		case !stays:
			removed.add(node{key: "f:" + name, member: true})
		case !there || was != is:
			changed.add(node{key: "f:" + name, member: true})
		}
	}
	return len(names) > 0, nil
}

// entries adds the keys of a map to names.
func entries(f found, names []string) []string {
	if f.kind != mapped {
		return names
	}
	if names == nil {
		names = make([]string, 0, 2*f.v.Len())
	}
	for iter := f.v.MapRange(); iter.Next(); {
		names = append(names, iter.Key().String())
	}
	return names
}

func entry(f found, name string) found {
	if f.kind != mapped {
		return found{}
	}
	return look(f.v.MapIndex(reflect.ValueOf(name).Convert(f.v.Type().Key())))
}
