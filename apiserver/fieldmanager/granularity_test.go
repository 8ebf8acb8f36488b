package fieldmanager

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/value"

	"github.com/yare-io/yare/apiserver/api"
	"github.com/yare-io/yare/apiserver/registry"
)

var update = flag.Bool("update", false, "write granularity.txt")

// stored are the rows that are written.
func stored(t testing.TB) []*registry.Resource {
	t.Helper()
	var out []*registry.Resource
	for _, row := range api.Resources(api.Deps{}) {
		if row.StoragePrefix != "" {
			out = append(out, row)
		}
	}
	if len(out) < 50 {
		t.Fatalf("only %d rows", len(out))
	}
	return out
}

// The table says of the Go types what the schemas say.
func TestGranularity(t *testing.T) {
	w := tableWriter{t: t, table: map[string]string{}, seen: map[reflect.Type]bool{}}
	for _, row := range stored(t) {
		obj := row.New()
		obj.GetObjectKind().SetGroupVersionKind(row.Kind)
		types, err := typesOf(row)
		if err != nil {
			t.Fatal(err)
		}
		typed, err := types.ObjectToTyped(obj)
		if err != nil {
			t.Fatalf("%s: %v", row.Kind, err)
		}
		w.schema = typed.Schema()
		w.structure(reflect.TypeOf(obj).Elem(), typed.TypeRef())
	}
	var b strings.Builder
	for _, place := range slices.Sorted(maps.Keys(w.table)) {
		b.WriteString(place + " " + w.table[place] + "\n")
	}
	if *update {
		if err := os.WriteFile("granularity.txt", []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if b.String() != granularityText {
		t.Errorf("granularity.txt is not what the schemas say; run go test ./apiserver/fieldmanager -run Granularity -update. It should be:\n%s", b.String())
	}
}

type tableWriter struct {
	t      *testing.T
	schema *schema.Schema
	table  map[string]string
	seen   map[reflect.Type]bool
}

func (w *tableWriter) structure(t reflect.Type, ref schema.TypeRef) {
	if w.seen[t] {
		return
	}
	w.seen[t] = true
	atom, _ := w.schema.Resolve(ref)
	types := fieldTypes(t)
	for _, entry := range value.TypeReflectEntryOf(t).OrderedFields() {
		owner := types[entry.JsonName]
		f, ok := atom.Map.FindField(entry.JsonName)
		how := unknownField
		if ok {
			how = w.place(owner.field, f.Type)
		} else if (atom.Map.ElementType != schema.TypeRef{}) {
			how = w.place(owner.field, atom.Map.ElementType)
		}
		if how != "" {
			w.table[place(owner.parent, entry.JsonName)] = how
		}
	}
}

// place is how a value is owned, where that is not the rule.
func (w *tableWriter) place(t reflect.Type, ref schema.TypeRef) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if value.TypeReflectEntryOf(t).CanConvertToUnstructured() {
		return ""
	}
	atom, ok := w.schema.Resolve(ref)
	if !ok {
		w.t.Fatalf("no type %v", ref)
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		switch {
		case atom.Map == nil:
			w.t.Fatalf("%s is no object", t)
		case atom.Map.ElementRelationship == schema.Atomic:
			return atomicObject
		case t.Kind() == reflect.Struct:
			w.structure(t, ref)
			return ""
		}
		if how := w.place(t.Elem(), atom.Map.ElementType); how != "" {
			return "*" + how
		}
		return ""
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 || atom.List == nil || atom.List.ElementRelationship != schema.Associative {
			return ""
		}
		if how := w.place(t.Elem(), atom.List.ElementType); how != "" {
			return w.keys(atom.List) + "/" + how
		}
		return w.keys(atom.List)
	}
	return ""
}

func (w *tableWriter) keys(list *schema.List) string {
	if len(list.Keys) == 0 {
		return valueSet
	}
	item, _ := w.schema.Resolve(list.ElementType)
	var keys []string
	for _, name := range list.Keys {
		key := name
		if f, _ := item.Map.FindField(name); f.Default != nil {
			raw, err := json.Marshal(f.Default)
			if err != nil {
				w.t.Fatal(err)
			}
			key += "=" + string(raw)
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return strings.Join(keys, ",")
}
