package mutation_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/yare-io/yare/admission/opa/gatekeeper/mutation"
)

const pod = `{"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "nginx:1"}, {"name": "b", "image": "reg.io/x@sha256:0123456789abcdef0123456789abcdef"}], "ports": [80, 443]}}`

func value(t *testing.T, text string) any {
	t.Helper()
	var v any
	decoder := json.NewDecoder(strings.NewReader(text))
	if err := decoder.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestChanges(t *testing.T) {
	type made = func() (*mutation.Change, error)
	assign := func(location string, to any, tests ...mutation.Test) made {
		return func() (*mutation.Change, error) { return mutation.Assign(location, to, tests) }
	}
	for name, test := range map[string]struct {
		made   made
		field  string
		want   string
		change bool
	}{
		"sets a field":               {assign("spec.hostNetwork", false), "spec.hostNetwork", "false", true},
		"sets it in every element":   {assign("spec.containers[name: *].imagePullPolicy", "Always"), "spec.containers", `[{"name":"a","image":"nginx:1","imagePullPolicy":"Always"},{"name":"b","image":"reg.io/x@sha256:0123456789abcdef0123456789abcdef","imagePullPolicy":"Always"}]`, true},
		"in one element":             {assign("spec.containers[name: a].image", "x"), "spec.containers.0.image", `"x"`, true},
		"makes an element":           {assign("spec.volumes[name: v].emptyDir", map[string]any{}), "spec.volumes", `[{"name":"v","emptyDir":{}}]`, true},
		"adds an element as a whole": {assign("spec.containers[name: c]", map[string]any{"name": "c"}), "spec.containers.2", `{"name":"c"}`, true},
		"no elements, nothing made":  {assign("spec.initContainers[name: *].image", "x"), "spec.initContainers", "null", false},
		"the same value":             {assign("spec.containers[name: a].image", "nginx:1"), "spec.containers.0.image", `"nginx:1"`, false},
		"unless it is there":         {assign("spec.containers[name: a].image", "x", mutation.Test{SubPath: "spec.containers[name: a].image", Condition: mutation.MustNotExist}), "spec.containers.0.image", `"nginx:1"`, false},
		"only where it is there":     {assign("spec.containers[name: z].image", "x", mutation.Test{SubPath: "spec.containers[name: z]", Condition: mutation.MustExist}), "spec.containers.2", "null", false},
		"a quoted field":             {assign(`spec."a.b/c"`, "x"), "spec", "", true},
		"a label": {func() (*mutation.Change, error) {
			return mutation.AssignMetadata("metadata.labels.owner", "ann")
		}, "metadata.labels.owner", `"ann"`, true},
		"no label over another": {func() (*mutation.Change, error) {
			return mutation.AssignMetadata("metadata.labels.app", "other")
		}, "metadata.labels.app", `"web"`, false},
		"merges": {func() (*mutation.Change, error) {
			return mutation.Merge("spec.ports", []any{443.0, 8080.0}, nil)
		}, "spec.ports", "[80,443,8080]", true},
		"merges into nothing": {func() (*mutation.Change, error) {
			return mutation.Merge("spec.containers[name: a].args", []any{"-v"}, nil)
		}, "spec.containers.0.args", `["-v"]`, true},
		"prunes": {func() (*mutation.Change, error) {
			return mutation.Prune("spec.ports", []any{80.0, 1.0}, nil)
		}, "spec.ports", "[443]", true},
		"prunes nothing": {func() (*mutation.Change, error) {
			return mutation.Prune("spec.ports", []any{1.0}, nil)
		}, "spec.ports", "[80,443]", false},
		"an image's domain": {func() (*mutation.Change, error) {
			return mutation.AssignImage("spec.containers[name: *].image", mutation.Image{Domain: "mirror.io:5000"}, nil)
		}, "spec.containers.1.image", `"mirror.io:5000/x@sha256:0123456789abcdef0123456789abcdef"`, true},
		"an image's tag": {func() (*mutation.Change, error) {
			return mutation.AssignImage("spec.containers[name: a].image", mutation.Image{Tag: ":2"}, nil)
		}, "spec.containers.0.image", `"nginx:2"`, true},
	} {
		change, err := test.made()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		object := value(t, pod).(map[string]any)
		changed, err := change.Apply(object)
		if err != nil || changed != test.change {
			t.Errorf("%s: changed %v, %v", name, changed, err)
		}
		if got := at(object, test.field); test.want != "" && !same(t, got, value(t, test.want)) {
			t.Errorf("%s: %v", name, got)
		}
		if again, err := change.Apply(object); err != nil || again {
			t.Errorf("%s: a second time it changes once more: %v, %v", name, again, err)
		}
	}
}

func same(t *testing.T, a, b any) bool {
	t.Helper()
	one, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	other, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(one) == string(other)
}

// at follows a path of fields and indices.
func at(v any, path string) any {
	for key := range strings.SplitSeq(path, ".") {
		switch inner := v.(type) {
		case map[string]any:
			v = inner[key]
		case []any:
			index := int(key[0] - '0')
			if index >= len(inner) {
				return nil
			}
			v = inner[index]
		}
	}
	return v
}

func TestWrongChangesAreRefused(t *testing.T) {
	for name, err := range map[string]error{
		"metadata":           second(mutation.Assign("metadata.name", "x", nil)),
		"empty":              second(mutation.Assign("", "x", nil)),
		"trailing dot":       second(mutation.Assign("spec.", "x", nil)),
		"open bracket":       second(mutation.Assign("spec.a[name: b", "x", nil)),
		"open quote":         second(mutation.Assign(`spec."a`, "x", nil)),
		"two lists":          second(mutation.Assign("spec.a[b: c][d: e]", "x", nil)),
		"other key":          second(mutation.Assign("spec.a[name: b]", map[string]any{"name": "c"}, nil)),
		"scalar element":     second(mutation.Assign("spec.a[name: b]", "x", nil)),
		"globbed element":    second(mutation.Assign("spec.a[name: *]", map[string]any{}, nil)),
		"test elsewhere":     second(mutation.Assign("spec.a", "x", []mutation.Test{{SubPath: "spec.b", Condition: mutation.MustExist}})),
		"unknown condition":  second(mutation.Assign("spec.a", "x", []mutation.Test{{SubPath: "spec", Condition: "Perhaps"}})),
		"both conditions":    second(mutation.Assign("spec.a", "x", []mutation.Test{{SubPath: "spec", Condition: mutation.MustExist}, {SubPath: "spec", Condition: mutation.MustNotExist}})),
		"below what is not":  second(mutation.Assign("spec.a", "x", []mutation.Test{{SubPath: "spec.a", Condition: mutation.MustExist}, {SubPath: "spec", Condition: mutation.MustNotExist}})),
		"finalizers":         second(mutation.AssignMetadata("metadata.finalizers", "x")),
		"set in metadata":    second(mutation.Merge("metadata.finalizers", nil, nil)),
		"no part of image":   second(mutation.AssignImage("spec.image", mutation.Image{}, nil)),
		"domain in the path": second(mutation.AssignImage("spec.image", mutation.Image{Path: "gcr.io/x"}, nil)),
		"tag without colon":  second(mutation.AssignImage("spec.image", mutation.Image{Tag: "latest"}, nil)),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, change := range []func() (*mutation.Change, error){
		func() (*mutation.Change, error) { return mutation.Assign("spec.ports.field", "x", nil) },
		func() (*mutation.Change, error) { return mutation.Assign("spec[name: a].field", "x", nil) },
		func() (*mutation.Change, error) {
			return mutation.Merge("spec.containers[name: a].image", []any{"x"}, nil)
		},
	} {
		made, err := change()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := made.Apply(value(t, pod).(map[string]any)); err == nil {
			t.Error("a location that does not fit the object is no error")
		}
	}
}

func second(_ *mutation.Change, err error) error { return err }

func FuzzLocationsNeverPanic(f *testing.F) {
	f.Add(`spec.containers[name: *]."a b".c[d: 12].e`)
	f.Fuzz(func(t *testing.T, location string) {
		change, err := mutation.Assign(location, map[string]any{}, nil)
		if err != nil {
			return
		}
		if _, err := change.Apply(value(t, pod).(map[string]any)); err != nil {
			return
		}
	})
}
