package apicoverage

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/apiserver/registry"
)

// facts are ledgers that the rows are compared with too.
const facts = "../../../apiserver/api/testdata/"

// collected is the path of a collection, and an object of it.
type collected struct {
	path   string
	object map[string]any
}

// populate creates an object of every kind.
func (s *server) populate(t *testing.T) map[string]collected {
	t.Helper()
	objects, out := samples(t), map[string]collected{}
	for _, row := range s.Rows() {
		if row.Creator != nil {
			continue
		}
		sample := objects[row.Kind.GroupVersion().String()+" "+row.Kind.Kind]
		c := collected{path: collection(row)}
		if sample != nil {
			path := c.path + "/" + metadata(sample)["name"].(string)
			if a := s.do(t, "GET", path, nil); a.code == 404 {
				s.must(t, "POST", c.path, sample)
			}
			c.object = s.must(t, "GET", path, nil)
		}
		out[name(row)] = c
	}
	return out
}

func collection(row *registry.Resource) string {
	path := "/apis/" + row.Kind.GroupVersion().String() + "/"
	if row.Kind.Group == "" {
		path = "/api/v1/"
	}
	if row.Namespaced {
		path += "namespaces/default/"
	}
	return path + row.Name
}

// name of a row: group, version, resource.
func name(row *registry.Resource) string {
	group := row.Kind.Group
	if group == "" {
		group = "core"
	}
	return group + "/" + row.Kind.Version + "/" + row.Name
}

const asTable = "application/json;as=Table;v=v1;g=meta.k8s.io"

// TestEveryColumn reads every resource as a table, with an object in it.
func TestEveryColumn(t *testing.T) {
	s := start(t)
	want := map[string][]string{}
	for _, line := range lines(t, facts+"table-columns.tsv") {
		want[line["resource"]] = append(want[line["resource"]], strings.Join([]string{line["name"], line["type"], line["format"], line["priority"]}, "|"))
	}
	plain := want["(resource with no printer: default table convertor)"]
	seen := map[string]bool{}
	check := func(resource, path string) {
		t.Helper()
		a := s.do(t, "GET", path, nil, "Accept", asTable)
		var table metav1.Table
		if err := json.Unmarshal(a.body, &table); err != nil || a.code != 200 || table.Kind != "Table" {
			t.Errorf("%s: %v", resource, a)
			return
		}
		columns, known := want[resource]
		if !known {
			columns = plain
		}
		seen[resource] = true
		var got []string
		for _, c := range table.ColumnDefinitions {
			got = append(got, strings.Join([]string{c.Name, c.Type, c.Format, fmt.Sprint(c.Priority)}, "|"))
		}
		if !slices.Equal(got, columns) {
			t.Errorf("%s:\n got %q\nwant %q", resource, got, columns)
		}
		if len(table.Rows) == 0 || len(table.Rows[0].Cells) != len(columns) {
			t.Errorf("%s: rows are %v", resource, table.Rows)
		}
	}
	s.populate(t)
	for _, row := range s.Rows() {
		if row.Creator == nil {
			check(row.GroupResource().String(), collection(row))
		}
	}
	check("scale.autoscaling (subresource)", "/apis/apps/v1/namespaces/default/deployments/x/scale")
	// What is left of the ledger is of no resource of this server: internal
	// ones, and those that the API does not have by default.
	for resource := range want {
		internal := strings.HasPrefix(resource, "(") || slices.Contains([]string{
			"storageversions.internal.apiserver.k8s.io", "leasecandidates.coordination.k8s.io", "status (metav1.Status)",
		}, resource)
		if !seen[resource] && !internal {
			t.Errorf("the columns of %s are not asserted", resource)
		}
	}
}

