package fieldmanager

import (
	"reflect"
	"slices"
	"strconv"
)

func (ls *list) compare(l, r found, changed, removed *node) error {
	before, after := length(l), length(r)
	if ls.atomic || (before == 0 && after == 0) {
		leaf(l, r, l.kind != absent && r.kind != absent && sameValue(l, r), changed, removed)
		return nil
	}
	old, err := ls.index(l, before)
	if err != nil {
		return err
	}
	if before == 0 {
		changed.kids = make([]node, 0, after)
	}
	var seen keySet
	for i := range after {
		item := look(r.v.Index(i))
		key, err := ls.keyOf(item)
		if err != nil {
			return err
		}
		if !seen.add(key) {
			return errUnusual
		}
		if err := descend(key, ls.item, old[key], item, changed, removed); err != nil {
			return err
		}
		delete(old, key)
	}
	for key, item := range old {
		if err := descend(key, ls.item, item, found{}, changed, removed); err != nil {
			return err
		}
	}
	byKey := func(a, b node) int { return compareKeys(a.key, b.key) }
	slices.SortFunc(changed.kids, byKey)
	slices.SortFunc(removed.kids, byKey)
	branch(l, r, changed, removed)
	return nil
}

// keySet is a set of the keys of a list, which are mostly few.
type keySet struct {
	few  []string
	many map[string]bool
}

// fewKeys are quicker to look at one by one.
const fewKeys = 16

// add reports whether the key is new.
func (s *keySet) add(key string) bool {
	if s.many != nil {
		is := s.many[key]
		s.many[key] = true
		return !is
	}
	if slices.Contains(s.few, key) {
		return false
	}
	if s.few = append(s.few, key); len(s.few) > fewKeys {
		s.many = make(map[string]bool, 4*fewKeys)
		for _, one := range s.few {
			s.many[one] = true
		}
	}
	return true
}

func length(f found) int {
	if f.kind != listed {
		return 0
	}
	return f.v.Len()
}

// index returns the items of a list by their keys.
func (ls *list) index(f found, n int) (map[string]found, error) {
	if n == 0 {
		return nil, nil
	}
	items := make(map[string]found, n)
	for i := range n {
		item := look(f.v.Index(i))
		key, err := ls.keyOf(item)
		if err != nil {
			return nil, err
		}
		if _, twice := items[key]; twice {
			return nil, errUnusual
		}
		items[key] = item
	}
	return items, nil
}

// keyOf returns the key of an item, as in FieldsV1.
func (ls *list) keyOf(item found) (string, error) {
	if len(ls.keys) == 0 {
		out, err := appendScalar([]byte("v:"), item)
		return string(out), err
	}
	if item.kind != mapped {
		return "", errUnusual
	}
	out := make([]byte, 0, 64)
	out = append(out, "k:{"...)
	for i := range ls.keys {
		out = ls.keys[i].append(out, item)
		if out == nil {
			return "", errUnusual
		}
	}
	if len(out) == len("k:{") {
		return "", errUnusual // no key at all
	}
	return string(append(out, '}')), nil
}

// append adds a key and its value to the key of an item; nil when it cannot.
func (k *itemKey) append(out []byte, item found) []byte {
	var v found
	if k.entry != nil {
		v = (&field{entry: k.entry}).of(item)
	} else {
		v = entry(item, k.name)
	}
	if v.kind == absent && k.fallback == "" {
		return out
	}
	if len(out) > len("k:{") {
		out = append(out, ',')
	}
	out = append(out, `\"`...)
	out = append(out, k.name...)
	out = append(out, `\":`...)
	if v.kind == absent {
		return append(out, k.fallback...)
	}
	out, err := appendScalar(out, v)
	if err != nil {
		return nil
	}
	return out
}

func appendScalar(out []byte, f found) ([]byte, error) {
	if f.kind != scalar {
		return nil, errUnusual
	}
	switch f.v.Kind() {
	case reflect.String:
		s := f.v.String()
		if !isPlain(s) {
			return nil, errUnusual
		}
		out = append(out, `\"`...)
		out = append(out, s...)
		return append(out, `\"`...), nil
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Int16, reflect.Int8:
		return strconv.AppendInt(out, f.v.Int(), 10), nil
	case reflect.Bool:
		return strconv.AppendBool(out, f.v.Bool()), nil
	}
	return nil, errUnusual
}
