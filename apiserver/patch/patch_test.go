package patch_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/yare-io/yare/apiserver/patch"
)

const pod = `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}`

// bomb doubles the metadata with each of its operations.
func bomb() string {
	operations := make([]string, 60)
	for i := range operations {
		operations[i] = fmt.Sprintf(`{"op":"copy","from":"/metadata","path":"/metadata/x%d"}`, i)
	}
	return "[" + strings.Join(operations, ",") + "]"
}

func TestPatches(t *testing.T) {
	for _, test := range []struct {
		name  string
		kind  types.PatchType
		patch string
		want  string
		err   error
	}{
		{"JSON", types.JSONPatchType, `[{"op":"add","path":"/metadata/labels/x","value":"y"}]`, `"x":"y"`, nil},
		{"JSON, failed test", types.JSONPatchType, `[{"op":"test","path":"/kind","value":"x"}]`, "", patch.ErrUnprocessable},
		{"JSON, missing path", types.JSONPatchType, `[{"op":"remove","path":"/none"}]`, "", patch.ErrUnprocessable},
		{"JSON, no list", types.JSONPatchType, `{}`, "", patch.ErrMalformed},
		{"JSON, too long", types.JSONPatchType, "[" + strings.Repeat(`{"op":"test","path":"/kind","value":"Pod"},`, 10_000) + `{"op":"test","path":"/kind","value":"Pod"}]`, "", patch.ErrTooLarge},
		{"JSON, bomb", types.JSONPatchType, bomb(), "", patch.ErrTooLarge},
		{"merge", types.MergePatchType, `{"metadata":{"labels":{"a":null,"n":"m"}}}`, `"labels":{"n":"m"}`, nil},
		{"merge, list", types.MergePatchType, `[]`, "", patch.ErrMalformed},
		{"merge, deep", types.MergePatchType, strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000), "", patch.ErrMalformed},
		{"strategic, by key", types.StrategicMergePatchType, `{"spec":{"containers":[{"name":"d"}]}}`, `"name":"c"`, nil},
		{"strategic, bad directive", types.StrategicMergePatchType, `{"spec":{"containers":[{"$patch":"x","name":"c"}]}}`, "", patch.ErrUnprocessable},
		{"unknown", "x", `{}`, "", patch.ErrMalformed},
	} {
		got, _, err := patch.Apply(test.kind, []byte(pod), []byte(test.patch), &corev1.Pod{})
		if !errors.Is(err, test.err) || !strings.Contains(string(got), test.want) {
			t.Errorf("%s: %s, %v", test.name, got, err)
		}
	}
}

// FuzzApply: no patch makes the server panic.
func FuzzApply(f *testing.F) {
	f.Add(byte(0), []byte(`[{"op":"copy","from":"/metadata","path":"/metadata/x"}]`))
	f.Add(byte(1), []byte(`{"metadata":null}`))
	f.Add(byte(2), []byte(`{"spec":{"containers":[{"$patch":"delete","name":"c"}],"$setElementOrder/containers":[{"name":"c"}]}}`))
	kinds := []types.PatchType{types.JSONPatchType, types.MergePatchType, types.StrategicMergePatchType}
	f.Fuzz(func(_ *testing.T, kind byte, body []byte) {
		_, _, _ = patch.Apply(kinds[kind%3], []byte(pod), body, &corev1.Pod{})
	})
}
