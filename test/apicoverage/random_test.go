package apicoverage

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/randfill"

	"github.com/yare-io/yare/apiserver/registry"
)

// randomPerKind is how many random objects of each kind are tried;
// RANDOM_OBJECTS sets another number.
const randomPerKind = 8

// TestRandomObjectsSurvive creates random objects of every kind, and reads and
// updates them: what was written is what is read, and to write what was read
// changes nothing.
func TestRandomObjectsSurvive(t *testing.T) {
	s, objects := start(t), samples(t)
	number := randomPerKind
	if given := os.Getenv("RANDOM_OBJECTS"); given != "" {
		var err error
		number, err = strconv.Atoi(given)
		must(t, err)
	}
	added := 0
	for _, row := range s.Rows() {
		sample := objects[row.Kind.GroupVersion().String()+" "+row.Kind.Kind]
		if row.Creator != nil || sample == nil {
			continue
		}
		t.Run(name(row), func(t *testing.T) {
			for seed := range number {
				if seed > 0 && metadata(sample)["name"] != "x" {
					break // its name is not free again at once
				}
				object := s.validObject(t, row, sample, int64(seed))
				if metadata(object)["name"] == "x" {
					metadata(object)["name"] = fmt.Sprintf("x-%d", seed)
				}
				added += size(object) - size(sample)
				s.survives(t, row, object)
			}
		})
	}
	t.Logf("%d random values", added)
	if added < 1000 {
		t.Error("that is next to nothing")
	}
}

// survives takes an object through its life.
func (s *server) survives(t *testing.T, row *registry.Resource, object map[string]any) {
	t.Helper()
	created := s.must(t, "POST", collection(row), object)
	path := collection(row) + "/" + metadata(created)["name"].(string)
	defer s.do(t, "DELETE", path, nil)
	read := s.must(t, "GET", path, nil)
	same(t, "what is read", read, created)
	// Defaults for what was dropped may have to be stored first.
	read = s.must(t, "PUT", path, read)
	again := s.must(t, "PUT", path, read)
	same(t, "what is written again", again, read)
	metadata(read)["labels"] = map[string]any{"changed": "yes"}
	updated := s.must(t, "PUT", path, read)
	same(t, "what is read after an update", s.must(t, "GET", path, nil), updated)
	changed := []string{"labels", "resourceVersion", "managedFields"}
	if row.Name == "endpointslices" {
		changed = append(changed, "generation") // which counts labels too
	}
	for _, object := range []map[string]any{updated, again} {
		for _, field := range changed {
			delete(metadata(object), field)
		}
	}
	same(t, "what is updated", updated, again)
}

// same compares objects. The store does not tell an empty list, map or string
// from none.
func same(t *testing.T, what string, got, want map[string]any) {
	t.Helper()
	for _, path := range differences("", dense(got), dense(want)) {
		t.Errorf("%s: %s is %v, want %v", what, path, at(t, got, path[1:]), at(t, want, path[1:]))
	}
}

// dense is a value without what is empty in its maps.
func dense(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, inner := range v {
			if inner = dense(inner); inner != nil {
				out[name] = inner
			}
		}
		if len(out) > 0 {
			return out
		}
	case []any:
		out := make([]any, len(v))
		for i, inner := range v {
			out[i] = dense(inner)
		}
		if len(out) > 0 {
			return out
		}
	case string:
		if v != "" {
			return v
		}
	default:
		return value
	}
	return nil
}

// size counts the values of an object.
func size(value any) int {
	n := 1
	switch v := value.(type) {
	case map[string]any:
		for _, inner := range v {
			n += size(inner)
		}
	case []any:
		for _, inner := range v {
			n += size(inner)
		}
	}
	return n
}

// validObject adds random fields to a sample, and takes away again what
// validation names, until the object is valid.
func (s *server) validObject(t *testing.T, row *registry.Resource, sample map[string]any, seed int64) map[string]any {
	t.Helper()
	obj := row.New()
	filler(seed).Fill(obj)
	random, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	must(t, err)
	for _, field := range []string{"metadata", "status", "kind", "apiVersion"} {
		delete(random, field)
	}
	object := copied(t, sample)
	graft(object, random, rand.New(rand.NewSource(seed)))
	const attempts = 400
	for range attempts {
		a := s.do(t, "POST", collection(row)+"?dryRun=All", marshal(t, object), "Content-Type", "application/json")
		if a.code == 201 {
			return object
		}
		var status metav1.Status
		if err := json.Unmarshal(a.body, &status); err != nil || a.code >= 500 {
			t.Fatalf("%v for %s", a, marshal(t, object))
		}
		pruned := false
		if status.Details != nil {
			for _, cause := range status.Details.Causes {
				pruned = prune(object, sample, steps(cause.Field)) || pruned
			}
		}
		if !pruned && !pruneAny(object, sample) {
			break
		}
	}
	t.Fatalf("%s was not made valid", marshal(t, object))
	return nil
}

