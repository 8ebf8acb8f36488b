package openapi_test

import (
	"cmp"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// facts reads a table with a header: a map for each line.
func facts(t *testing.T, file string) []map[string]string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	var out []map[string]string
	for line := range strings.Lines(string(data)) {
		values := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if names == nil {
			names = values
			continue
		}
		fact := map[string]string{}
		for i, value := range values {
			fact[names[i]] = value
		}
		out = append(out, fact)
	}
	return out
}

// modelName is how the documents call a type of a group.
func modelName(group, version, kind string) string {
	switch group {
	case "meta":
		return "io.k8s.apimachinery.pkg.apis.meta." + version + "." + kind
	case "apiextensions.k8s.io":
		return "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions." + version + "." + kind
	case "apiregistration.k8s.io":
		return "io.k8s.kube-aggregator.pkg.apis.apiregistration." + version + "." + kind
	}
	name, _, _ := strings.Cut(group, ".")
	return "io.k8s.api." + name + "." + version + "." + kind
}

// modelsOf returns all models of the OpenAPI 2 document, or of those of OpenAPI
// 3.
func modelsOf(t *testing.T, v2 bool) map[string]*spec.Schema {
	t.Helper()
	models := map[string]*spec.Schema{}
	if !v2 {
		for _, document := range documentsV3(t) {
			for name, model := range document.Components.Schemas {
				models[name] = model
			}
		}
		return models
	}
	response, body := get(t, serveKubernetes(t), "/openapi/v2")
	if response.StatusCode != http.StatusOK {
		t.Fatal(response.Status)
	}
	var document spec.Swagger
	if err := json.Unmarshal(body, &document); err != nil {
		t.Fatal(err)
	}
	for name, model := range document.Definitions {
		models[name] = &model
	}
	return models
}

// TestModelsSayWhatTheTypesSay compares every field with the facts of
// testdata/fields.tsv and with the enumerations: that it is there, how lists
// and maps are merged, its default and its values.
//
// Source of the tables: the Go types of k8s.io/api, apimachinery,
// apiextensions-apiserver and kube-aggregator v0.37, tags and comments;
// testdata/enums.tsv has the enumerations whose mark has a second line.
func TestModelsSayWhatTheTypesSay(t *testing.T) {
	enums := map[string][]string{}
	for _, e := range append(facts(t, "../test/apicoverage/testdata/enums.tsv"), facts(t, "testdata/enums.tsv")...) {
		enums[e["group"]+" "+e["version"]+" "+e["type"]] = strings.Split(strings.ReplaceAll(e["values"], `""`, ""), ",")
	}
	fields := facts(t, "testdata/fields.tsv")
	for _, v2 := range []bool{true, false} {
		version := map[bool]string{true: "v2", false: "v3"}[v2]
		t.Run(version, func(t *testing.T) {
			models, compared := modelsOf(t, v2), map[string]int{}
			for _, f := range fields {
				model := models[modelName(f["group"], f["version"], f["type"])]
				if name := f["json_field"]; model == nil || name == "(inline)" || name == "-" {
					continue // no path needs the type, or its fields are the outer's, or nobody sees it
				}
				property, ok := model.Properties[f["json_field"]]
				if !ok {
					t.Errorf("%s.%s is not there", f["type"], f["json_field"])
					continue
				}
				c := fieldCheck{t, f["group"] + " " + f["type"] + "." + f["json_field"], &property, compared}
				c.extension("x-kubernetes-list-type", f["listType"])
				c.extension("x-kubernetes-list-map-keys", f["listMapKeys"])
				c.extension("x-kubernetes-map-type", f["structOrMapType"])
				c.extension("x-kubernetes-patch-strategy", f["patchStrategy"])
				c.extension("x-kubernetes-patch-merge-key", f["patchMergeKey"])
				c.enum(enumOf(f, enums))
				if !v2 {
					c.initial(f["default"])
				}
				compared["fields"]++
			}
			t.Log(compared)
			for what, least := range map[string]int{"fields": 2100, "x-kubernetes-list-type": 300, "x-kubernetes-patch-merge-key": 60, "enum": 100} {
				if compared[what] < least {
					t.Errorf("%d %s compared, want %d", compared[what], what, least)
				}
			}
		})
	}
}

// enumOf returns the values that a field's type, or its items' type, has.
func enumOf(f map[string]string, enums map[string][]string) []string {
	kind := strings.TrimLeft(f["go_type"], "*[]")
	of := f["group"] + " " + f["version"]
	if _, name, qualified := strings.Cut(kind, "."); qualified {
		kind, of = name, "core v1" // of the packages that others import, the one with enumerations
	}
	return enums[of+" "+kind]
}

// fieldCheck compares one property.
type fieldCheck struct {
	t        *testing.T
	name     string
	property *spec.Schema
	compared map[string]int
}

func (c fieldCheck) extension(name, want string) {
	c.t.Helper()
	var got string
	switch value := c.property.Extensions[name].(type) {
	case string:
		got = value
	case []any:
		var keys []string
		for _, key := range value {
			keys = append(keys, key.(string))
		}
		got = strings.Join(keys, ",")
	}
	if got != want {
		c.t.Errorf("%s: %s is %q, want %q", c.name, name, got, want)
	}
	if want != "" {
		c.compared[name]++
	}
}

func (c fieldCheck) enum(want []string) {
	c.t.Helper()
	values := c.property.Enum
	if items := c.property.Items; items != nil && items.Schema != nil {
		values = append(slices.Clone(values), items.Schema.Enum...)
	}
	var got []string
	for _, value := range values {
		got = append(got, value.(string))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		c.t.Errorf("%s: values are %q, want %q", c.name, got, want)
	}
	if want != nil {
		c.compared["enum"]++
	}
}

// constants are the defaults that are written by name.
var constants = map[string]string{
	"ref(AzureDataDiskCachingReadWrite)": `"ReadWrite"`, "ref(AzureSharedBlobDisk)": `"Shared"`,
}

// initial compares defaults. A field without one shows the zero of a type that
// is never left out, as openapi-gen has it.
func (c fieldCheck) initial(want string) {
	c.t.Helper()
	if want == "" {
		return
	}
	var value any
	if err := json.Unmarshal([]byte(cmp.Or(constants[want], want)), &value); err != nil {
		c.t.Fatalf("%s: %v", c.name, err)
	}
	if !equality.Semantic.DeepEqual(c.property.Default, value) {
		c.t.Errorf("%s: default is %v, want %v", c.name, c.property.Default, value)
	}
	c.compared["default"]++
}
