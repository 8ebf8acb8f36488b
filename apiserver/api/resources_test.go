package api_test

import (
	"encoding/csv"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/yare-io/yare/apiserver/api"
	"github.com/yare-io/yare/apiserver/registry"
)

func table(t *testing.T, name string) []map[string]string {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = '\t', true, -1
	lines, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	for _, l := range lines[1:] {
		m := map[string]string{}
		for i, h := range lines[0] {
			if i < len(l) {
				m[h] = l[i]
			}
		}
		out = append(out, m)
	}
	return out
}

// TestDiscoveryFacts compares every row with what Kubernetes says of it.
func TestDiscoveryFacts(t *testing.T) {
	var want []string
	for _, l := range table(t, "discovery.tsv") {
		want = append(want, strings.Join([]string{l["group_version"], l["name"], l["kind"], l["kind_group_version"], l["namespaced"],
			l["singular"], l["short_names"], l["categories"], l["verbs"]}, " | "))
	}
	var got []string
	for _, r := range api.Resources(api.Deps{}) {
		got = append(got, facts(r)...)
	}
	sort.Strings(want)
	sort.Strings(got)
	for _, l := range want {
		if !slices.Contains(got, l) {
			t.Errorf("no row says: %s", l)
		}
	}
	for _, l := range got {
		if !slices.Contains(want, l) {
			t.Errorf("only our rows say: %s", l)
		}
	}
}

func facts(r *registry.Resource) []string {
	gv := r.Kind.GroupVersion()
	line := func(name, kind, kindGV, singular string, short, categories, verbs []string) string {
		return strings.Join([]string{gv.String(), name, kind, kindGV, fmt.Sprint(r.Namespaced), singular,
			strings.Join(short, ","), strings.Join(categories, ","), strings.Join(verbs, ",")}, " | ")
	}
	lines := []string{line(r.Name, r.Kind.Kind, "", r.Singular, r.ShortNames, r.Categories, r.Verbs)}
	for _, s := range r.Subresources {
		kind, kindGV := r.Kind.Kind, ""
		if !s.Kind.Empty() {
			kind = s.Kind.Kind
			if s.Kind.GroupVersion() != gv {
				kindGV = s.Kind.GroupVersion().String()
			}
		}
		lines = append(lines, line(r.Name+"/"+s.Name, kind, kindGV, "", nil, nil, s.Verbs))
	}
	return lines
}

// TestTableColumns compares every row's columns with Kubernetes' printers.
func TestTableColumns(t *testing.T) {
	want := map[string][]string{}
	for _, l := range table(t, "table-columns.tsv") {
		want[l["resource"]] = append(want[l["resource"]], strings.Join([]string{l["name"], l["type"], l["format"], l["priority"]}, "|"))
	}
	printed := want["(resource with no printer: default table convertor)"]
	for _, r := range api.Resources(api.Deps{}) {
		if r.Creator != nil {
			continue
		}
		w, ok := want[r.GroupResource().String()]
		if !ok {
			w = printed
		}
		var got []string
		for _, c := range r.Columns {
			got = append(got, strings.Join([]string{c.Name, c.Type, c.Format, fmt.Sprint(c.Priority)}, "|"))
		}
		if !slices.Equal(got, w) {
			t.Errorf("%s:\n got %q\nwant %q", r.GroupResource(), got, w)
		}
	}
}

// TestSelectableFields compares every row's fields with Kubernetes'.
func TestSelectableFields(t *testing.T) {
	want := map[string][]string{}
	for _, l := range table(t, "selectable-fields.tsv") {
		if strings.HasPrefix(l["field"], "metadata.") {
			continue
		}
		key := l["group"] + "/" + l["version"] + "/" + l["resource"]
		want[key] = append(want[key], l["field"])
	}
	for _, r := range api.Resources(api.Deps{}) {
		group := r.Kind.Group
		if group == "" {
			group = "core"
		}
		w := want[group+"/"+r.Kind.Version+"/"+r.Name]
		var got []string
		if r.Fields != nil {
			for name := range r.Fields(r.New()) {
				got = append(got, name)
			}
		}
		if r.Name == "pods" {
			w = append(w, "spec.host") // an old alias
		}
		slices.Sort(w)
		slices.Sort(got)
		if !slices.Equal(got, w) {
			t.Errorf("%s:\n got %q\nwant %q", r.GroupResource(), got, w)
		}
		for _, f := range r.Indexed {
			if !slices.Contains(got, f) {
				t.Errorf("%s: indexed field %q is not selectable", r.GroupResource(), f)
			}
		}
	}
}

// TestRowsAreWhole: types are known, lists are lists, empty objects can be
// shown, prefixes are not shared.
func TestRowsAreWhole(t *testing.T) {
	prefixes := map[string]string{}
	types := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, apiextensionsv1.AddToScheme, apiregistrationv1.AddToScheme} {
		if err := add(types); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range api.Resources(api.Deps{}) {
		name := r.GroupVersionResource().String()
		kinds, _, err := types.ObjectKinds(r.New())
		if err != nil || !slices.Contains(kinds, r.Kind) {
			t.Errorf("%s: New returns %v (%v)", name, kinds, err)
		}
		if r.Creator != nil {
			continue
		}
		if r.Computed != nil && r.StoragePrefix != "" {
			t.Errorf("%s: computed and stored", name)
		}
		if !meta.IsListType(r.NewList()) {
			t.Errorf("%s: NewList returns no list", name)
		}
		if other, taken := prefixes[r.StoragePrefix]; taken && r.StoredAs == nil && r.Computed == nil && !strings.Contains(other, r.Kind.Kind) {
			t.Errorf("%s: prefix %q is %s's", name, r.StoragePrefix, other)
		}
		prefixes[r.StoragePrefix] = r.Kind.Kind
		for _, c := range r.Columns {
			switch v := c.Cell(r.New(), time.Unix(0, 0)).(type) {
			case nil, string, int64, bool:
			default:
				t.Errorf("%s: column %s holds a %T", name, c.Name, v)
			}
		}
	}
}
