package verdict_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/admission/opa/verdict"
)

// decoded is JSON as results of rules are decoded.
func decoded(t testing.TB, text string) any {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Skip(err)
	}
	return value
}

func TestMessagesAreRead(t *testing.T) {
	for _, test := range []struct{ rule, value, want string }{
		{"deny", `["a", {"msg": "b"}, {"message": "c", "code": 422}]`, "a b c"},
		{"deny", `[]`, ""},
		{"deny", `"one"`, "one"},
		{"deny", `true`, "refused by data.p"},
		{"deny", `false`, ""},
		{"violation", `[{"msg": "a", "details": {}}]`, "a"},
		{"main", `{"response": {"allowed": false, "status": {"reason": "r"}}}`, "r"},
		{"main", `{"response": {"allowed": false, "status": {"message": "m", "reason": "r"}}}`, "m"},
		{"main", `{"response": {"allowed": true}}`, ""},
	} {
		v := &verdict.Verdict{}
		if err := v.Add(test.rule, "data.p", decoded(t, test.value)); err != nil {
			t.Errorf("%s %s: %v", test.rule, test.value, err)
		}
		var messages []string
		for _, denial := range v.Denials {
			messages = append(messages, denial.Message)
		}
		if got := strings.Join(messages, " "); got != test.want {
			t.Errorf("%s %s: %q, want %q", test.rule, test.value, got, test.want)
		}
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	for _, test := range []struct{ rule, value string }{
		{"deny", `[1]`}, {"deny", `{"text": "a"}`}, {"deny", `null`}, {"deny", `[{"msg": "a", "code": 200}]`}, {"deny", `[{"msg": 1}]`},
		{"warn", `7`}, {"patch", `{}`}, {"patch", `["add"]`}, {"patch", `[[["nested"]]]`},
		{"main", `true`}, {"main", `{}`}, {"main", `{"response": {}}`}, {"main", `{"response": {"allowed": "yes"}}`},
		{"main", `{"response": {"allowed": true, "patch": "###"}}`}, {"main", `{"response": {"allowed": true, "patch": "e30=", "patchType": "JSONPatch"}}`},
		{"main", `{"response": {"allowed": true, "patch": "W10=", "patchType": "MergePatch"}}`},
		{"allow", `true`},
	} {
		if err := (&verdict.Verdict{}).Add(test.rule, "data.p", decoded(t, test.value)); err == nil {
			t.Errorf("%s %s: no error", test.rule, test.value)
		}
	}
}

func TestPatchesOfBothFormsAreRead(t *testing.T) {
	operations := `[{"op": "add", "path": "/metadata/labels", "value": {"n": "12345678901234567"}}]`
	for _, test := range []struct{ rule, value string }{
		{"patch", operations},
		{"patch", "[" + operations + "]"},
		{"main", `{"response": {"allowed": true, "patch": ` + operations + `}}`},
		{"main", `{"response": {"allowed": true, "patchType": "JSONPatch", "patch": "` + base64.StdEncoding.EncodeToString([]byte(operations)) + `"}}`},
	} {
		v := &verdict.Verdict{}
		if err := v.Add(test.rule, "data.p", decoded(t, test.value)); err != nil {
			t.Fatal(err)
		}
		changed, err := verdict.Apply(v.Patch, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a"}})
		if err != nil || changed.(*corev1.Pod).Labels["n"] != "12345678901234567" {
			t.Errorf("%s: %v, %v", test.value, changed, err)
		}
	}
}

func TestFloodsOfResultsAreRefused(t *testing.T) {
	many := "[" + strings.Repeat(`{"op": "remove", "path": "/a"},`, 2000) + `{"op": "remove", "path": "/a"}]`
	if err := (&verdict.Verdict{}).Add("patch", "data.p", decoded(t, many)); err == nil {
		t.Error("2001 operations passed")
	}
	v := &verdict.Verdict{}
	if err := v.Add("patch", "data.p", decoded(t, `[[{"op": "add", "path": "/metadata/labels", "value": {"a": "`+strings.Repeat("x", 1<<20)+`"}},
		{"op": "copy", "from": "/metadata/labels", "path": "/metadata/annotations"}, {"op": "copy", "from": "/metadata/labels/a", "path": "/metadata/labels/b"},
		{"op": "copy", "from": "/metadata/labels", "path": "/metadata/annotations"}, {"op": "copy", "from": "/metadata/labels", "path": "/metadata/annotations"}]]`)); err != nil {
		t.Fatal(err)
	}
	if _, err := verdict.Apply(v.Patch, &corev1.Pod{}); err == nil {
		t.Error("a patch that multiplies passed")
	}
}

func TestAJoinedMessageStandsForItsParts(t *testing.T) {
	v := &verdict.Verdict{Denials: []verdict.Reason{
		{Message: "a", Rule: "data.k.deny"}, {Message: "z", Rule: "data.k.deny"}, {Message: "a, b", Rule: "data.system.main"},
	}}
	v.Settle()
	if len(v.Denials) != 2 || v.Denials[0].Message != "z" || v.Denials[1].Message != "a, b" {
		t.Errorf("got %v", v.Denials)
	}
}

func FuzzResultsNeverPanic(f *testing.F) {
	f.Add("deny", `["a", {"msg": "b", "code": 403}]`)
	f.Add("patch", `[{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]`)
	f.Add("patch", `[{"op": "copy", "from": "/spec/containers/0", "path": "/spec/containers/-"}]`)
	f.Add("main", `{"response": {"allowed": true, "patch": "W10="}}`)
	f.Fuzz(func(t *testing.T, rule, text string) {
		v := &verdict.Verdict{}
		if v.Add(rule, "data.p", decoded(t, text)) != nil {
			return
		}
		v.Settle()
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "b"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}
		changed, err := verdict.Apply(v.Patch, pod)
		if err == nil && (changed.(*corev1.Pod).Name != "a" || changed.(*corev1.Pod).Namespace != "b") {
			t.Errorf("%s renamed the object", text)
		}
	})
}
