package apicoverage

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// defaulting is an object that leaves fields out, and what they become.
type defaulting struct {
	// Of are the group, version and kind of the ledger's lines.
	Of     string         `json:"of"`
	Object map[string]any `json:"object"`
	Is     [][]any        `json:"is"`
	// Then is a subresource, and what is written to it once the object is there.
	Then   []any   `json:"then"`
	ThenIs [][]any `json:"thenIs"`
}

// TestEveryDefault creates objects that leave fields out, and reads what the
// server made of these. The ledger of Kubernetes' defaults says which.
func TestEveryDefault(t *testing.T) {
	s, asserted := start(t), map[string]int{}
	number := 0
	documents(t, "defaults.yaml", func(document []byte) {
		var d defaulting
		must(t, yaml.UnmarshalStrict(document, &d))
		number++
		if metadata(d.Object)["name"] == nil {
			metadata(d.Object)["name"] = fmt.Sprintf("defaulted-%d", number)
		}
		t.Run(d.Of, func(t *testing.T) {
			path := s.collection(t, d.Object)
			if d.Then == nil {
				d.assert(t, s.must(t, "POST", path+"?dryRun=All&fieldValidation=Strict", d.Object), d.Is, asserted)
				return
			}
			created := s.must(t, "POST", path+"?fieldValidation=Strict", d.Object)
			d.assert(t, created, d.Is, asserted)
			d.assert(t, s.write(t, path, created, d.Then), d.ThenIs, asserted)
		})
	})
	elsewhere := map[string]bool{}
	for _, line := range lines(t, "defaults-elsewhere.tsv") {
		elsewhere[line["row"]] = true
	}
	rows := map[string]int{}
	for _, line := range lines(t, "defaults.tsv") {
		rows[line["group_version"]+" "+line["kind_or_type"]+"|"+line["field"]]++
	}
	for row, times := range rows {
		if asserted[row] < times && !elsewhere[row] {
			t.Errorf("%s is asserted %d times, the ledger has it %d times", row, asserted[row], times)
		}
	}
	for row := range asserted {
		if rows[row] == 0 {
			t.Errorf("%s is asserted, but the ledger does not have it", row)
		}
	}
	t.Logf("%d lines of %d, %d of admission plugins", len(asserted), len(rows), len(elsewhere))
}

// collection is the path where an object is created.
func (s *server) collection(t *testing.T, object map[string]any) string {
	t.Helper()
	kind := schema.FromAPIVersionAndKind(object["apiVersion"].(string), object["kind"].(string))
	for _, row := range s.Rows() {
		if row.Kind == kind {
			return collection(row)
		}
	}
	t.Fatalf("no row for %s", kind)
	return ""
}

// write changes a part of an object that is there.
func (s *server) write(t *testing.T, collection string, object map[string]any, then []any) map[string]any {
	t.Helper()
	sub, change := then[0].(string), then[1].(map[string]any)
	path := collection + "/" + metadata(object)["name"].(string) + "/" + sub
	if kind, own := change["kind"]; own {
		if kind == "Scale" {
			change["metadata"] = map[string]any{"name": metadata(object)["name"], "namespace": "default"}
			return s.must(t, "PUT", path, change)
		}
		return s.must(t, "POST", path, change)
	}
	for name, value := range change {
		object[name] = value
	}
	return s.must(t, "PUT", path, object)
}

// assert compares what was written with what it should have become.
func (d defaulting) assert(t *testing.T, object map[string]any, is [][]any, asserted map[string]int) {
	t.Helper()
	for _, entry := range is {
		row := entry[0].(string)
		path := strings.ReplaceAll(row, "[]", "[0]")
		if len(entry) == 3 {
			path = entry[1].(string)
		}
		if !strings.Contains(row, "|") {
			row = d.Of + "|" + row
		}
		asserted[row]++
		want, got := resolve(t, object, entry[len(entry)-1]), at(t, object, path)
		if want == "some" && got != nil && got != "" {
			continue
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %s is %#v, want %#v", row, path, got, want)
		}
	}
}

// resolve replaces what is said to be like other fields of the object.
func resolve(t *testing.T, object map[string]any, want any) any {
	t.Helper()
	switch w := want.(type) {
	case string:
		if path, ok := strings.CutPrefix(w, "like "); ok {
			return at(t, object, path)
		}
	case map[string]any:
		out := map[string]any{}
		for name, value := range w {
			out[name] = resolve(t, object, value)
		}
		return out
	}
	raw, err := json.Marshal(want)
	must(t, err)
	var out any
	must(t, json.Unmarshal(raw, &out))
	return out
}

// at returns what is at a path like spec.ports[0].port; nil when nothing is.
func at(t *testing.T, object any, path string) any {
	t.Helper()
	for step := range strings.SplitSeq(path, ".") {
		name, indices, _ := strings.Cut(step, "[")
		fields, ok := object.(map[string]any)
		if !ok {
			return nil
		}
		object = fields[name]
		if indices == "" {
			continue
		}
		i, err := strconv.Atoi(strings.TrimSuffix(indices, "]"))
		must(t, err)
		list, ok := object.([]any)
		if !ok || i >= len(list) {
			return nil
		}
		object = list[i]
	}
	return object
}
