package fieldmanager

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/randfill"
	"sigs.k8s.io/structured-merge-diff/v6/value"

	"github.com/yare-io/yare/apiserver/registry"
)

// words are few, so that items of lists and entries of maps meet. odd ones are
// left to apimachinery where they are keys.
var (
	words = []string{"a", "b", "c", "ab", "abc", "a-b", "web-1", "web-10", "web-2", "kubernetes.io/name", "x y", "10.0.0.1", "/a", "/a/b", "80", "9", "A", "z", "a.b"}
	odd   = []string{"", "über", `q"`, "<&>", `a\b`, "\n"}
)

func filler(seed int64) *randfill.Filler {
	word := func(s *string, c randfill.Continue) {
		if *s = words[c.Intn(len(words))]; c.Intn(60) == 0 {
			*s = odd[c.Intn(len(odd))]
		}
	}
	return randfill.NewWithSeed(seed).NilChance(0.6).NumElements(0, 3).MaxDepth(14).Funcs(
		word,
		func(q *resource.Quantity, c randfill.Continue) {
			*q = *resource.NewMilliQuantity(c.Int63n(4)*500, resource.DecimalSI)
		},
		func(t *metav1.Time, c randfill.Continue) { *t = metav1.Unix(c.Int63n(3), 0) },
		func(t *metav1.MicroTime, c randfill.Continue) { *t = metav1.NewMicroTime(time.Unix(c.Int63n(3), 1000)) },
		func(v *intstr.IntOrString, c randfill.Continue) { *v = intstr.FromInt32(c.Int31n(3)) },
		func(v *runtime.RawExtension, c randfill.Continue) { v.Raw = []byte(fmt.Sprintf(`{"a":%d}`, c.Intn(2))) },
		func(v *metav1.FieldsV1, _ randfill.Continue) { v.SetRawString("{}") },
		func(v *metav1.TypeMeta, _ randfill.Continue) {},
		func(v *int32, c randfill.Continue) { *v = c.Int31n(3) },
		func(v *int64, c randfill.Continue) { *v = c.Int63n(3) },
		func(m *metav1.ObjectMeta, c randfill.Continue) {
			c.FillNoCustom(m)
			m.ManagedFields, m.UID = nil, "u"
		},
	)
}

// Random writes of all kinds leave the records that apimachinery leaves, and
// most of them are not left to it.
func TestRecord(t *testing.T) {
	seed := int64(1)
	if s := os.Getenv("YARE_SEED"); s != "" {
		seed, _ = strconv.ParseInt(s, 10, 64)
	}
	rounds := 3
	if n, _ := strconv.Atoi(os.Getenv("YARE_ROUNDS")); n > 0 {
		rounds = n
	}
	writes, unusual := 0, 0
	for _, row := range stored(t) {
		if row.Name == "customresourcedefinitions" {
			continue // random bytes are no JSON, which their schemas hold
		}
		for _, part := range parts(row) {
			w := writer{t: t, manager: New(row, part), row: row, random: rand.New(rand.NewSource(seed)), fill: filler(seed)}
			for range rounds {
				w.life(8)
			}
			writes, unusual = writes+w.writes, unusual+w.unusual
		}
	}
	t.Logf("%d writes, %d of them unusual", writes, unusual)
	if writes < 500 || unusual > writes*2/3 {
		t.Error("too many writes were left to apimachinery for the test to mean something")
	}
}

// parts are the doors through which a row's objects are written.
func parts(row *registry.Resource) []string {
	out := []string{""}
	for _, sub := range row.Subresources {
		if sub.Part != nil || sub.Projection != nil {
			out = append(out, sub.Name)
		}
	}
	return out
}

// writer makes random writes of one kind.
type writer struct {
	t               *testing.T
	row             *registry.Resource
	manager         *Manager
	random          *rand.Rand
	fill            *randfill.Filler
	writes, unusual int
}

