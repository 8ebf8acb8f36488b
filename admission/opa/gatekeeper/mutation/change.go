package mutation

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
)

// Condition is what must be so at a part of a location.
type Condition string

// The conditions of pathTests.
const (
	MustExist    Condition = "MustExist"
	MustNotExist Condition = "MustNotExist"
)

// Test is a condition on a part of a change's location.
type Test struct {
	SubPath   string    `json:"subPath"`
	Condition Condition `json:"condition"`
}

// setter says what becomes of the value at the place. The last result is false
// when nothing changes; an absent value that stays absent is not written.
type setter func(old any, there bool) (any, bool, error)

// Change is one change of one place. It is immutable.
type Change struct {
	location Location
	tests    map[int]Condition
	set      setter
}

func newChange(location Location, tests []Test, set setter) (*Change, error) {
	c := &Change{location: location, tests: map[int]Condition{}, set: set}
	highest, lowest := -1, len(location)
	for _, test := range tests {
		if test.Condition != MustExist && test.Condition != MustNotExist {
			return nil, fmt.Errorf("a path test's condition is MustExist or MustNotExist, not %q", test.Condition)
		}
		path, err := ParseLocation(test.SubPath)
		if err != nil {
			return nil, err
		}
		if !location.isBelow(path) {
			return nil, fmt.Errorf("the path test's subPath %q is not the beginning of the location", test.SubPath)
		}
		depth := len(path) - 1
		if before, set := c.tests[depth]; set && before != test.Condition {
			return nil, fmt.Errorf("path tests want %q both to be and not to be", test.SubPath)
		}
		c.tests[depth] = test.Condition
		if test.Condition == MustExist {
			highest = max(highest, depth)
		} else {
			lowest = min(lowest, depth)
		}
	}
	if highest > lowest {
		return nil, errors.New("path tests want something to be below what must not be")
	}
	return c, nil
}

// Apply changes an object in place, and reports whether anything is another
// than before. After an error the object is of no use.
func (c *Change) Apply(object map[string]any) (bool, error) {
	_, changed, err := c.at(object, 0)
	return changed, err
}

func (c *Change) allows(depth int, there bool) bool {
	return c.tests[depth] == "" || (c.tests[depth] == MustExist) == there
}

// at changes a value that a part of the location leads to, and returns it.
func (c *Change) at(value any, depth int) (any, bool, error) {
	if c.location[depth].list {
		list, ok := value.([]any)
		if !ok {
			return nil, false, fmt.Errorf("there is no list at %s but %T", c.location[depth-1].field, value)
		}
		return c.inList(list, depth)
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, false, fmt.Errorf("there is no object with the field %s but %T", c.location[depth].field, value)
	}
	return c.inObject(object, depth)
}

func (c *Change) inObject(object map[string]any, depth int) (any, bool, error) {
	field := c.location[depth].field
	old, there := object[field]
	there = there && (old != nil || depth == len(c.location)-1)
	if !c.allows(depth, there) {
		return object, false, nil
	}
	var next any
	var changed bool
	var err error
	if depth == len(c.location)-1 {
		next, changed, err = c.set(old, there)
	} else {
		if !there {
			old = c.empty(depth + 1)
		}
		next, changed, err = c.at(old, depth+1)
	}
	if err == nil && changed {
		object[field] = next
	}
	return object, changed, err
}

// empty is what is made where a step finds nothing.
func (c *Change) empty(depth int) any {
	if c.location[depth].list {
		return []any{}
	}
	return map[string]any{}
}

func (c *Change) inList(list []any, depth int) (any, bool, error) {
	choice, last := c.location[depth], depth == len(c.location)-1
	if choice.all && !c.allows(depth, true) {
		return list, false, nil
	}
	list, any, found := append(list[:0:0], list...), false, false
	for i, element := range list {
		if !choice.chooses(element) {
			continue
		}
		found = true
		if !c.allows(depth, true) {
			return list, false, nil
		}
		next, changed, err := c.element(element, true, depth, last)
		if err != nil {
			return nil, false, err
		}
		list[i], any = next, any || changed
	}
	if found || choice.all || !c.allows(depth, false) {
		return list, any, nil
	}
	next, changed, err := c.element(map[string]interface{}{choice.key: choice.value}, false, depth, last)
	if err != nil || !changed {
		return list, false, err
	}
	return append(list, next), true, nil
}