// filler makes values of which a part is valid.
func filler(seed int64) *randfill.Filler {
	words := []string{"a", "b1", "example.com/a", "a.example.com", "10.1.2.3", "/a", "1"}
	return randfill.NewWithSeed(seed).NilChance(0.5).NumElements(1, 2).MaxDepth(14).Funcs(
		func(s *string, c randfill.Continue) { *s = words[c.Intn(len(words))] },
		func(n *int32, c randfill.Continue) { *n = c.Int31n(100) + 1 },
		func(n *int64, c randfill.Continue) { *n = c.Int63n(100) + 1 },
		func(q *resource.Quantity, c randfill.Continue) {
			*q = *resource.NewQuantity(c.Int63n(1000)+1, resource.DecimalSI)
		},
		func(v *intstr.IntOrString, c randfill.Continue) { *v = intstr.FromInt32(c.Int31n(100) + 1) },
		func(r *runtime.RawExtension, _ randfill.Continue) { r.Raw = []byte(`{"a":1}`) },
		func(j *apiextensionsv1.JSON, _ randfill.Continue) { j.Raw = []byte(`1`) },
		func(p *apiextensionsv1.JSONSchemaProps, _ randfill.Continue) { p.Type = "object" },
		func(t *metav1.Time, c randfill.Continue) { *t = metav1.Unix(c.Int63n(2e9), 0) },
		func(t *metav1.MicroTime, c randfill.Continue) {
			*t = metav1.NewMicroTime(metav1.Unix(c.Int63n(2e9), 0).Time)
		},
		func(m *metav1.ObjectMeta, _ randfill.Continue) {},
		func(f *metav1.FieldsV1, _ randfill.Continue) {},
	)
}

// graft adds fields that an object does not have.
func graft(object, random map[string]any, r *rand.Rand) {
	for _, name := range slices.Sorted(maps.Keys(random)) {
		value := random[name]
		present, there := object[name]
		if !there {
			if r.Intn(3) > 0 {
				object[name] = value
			}
			continue
		}
		inner, isMap := present.(map[string]any)
		more, alike := value.(map[string]any)
		if isMap && alike {
			graft(inner, more, r)
			continue
		}
		list, isList := present.([]any)
		others, alike := value.([]any)
		if isList && alike && len(list) > 0 && len(others) > 0 {
			inner, isMap := list[0].(map[string]any)
			more, alike := others[0].(map[string]any)
			if isMap && alike {
				graft(inner, more, r)
			}
		}
	}
}

// steps splits a field's path: spec.ports[0].name, data[a.b].
func steps(path string) []string {
	var out []string
	for path != "" {
		if path[0] == '[' {
			key, rest, _ := strings.Cut(path[1:], "]")
			out, path = append(out, key), strings.TrimPrefix(rest, ".")
			continue
		}
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			return append(out, path)
		}
		out = append(out, path[:end])
		if path = path[end:]; path[0] == '.' {
			path = path[1:]
		}
	}
	return out
}

// prune removes what is at a path, or what is nearest above it, but nothing
// that the sample has.
func prune(value, sample any, path []string) bool {
	if len(path) == 0 {
		return false
	}
	switch v := value.(type) {
	case map[string]any:
		inner, there := v[path[0]]
		if !there {
			return false
		}
		theirs, _ := sample.(map[string]any)
		if prune(inner, theirs[path[0]], path[1:]) {
			return true
		}
		if _, given := theirs[path[0]]; given {
			return false
		}
		delete(v, path[0])
		return true
	case []any:
		i, err := strconv.Atoi(path[0])
		if err != nil || i < 0 || i >= len(v) {
			return false
		}
		theirs, _ := sample.([]any)
		var of any
		if i < len(theirs) {
			of = theirs[i]
		}
		return prune(v[i], of, path[1:])
	}
	return false
}

// pruneAny removes something, as what is wrong has no path of its own.
func pruneAny(object, sample map[string]any) bool {
	for _, name := range slices.Sorted(maps.Keys(object)) {
		value := object[name]
		given, there := sample[name]
		if !there {
			delete(object, name)
			return true
		}
		inner, isMap := value.(map[string]any)
		theirs, alike := given.(map[string]any)
		if isMap && alike && pruneAny(inner, theirs) {
			return true
		}
		list, isList := value.([]any)
		others, alike := given.([]any)
		if isList && alike && len(list) > 0 && len(others) > 0 {
			inner, isMap := list[0].(map[string]any)
			theirs, alike := others[0].(map[string]any)
			if isMap && alike && pruneAny(inner, theirs) {
				return true
			}
		}
	}
	return false
}
