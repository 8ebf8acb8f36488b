package fieldmanager

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// shape says how what is at one place of an object can be owned. Where several
// kinds of values may be, more than one of its parts is set. Shapes may be
// recursive, and do not change once they are in use.
type shape struct {
	scalar bool
	list   *list
	object *object
	// converted are Go types that write themselves as JSON.
	converted *value.TypeReflectCacheEntry
	// unknown: the schema does not know the field.
	unknown bool
}

// list is how the items of a list are owned: with it as a whole when atomic,
// else each by its keys, or by its value when there are none.
type list struct {
	atomic bool
	keys   []itemKey
	item   *shape
}

type itemKey struct {
	name string
	// fallback is the JSON of what stands for a missing key; "": nothing does.
	fallback string
	// entry reads the key of a Go struct.
	entry *value.FieldCacheEntry
}

// object is how the fields of a Go struct or the entries of a map are owned.
type object struct {
	atomic bool
	// fields are those of a Go struct, by name.
	fields []field
	// named are entries of a map with a shape of their own; others have that
	// of rest, or are unknown when it is nil.
	named map[string]*field
	rest  *shape
	// deduced: nothing is known of the entries beforehand.
	deduced bool
}

type field struct {
	name  string
	key   string // name, as in FieldsV1
	entry *value.FieldCacheEntry
	shape *shape
	// skip: nobody comes to own the field.
	skip bool
}

// stripped are the fields of metadata that nobody owns.
var stripped = [][]string{
	{"apiVersion"}, {"kind"}, {"metadata", "name"}, {"metadata", "namespace"}, {"metadata", "creationTimestamp"},
	{"metadata", "selfLink"}, {"metadata", "uid"}, {"metadata", "clusterName"}, {"metadata", "generation"},
	{"metadata", "managedFields"}, {"metadata", "resourceVersion"},
}

// without is the shape in which nobody comes to own what is at the paths.
func (s *shape) without(paths [][]string) *shape {
	return s.along(paths, func(f *field, tails [][]string, whole bool) {
		f.skip = f.skip || whole
		if len(tails) > 0 {
			f.shape = f.shape.without(tails)
		}
	})
}

// only is the shape in which nothing but what is at the paths can come to be
// owned. "*" in a path is each item of a list.
func (s *shape) only(paths [][]string) *shape {
	if s.list != nil && !s.list.atomic {
		var tails [][]string
		for _, path := range paths {
			if path[0] == "*" && len(path) > 1 {
				tails = append(tails, path[1:])
			}
		}
		copied, items := *s, *s.list
		if len(tails) > 0 {
			items.item = items.item.only(tails)
		}
		copied.list = &items
		return &copied
	}
	return s.along(paths, func(f *field, tails [][]string, whole bool) {
		if whole {
			return
		}
		if f.skip = len(tails) == 0; !f.skip {
			f.shape = f.shape.only(tails)
		}
	})
}

// along copies the fields of an object and lets change edit each copy, given
// what remains of the paths below it and whether one ends there.
func (s *shape) along(paths [][]string, change func(f *field, tails [][]string, whole bool)) *shape {
	if s.object == nil {
		return s
	}
	copied, below := *s, *s.object
	edit := func(f *field) {
		var tails [][]string
		whole := false
		for _, path := range paths {
			switch {
			case path[0] != f.name:
			case len(path) == 1:
				whole = true
			default:
				tails = append(tails, path[1:])
			}
		}
		change(f, tails, whole)
	}
	below.fields = slices.Clone(below.fields)
	for i := range below.fields {
		edit(&below.fields[i])
	}
	if below.named != nil {
		named := make(map[string]*field, len(below.named))
		for name, f := range below.named {
			f := *f
			edit(&f)
			named[name] = &f
		}
		below.named = named
	}
	copied.object = &below
	return &copied
}

//go:embed granularity.txt
var granularityText string

// granularity says, for each Go type of the API and its field, how it is owned
// where that is not the rule: objects by their fields, lists as a whole. The
// test of the table writes it from the schemas that applies go by.
var granularity = sync.OnceValue(func() map[string]string {
	table := map[string]string{}
	for line := range strings.Lines(granularityText) {
		if place, how, found := strings.Cut(strings.TrimSpace(line), " "); found {
			table[place] = how
		}
	}
	return table
})

// typedShapes makes the shapes of Go types.
type typedShapes struct {
	table map[string]string
	mu    sync.Mutex
	made  map[reflect.Type]*shape
}

var knownShapes = sync.OnceValue(func() *typedShapes {
	return &typedShapes{table: granularity(), made: map[reflect.Type]*shape{}}
})

// root is the shape of the objects of a Go type.
func (ts *typedShapes) root(t reflect.Type) *shape {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.of(t, "")
}

// place names a field in the table.
func place(t reflect.Type, name string) string {
	return strings.TrimPrefix(t.PkgPath(), "k8s.io/") + "." + t.Name() + "." + name
}

