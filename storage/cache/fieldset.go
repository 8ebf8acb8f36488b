package cache

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
)

// fieldSet is what field selectors may ask an object for. A map for each
// object would take several times the room: the names are shared.
type fieldSet struct{ names, values []string }

// Has implements fields.Fields.
func (s *fieldSet) Has(name string) bool { return slices.Contains(s.names, name) }

// Get implements fields.Fields.
func (s *fieldSet) Get(name string) string {
	if i := slices.Index(s.names, name); i >= 0 {
		return s.values[i]
	}
	return ""
}

// fieldsOf packs the fields of the object with a key.
func (r *Resource) fieldsOf(key string, set fields.Set) fields.Fields {
	names := r.fieldNames.Load()
	if names == nil || !sameNames(*names, set) {
		sorted := slices.Sorted(maps.Keys(set))
		names = &sorted
		r.fieldNames.Store(names)
	}
	packed := &fieldSet{names: *names, values: make([]string, len(*names))}
	for i, name := range *names {
		packed.values[i] = set[name]
		if name == nameField && strings.HasSuffix(key, set[name]) {
			packed.values[i] = key[len(key)-len(set[name]):]
		}
	}
	r.cache.words.share(packed.values)
	return packed
}

func sameNames(names []string, set fields.Set) bool {
	if len(names) != len(set) {
		return false
	}
	for _, name := range names {
		if _, ok := set[name]; !ok {
			return false
		}
	}
	return true
}

// labelSet has labels and their values in turns. A map takes twice as much.
type labelSet []string

// Has implements labels.Labels.
func (s labelSet) Has(label string) bool {
	_, ok := s.Lookup(label)
	return ok
}

// Get implements labels.Labels.
func (s labelSet) Get(label string) string {
	value, _ := s.Lookup(label)
	return value
}

// Lookup implements labels.Labels.
func (s labelSet) Lookup(label string) (value string, exists bool) {
	for i := 0; i < len(s); i += 2 {
		if s[i] == label {
			return s[i+1], true
		}
	}
	return "", false
}

// labelsOf packs the labels of an object.
func (r *Resource) labelsOf(set map[string]string) labels.Labels {
	if len(set) == 0 {
		return labelSet(nil)
	}
	packed := make(labelSet, 0, 2*len(set))
	for _, label := range slices.Sorted(maps.Keys(set)) {
		packed = append(packed, label, set[label])
	}
	r.cache.words.share(packed)
	return packed
}

// words are strings that objects have in common: those seen lately.
type words struct {
	mu sync.Mutex
	// young take in what is seen, and become old when they are full.
	young, old map[string]string
}

const (
	// mostWords bounds each of young and old.
	mostWords = 4096
	// longWord is not likely to be seen twice.
	longWord = 64
)

// share replaces strings by equal ones that are there already.
func (w *words) share(all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, word := range all {
		if len(word) > 0 && len(word) < longWord {
			all[i] = w.one(word)
		}
	}
}

func (w *words) one(word string) string {
	if there, ok := w.young[word]; ok {
		return there
	}
	if len(w.young) >= mostWords || w.young == nil {
		w.old, w.young = w.young, make(map[string]string)
	}
	if there, ok := w.old[word]; ok {
		word = there
	}
	w.young[word] = word
	return word
}
