package apicoverage

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// enumeration is a place where a value of an enumeration is written.
type enumeration struct {
	Type      string                    `json:"type"`
	Of        string                    `json:"of"`
	At        string                    `json:"at"`
	Set       map[string]any            `json:"set"`
	With      map[string]map[string]any `json:"with"`
	Values    []string                  `json:"values"`
	Supported []string                  `json:"supported"`
	Refused   string                    `json:"refused"`
	Field     string                    `json:"field"`
	Unchecked string                    `json:"unchecked"`
}

// TestEveryEnumeration: every value of every enumeration is taken, and a wrong
// one refused in Kubernetes' words.
func TestEveryEnumeration(t *testing.T) {
	s, objects, seen := start(t), samples(t), map[string]bool{}
	known := map[string][]string{}
	for _, line := range lines(t, "enums.tsv") {
		known[line["group"]+"/"+line["version"]+" "+line["type"]] = strings.Split(strings.ReplaceAll(line["values"], `""`, ""), ",")
	}
	raw, err := os.ReadFile("testdata/enums.yaml")
	must(t, err)
	var places []enumeration
	must(t, yaml.UnmarshalStrict(raw, &places))
	for _, e := range places {
		seen[e.Type] = true
		if known[e.Type] == nil {
			t.Errorf("the ledger has no %s", e.Type)
		}
		if e.Unchecked != "" {
			continue
		}
		t.Run(e.Type, func(t *testing.T) {
			if objects[e.Of] == nil {
				t.Fatalf("no sample of %s", e.Of)
			}
			taken := known[e.Type]
			if e.Values != nil {
				taken = e.Values
			}
			for _, value := range taken {
				if a := s.offer(t, objects[e.Of], &e, value); a.code != 201 {
					t.Errorf("%q is not taken: %v", value, a)
				}
			}
			s.refuses(t, objects[e.Of], &e, taken)
		})
	}
	for name := range known {
		if !seen[name] {
			t.Errorf("%s is nowhere asserted", name)
		}
	}
}

// offer creates an object with a value, without storing it.
func (s *server) offer(t *testing.T, sample map[string]any, e *enumeration, value string) answer {
	t.Helper()
	object := copied(t, sample)
	for path, value := range copied(t, e.Set) {
		put(t, object, path, value)
	}
	put(t, object, e.At, value)
	for path, value := range copied(t, e.With[value]) {
		put(t, object, path, value)
	}
	return s.do(t, "POST", s.collection(t, object)+"?dryRun=All&fieldValidation=Strict", marshal(t, object), "Content-Type", "application/json")
}

// refuses offers a value that no enumeration has.
func (s *server) refuses(t *testing.T, sample map[string]any, e *enumeration, taken []string) {
	t.Helper()
	a := s.offer(t, sample, e, "Wrong")
	want := e.Refused
	if want == "" {
		supported := slices.Clone(taken)
		if e.Supported != nil {
			supported = e.Supported
		}
		slices.Sort(supported)
		for i := range supported {
			supported[i] = strconv.Quote(supported[i])
		}
		want = fmt.Sprintf("Unsupported value: %q: supported values: %s", "Wrong", strings.Join(supported, ", "))
	}
	var status metav1.Status
	must(t, yaml.Unmarshal(a.body, &status))
	if a.code != 422 || status.Details == nil {
		t.Errorf("a wrong value: %v", a)
		return
	}
	field := e.At
	if e.Field != "" {
		field = e.Field
	}
	for _, cause := range status.Details.Causes {
		if cause.Message == want && cause.Field == field {
			return
		}
	}
	t.Errorf("a wrong value is refused with\n%s\nwant %s: %s", status.Message, field, want)
}

// put sets what is at a path like spec.ports[0].port, and makes what is on the
// way there.
func put(t *testing.T, object map[string]any, path string, value any) {
	t.Helper()
	step, rest, more := strings.Cut(path, ".")
	name, index, indexed := strings.Cut(step, "[")
	if !indexed {
		if !more {
			object[name] = value
			return
		}
		inner, ok := object[name].(map[string]any)
		if !ok {
			inner = map[string]any{}
			object[name] = inner
		}
		put(t, inner, rest, value)
		return
	}
	if index != "0]" {
		t.Fatalf("%s: only first items can be set", path)
	}
	list, ok := object[name].([]any)
	if !ok || len(list) == 0 {
		list = []any{map[string]any{}}
	}
	object[name] = list
	if !more {
		list[0] = value
		return
	}
	put(t, list[0].(map[string]any), rest, value)
}