// of is the shape of a type where it is owned in a given way.
func (ts *typedShapes) of(t reflect.Type, how string) *shape {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if entry := value.TypeReflectEntryOf(t); entry.CanConvertToUnstructured() {
		return &shape{scalar: true, converted: entry}
	}
	switch t.Kind() {
	case reflect.Struct:
		s := ts.structure(t)
		if how == atomicObject {
			return &shape{object: &object{atomic: true}}
		}
		return s
	case reflect.Map:
		if how == atomicObject {
			return &shape{object: &object{atomic: true}}
		}
		return &shape{object: &object{rest: ts.of(t.Elem(), strings.TrimPrefix(how, "*"))}}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return &shape{scalar: true}
		}
		return &shape{list: ts.list(t.Elem(), how)}
	default:
		return &shape{scalar: true}
	}
}

// How a place is owned, in the table: an object as a whole, a list by its
// values; else a list by the keys named, with defaults after "=", and after
// "/" how its items are owned. "*" says the rest of the entries of a map.
const (
	atomicObject = "{}"
	valueSet     = "[]"
	unknownField = "?"
)

func (ts *typedShapes) list(item reflect.Type, how string) *list {
	if how == "" {
		return &list{atomic: true}
	}
	how, below, _ := strings.Cut(how, "/")
	l := &list{item: ts.of(item, below)}
	if how == valueSet {
		return l
	}
	for part := range strings.SplitSeq(how, ",") {
		name, fallback, _ := strings.Cut(part, "=")
		key := itemKey{name: name, fallback: strings.ReplaceAll(fallback, `"`, `\"`)}
		for _, entry := range value.TypeReflectEntryOf(item).OrderedFields() {
			if entry.JsonName == name {
				key.entry = entry
			}
		}
		l.keys = append(l.keys, key)
	}
	return l
}

func (ts *typedShapes) structure(t reflect.Type) *shape {
	if s := ts.made[t]; s != nil {
		return s
	}
	s := &shape{object: &object{}}
	ts.made[t] = s // before its fields, which may be of the same type
	types := fieldTypes(t)
	for _, entry := range value.TypeReflectEntryOf(t).OrderedFields() {
		owner := types[entry.JsonName]
		how := ts.table[place(owner.parent, entry.JsonName)]
		f := field{name: entry.JsonName, key: "f:" + entry.JsonName, entry: entry}
		if how == unknownField {
			f.shape = &shape{unknown: true}
		} else {
			f.shape = ts.of(owner.field, how)
		}
		s.object.fields = append(s.object.fields, f)
	}
	return s
}

type fieldType struct{ parent, field reflect.Type }

// fieldTypes are the types of a struct's fields by their names in JSON, with
// those of inlined structs among them.
func fieldTypes(t reflect.Type) map[string]fieldType {
	types := map[string]fieldType{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case name == "" && f.Anonymous:
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			for name, ft := range fieldTypes(inner) {
				types[name] = fieldType{parent: t, field: ft.field}
			}
		default:
			types[cmp.Or(name, f.Name)] = fieldType{parent: t, field: f.Type}
		}
	}
	return types
}

// schemaShapes makes the shapes of a schema's types.
type schemaShapes struct {
	schema *schema.Schema
	made   map[string]*shape
}

func (ss *schemaShapes) of(ref schema.TypeRef) (*shape, error) {
	named := ref.NamedType != nil && ref.ElementRelationship == nil
	if named {
		if s := ss.made[*ref.NamedType]; s != nil {
			return s, nil
		}
	}
	atom, ok := ss.schema.Resolve(ref)
	if !ok {
		return nil, errors.New("a type is missing in the schema")
	}
	s := &shape{scalar: atom.Scalar != nil}
	if named {
		ss.made[*ref.NamedType] = s
	}
	var err error
	if atom.List != nil {
		if s.list, err = ss.list(atom.List); err != nil {
			return nil, err
		}
	}
	if atom.Map != nil {
		s.object, err = ss.object(atom.Map)
	}
	return s, err
}

func (ss *schemaShapes) list(from *schema.List) (*list, error) {
	l := &list{atomic: from.ElementRelationship != schema.Associative}
	if l.atomic {
		return l, nil
	}
	var err error
	if l.item, err = ss.of(from.ElementType); err != nil {
		return nil, err
	}
	item, _ := ss.schema.Resolve(from.ElementType)
	for _, name := range from.Keys {
		key := itemKey{name: name}
		if item.Map != nil {
			if f, _ := item.Map.FindField(name); f.Default != nil {
				raw, err := json.Marshal(f.Default)
				if err != nil {
					return nil, err
				}
				key.fallback = strings.ReplaceAll(string(raw), `"`, `\"`)
			}
		}
		l.keys = append(l.keys, key)
	}
	slices.SortFunc(l.keys, func(a, b itemKey) int { return strings.Compare(a.name, b.name) })
	return l, nil
}

func (ss *schemaShapes) object(from *schema.Map) (*object, error) {
	o := &object{atomic: from.ElementRelationship == schema.Atomic, named: make(map[string]*field, len(from.Fields))}
	for i := range from.Fields {
		f := &from.Fields[i]
		s, err := ss.of(f.Type)
		if err != nil {
			return nil, err
		}
		o.named[f.Name] = &field{name: f.Name, key: "f:" + f.Name, shape: s}
	}
	if (from.ElementType == schema.TypeRef{}) {
		return o, nil
	}
	var err error
	o.rest, err = ss.of(from.ElementType)
	o.deduced = from.Fields == nil && o.rest != nil && o.rest.scalar && o.rest.list != nil && o.rest.object != nil
	return o, err
}