// TestCompletedPodsAreMarked: clients can hide their rows.
func TestCompletedPodsAreMarked(t *testing.T) {
	s := start(t)
	pods := "/api/v1/namespaces/default/pods"
	pod := s.must(t, "POST", pods, samples(t)["v1 Pod"])
	pod["status"].(map[string]any)["phase"] = "Succeeded"
	s.must(t, "PUT", pods+"/x/status", pod)
	var table metav1.Table
	must(t, json.Unmarshal(s.do(t, "GET", pods, nil, "Accept", asTable).body, &table))
	want := metav1.TableRowCondition{Type: metav1.RowCompleted, Status: metav1.ConditionTrue, Reason: "Succeeded", Message: "The pod has completed successfully."}
	if len(table.Rows) != 1 || len(table.Rows[0].Conditions) != 1 || table.Rows[0].Conditions[0] != want {
		t.Errorf("rows are %+v", table.Rows)
	}
}

// elsewhere are the fields whose label is not their path, unset what fields are
// selected by that are not in the object, where that is not "".
var (
	elsewhere = map[string]string{"source": "source.component", "status.successful": "status.succeeded", "status.podIPs": "status.podIP"}
	unset     = map[string]string{"status.replicas": "0", "status.successful": "0", "spec.unschedulable": "false", "spec.hostNetwork": "false"}
)

// TestEverySelectableField selects an object of every resource by every field
// that can be selected, and by one that cannot.
func TestEverySelectableField(t *testing.T) {
	s := start(t)
	all, special := s.populate(t), map[string]bool{}
	fields := map[string][]string{}
	for _, line := range lines(t, facts+"selectable-fields.tsv") {
		if strings.HasPrefix(line["group"], "(") {
			continue // custom resources
		}
		resource := line["group"] + "/" + line["version"] + "/" + line["resource"]
		fields[resource] = append(fields[resource], line["field"])
		special[resource] = special[resource] || line["basis"] != "default"
	}
	for resource, c := range all {
		if fields[resource] == nil {
			t.Errorf("the ledger has no fields of %s", resource)
		}
		if c.object == nil && resource != "core/v1/componentstatuses" {
			t.Errorf("no sample of %s", resource)
		}
		for _, field := range fields[resource] {
			s.selects(t, c, resource, field)
		}
		a := s.do(t, "GET", c.path+"?fieldSelector=wrong%3Dx", nil)
		want := `"wrong" is not a known field selector: only "metadata.name", "metadata.namespace"`
		if special[resource] {
			want = "field label not supported: wrong"
		}
		if a.code != 400 || a.object(t)["message"] != want {
			t.Errorf("%s: a wrong field: %v, want %s", resource, a, want)
		}
	}
	for resource := range fields {
		if _, there := all[resource]; !there {
			t.Errorf("%s is not there", resource)
		}
	}
}

// selects compares what the selector of a field finds with what it should.
func (s *server) selects(t *testing.T, c collected, resource, field string) {
	t.Helper()
	found := func(selector string) []string {
		var names []string
		list := s.must(t, "GET", c.path+"?fieldSelector="+url.QueryEscape(selector), nil)
		items, _ := list["items"].([]any)
		for _, item := range items {
			names = append(names, metadata(item.(map[string]any))["name"].(string))
		}
		return names
	}
	if c.object == nil {
		if got := found(field + "=etcd-0"); !slices.Equal(got, []string{"etcd-0"}) {
			t.Errorf("%s: %s selects %v", resource, field, got)
		}
		return
	}
	path := field
	if elsewhere[field] != "" {
		path = elsewhere[field]
	}
	value := unset[field]
	if v := at(t, c.object, path); v != nil {
		value = fmt.Sprint(v)
	}
	name := metadata(c.object)["name"].(string)
	if got := found(field + "=" + value); !slices.Contains(got, name) {
		t.Errorf("%s: %s=%q selects %v, not %s", resource, field, value, got, name)
	}
	if got := found(field + "!=" + value); slices.Contains(got, name) {
		t.Errorf("%s: %s!=%q selects %v", resource, field, value, got)
	}
	if got := found(field + "=nobody-has-this"); len(got) > 0 {
		t.Errorf("%s: %s with a value that nobody has selects %v", resource, field, got)
	}
}