func (c *Change) element(element any, there bool, depth int, last bool) (any, bool, error) {
	if last {
		return c.set(element, there)
	}
	return c.at(element, depth+1)
}

func (s step) chooses(element any) bool {
	if s.all {
		return true
	}
	object, ok := element.(map[string]any)
	return ok && equality.Semantic.DeepEqual(object[s.key], s.value)
}

// to sets a value.
func to(value any) setter {
	return func(old any, there bool) (any, bool, error) {
		if there && equality.Semantic.DeepEqual(old, value) {
			return old, false, nil
		}
		return runtime.DeepCopyJSONValue(value), true, nil
	}
}

// Assign sets the place to a value.
func Assign(location string, value any, tests []Test) (*Change, error) {
	place, err := ParseLocation(location)
	if err != nil {
		return nil, err
	}
	if place[0].field == "metadata" {
		return nil, errors.New("metadata is for AssignMetadata")
	}
	if err := fits(place, value); err != nil {
		return nil, err
	}
	return newChange(place, tests, to(value))
}

// fits checks a value that is to be an element of a list.
func fits(place Location, value any) error {
	if !place.endsInList() {
		return nil
	}
	last := place[len(place)-1]
	object, ok := value.(map[string]any)
	switch {
	case last.all:
		return errors.New("a location that ends in a list must choose one element")
	case !ok:
		return errors.New("only an object can be an element of a list")
	case !equality.Semantic.DeepEqual(object[last.key], last.value):
		return fmt.Errorf("the value's %s must be %v, as in the location", last.key, last.value)
	}
	return nil
}

// AssignMetadata sets a label or annotation that is not there.
func AssignMetadata(location, value string) (*Change, error) {
	place, err := ParseLocation(location)
	if err != nil {
		return nil, err
	}
	if len(place) != 3 || place[0].field != "metadata" || place[1].list || place[2].list ||
		place[1].field != "labels" && place[1].field != "annotations" {
		return nil, errors.New("the location must be metadata.labels.NAME or metadata.annotations.NAME")
	}
	return newChange(place, []Test{{location, MustNotExist}}, to(value))
}

// Merge adds values to the list at the place that are not in it.
func Merge(location string, values []any, tests []Test) (*Change, error) {
	return onSet(location, tests, func(list []any, there bool) ([]any, bool) {
		merged := append(list[:0:0], list...)
		for _, value := range values {
			if !holds(merged, value) {
				merged = append(merged, runtime.DeepCopyJSONValue(value))
			}
		}
		return merged, !there || len(merged) > len(list)
	})
}

// Prune takes values out of the list at the place.
func Prune(location string, values []any, tests []Test) (*Change, error) {
	return onSet(location, tests, func(list []any, _ bool) ([]any, bool) {
		left := []any{}
		for _, value := range list {
			if !holds(values, value) {
				left = append(left, value)
			}
		}
		return left, len(left) < len(list)
	})
}

func holds(list []any, value any) bool {
	for _, one := range list {
		if equality.Semantic.DeepEqual(one, value) {
			return true
		}
	}
	return false
}

func onSet(location string, tests []Test, change func(list []any, there bool) ([]any, bool)) (*Change, error) {
	place, err := ParseLocation(location)
	if err != nil {
		return nil, err
	}
	if place[0].field == "metadata" {
		return nil, errors.New("a ModifySet must not change metadata")
	}
	if place.endsInList() {
		return nil, errors.New("the location must be a list, not an element of one")
	}
	return newChange(place, tests, func(old any, there bool) (any, bool, error) {
		list, ok := old.([]any)
		if there && old != nil && !ok {
			return nil, false, fmt.Errorf("there is no list at %s but %T", place[len(place)-1].field, old)
		}
		next, changed := change(list, there)
		return next, changed, nil
	})
}

// Conflicts reports whether two changes take the same place for different
// things: one for a list where the other has an object, or for lists with
// different keys.
func (c *Change) Conflicts(other *Change) bool {
	for i := range min(len(c.location), len(other.location)) {
		a, b := c.location[i], other.location[i]
		if a.list != b.list || a.key != b.key {
			return true
		}
		if a.field != b.field {
			return false
		}
	}
	return false
}