// life creates an object and changes it n times.
func (w *writer) life(n int) {
	live := w.row.New()
	for i := range n {
		obj := w.row.New()
		switch {
		case i == 0 || w.random.Intn(6) == 0:
			w.fill.Fill(obj)
		default:
			obj = live.DeepCopyObject()
			w.nudge(reflect.ValueOf(obj).Elem())
		}
		m, err := meta.Accessor(obj)
		if err != nil {
			w.t.Fatal(err)
		}
		m.SetUID("u")
		if i > 0 && w.random.Intn(3) > 0 {
			before, _ := meta.Accessor(live)
			m.SetManagedFields(before.GetManagedFields())
		}
		live = w.write(live, obj, "author"+strconv.Itoa(w.random.Intn(3)))
	}
}

// nudge changes one field of a struct, at some depth.
func (w *writer) nudge(v reflect.Value) {
	for range 4 {
		i := w.random.Intn(v.NumField())
		f := v.Field(i)
		if !f.CanSet() || v.Type().Field(i).Name == "ManagedFields" || v.Type().Field(i).Name == "TypeMeta" {
			continue
		}
		for f.Kind() == reflect.Pointer && !f.IsNil() {
			f = f.Elem()
		}
		if f.Kind() == reflect.Slice && f.Len() > 0 && w.random.Intn(2) == 0 {
			f = f.Index(w.random.Intn(f.Len()))
		}
		if f.Kind() == reflect.Struct && f.NumField() > 1 && !value.TypeReflectEntryOf(f.Type()).CanConvertToUnstructured() && w.random.Intn(4) > 0 {
			w.nudge(f)
			return
		}
		w.fill.Fill(f.Addr().Interface())
		return
	}
}

// write records one write both ways and compares.
func (w *writer) write(live, obj runtime.Object, author string) runtime.Object {
	w.writes++
	inner, err := w.manager.inner()
	if err != nil {
		w.t.Fatal(err)
	}
	before := obj.DeepCopyObject()
	want, err := inner.Update(live.DeepCopyObject(), obj.DeepCopyObject(), author)
	if err != nil {
		// Lists without their keys in what the write does not touch: Kubernetes
		// then records nothing, without need.
		want, err = inner.Update(w.touched(live), w.touched(obj), author)
	}
	broken := err != nil
	if broken {
		want = inner.UpdateNoErrors(live.DeepCopyObject(), obj.DeepCopyObject(), author)
	}
	want = w.manager.settled(want)
	err = w.manager.record(live, obj, author)
	if errors.Is(err, errUnusual) {
		w.unusual++
		if !reflect.DeepEqual(before, obj) {
			w.t.Fatalf("%s: changed and then given up", w.row.Kind)
		}
		return want
	}
	if err != nil || broken {
		w.t.Fatalf("%s: %v, but apimachinery cannot do it", w.row.Kind, err)
	}
	if got, want := recordOf(w.t, obj), recordOf(w.t, want); got != want {
		from, _ := json.Marshal(live)
		to, _ := json.Marshal(before)
		w.t.Fatalf("%s %q by %s\nfrom %s\nto   %s\ngot  %s\nwant %s", w.row.Kind, w.manager.part, author, from, to, got, want)
	}
	return want
}

// touched is a copy without the fields that the write leaves alone.
func (w *writer) touched(obj runtime.Object) runtime.Object {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, path := range untouched(w.row, w.manager.part) {
		unstructured.RemoveNestedField(content, path...)
	}
	out := w.row.New()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, out); err != nil {
		w.t.Fatal(err)
	}
	return out
}

// recordOf is an object's record but for its times, and the order that hangs
// on them.
func recordOf(t *testing.T, obj runtime.Object) string {
	m, err := meta.Accessor(obj)
	if err != nil {
		t.Fatal(err)
	}
	record := make([]metav1.ManagedFieldsEntry, len(m.GetManagedFields()))
	for i, entry := range m.GetManagedFields() {
		if entry.Time == nil {
			t.Errorf("no time in %v", entry)
		}
		entry.Time = nil
		record[i] = entry
	}
	slices.SortFunc(record, compareEntries)
	raw, err := json.MarshalIndent(record, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
