package openapi_test

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/openapi"
)

// custom is a row without a Go type that counts how often its schema is made.
func custom(group string, made map[string]int) *registry.Resource {
	count := func() (json.RawMessage, error) {
		made[group]++
		return json.RawMessage(`{"type":"object"}`), nil
	}
	return &registry.Resource{
		Kind: schema.GroupVersionKind{Group: group, Version: "v1", Kind: "Thing"}, Name: "things", Singular: "thing", Verbs: row.AllVerbs(),
		New:    func() runtime.Object { return nil },
		Schema: &registry.Schema{Identity: group, OpenAPI2: count, OpenAPI3: count},
	}
}

func TestOnlyWhatIsAskedForIsMade(t *testing.T) {
	made := map[string]int{}
	rows := []*registry.Resource{custom("one.example.com", made), custom("two.example.com", made)}
	server := httptest.NewServer(openapi.New(openapi.Config{Rows: func() []*registry.Resource { return rows }}))
	defer server.Close()
	want := func(what string, one, two, three int) {
		t.Helper()
		if made["one.example.com"] != one || made["two.example.com"] != two || made["three.example.com"] != three {
			t.Errorf("%s, schemas were made: %v", what, made)
		}
	}
	read := func(path string) string {
		t.Helper()
		response, _ := get(t, server, path)
		if response.StatusCode != 200 {
			t.Fatalf("%s: %s", path, response.Status)
		}
		return response.Header.Get("ETag")
	}
	index := read("/openapi/v3")
	want("after the index", 0, 0, 0)
	tag := read("/openapi/v3/apis/one.example.com/v1")
	want("after one document", 1, 0, 0)
	rows = append(rows[:2:2], custom("three.example.com", made))
	if read("/openapi/v3") == index {
		t.Error("the index did not change")
	}
	if read("/openapi/v3/apis/one.example.com/v1") != tag {
		t.Error("a document changed that another row has nothing to do with")
	}
	want("after another row came", 1, 0, 0)
	read("/openapi/v3/apis/three.example.com/v1")
	want("after its document", 1, 0, 1)
}

func TestOnlyWhatChangedIsMadeForTheWholeDocument(t *testing.T) {
	for _, media := range []string{"application/json", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"} {
		made := map[string]int{}
		rows := []*registry.Resource{custom("one.example.com", made), custom("two.example.com", made)}
		server := httptest.NewServer(openapi.New(openapi.Config{Rows: func() []*registry.Resource { return rows }}))
		defer server.Close()
		read := func() []byte {
			t.Helper()
			response, body := get(t, server, "/openapi/v2", "Accept", media)
			if response.StatusCode != 200 {
				t.Fatalf("%s: %s", media, response.Status)
			}
			return body
		}
		first := read()
		rows = append(rows[:2:2], custom("three.example.com", made))
		if second := read(); !bytes.Contains(second, []byte("/apis/three.example.com/v1/things/{name}")) || !bytes.Contains(second, []byte("com.example.three.v1.ThingList")) {
			t.Errorf("%s: the document has nothing of the new row", media)
		}
		rows = rows[:2:2]
		if third := read(); !bytes.Equal(first, third) {
			t.Errorf("%s: the same rows have another document", media)
		}
		if made["one.example.com"] != 1 || made["two.example.com"] != 1 || made["three.example.com"] != 1 {
			t.Errorf("%s: schemas were made: %v", media, made)
		}
	}
}
