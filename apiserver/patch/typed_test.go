package patch_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/randfill"

	"github.com/yare-io/yare/apiserver/patch"
)

// byJSON applies a merge patch to the JSON of an object.
func byJSON(t *testing.T, obj runtime.Object, body []byte) (runtime.Object, bool) {
	t.Helper()
	raw, err := json.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	patched, warnings, err := patch.Apply(types.MergePatchType, raw, body, obj)
	if err != nil || len(warnings) > 0 {
		return nil, false
	}
	out := reflect.New(reflect.TypeOf(obj).Elem()).Interface().(runtime.Object)
	strict, err := kjson.UnmarshalStrict(patched, out)
	return out, err == nil && len(strict) == 0
}

// checkMerge holds a merge that was done against that of JSON.
func checkMerge(t *testing.T, obj runtime.Object, body []byte) (merged bool) {
	t.Helper()
	typed := obj.DeepCopyObject()
	if !patch.MergeTyped(typed, body) {
		return false
	}
	want, fine := byJSON(t, obj, body)
	if !fine {
		t.Errorf("%s was merged, and does not fit", body)
		return true
	}
	a, err := json.Marshal(typed)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("%s\nmade %s\nnot  %s", body, a, b)
	}
	return true
}

func TestMergeTyped(t *testing.T) {
	obj := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: map[string]string{"a": "b", "c": "d"}, Finalizers: []string{"x"}},
		Spec: corev1.PodSpec{
			NodeName: "n", Containers: []corev1.Container{{Name: "c"}}, SecurityContext: &corev1.PodSecurityContext{},
			Overhead: corev1.ResourceList{"cpu": resource.MustParse("1")},
		},
	}
	for _, test := range []struct {
		body   string
		merged bool
	}{
		{`{}`, true},
		{`{"metadata":{"labels":{"a":null,"e":"f"},"annotations":{"x":"y"}}}`, true},
		{`{"metadata":{"labels":null,"annotations":{},"finalizers":null,"generation":7}}`, true},
		{`{"metadata":{"labels":{"a":null,"c":null}},"spec":null}`, true},
		{`{"metadata":{"finalizers":["a","b"],"deletionTimestamp":"2020-01-01T00:00:00Z"}}`, true},
		{`{"spec":{"securityContext":{"runAsUser":1,"runAsNonRoot":true},"overhead":{"cpu":"2","memory":1}}}`, true},
		{`{"spec":{"affinity":{"nodeAffinity":null},"securityContext":null}}`, true},
		{`{"spec":{"containers":[{"name":"d","env":[{"name":"a","value":"<"}]}]}}`, true},
		{`{"status":{"conditions":[{"type":"Ready","status":"True"}],"phase":"Running"}}`, true},
		{`{"metadata":{"managedFields":[{}]}}`, true},
		// Left to Apply.
		{`{"kind":"Pod"}`, false},
		{`{"metadata":{"name":1}}`, false},
		{`{"metadata":{"nothing":1}}`, false},
		{`{"metadata":{"labels":{"a":"1","a":"2"}}}`, false},
		{`{"spec":{"containers":[{"name":"d","image":null}]}}`, false},
		{`{"spec":{"containers":[{"name":"d","nothing":1}]}}`, false},
		{`{"spec":{"overhead":{"cpu":0.5}}}`, false},
		{`{"spec":{"overhead":{"cpu":"much"}}}`, false},
		{`{"spec":{"priority":3000000000}}`, false},
		{`{"spec":{"containers":{}}}`, false},
		{`[]`, false}, {`null`, false}, {`{`, false},
	} {
		if merged := checkMerge(t, obj, []byte(test.body)); merged != test.merged {
			t.Errorf("%s: merged %v", test.body, merged)
		}
	}
}

// Random changes, as merge patches, make the same of the object as of its JSON.
func TestMergeTypedRandom(t *testing.T) {
	fill := randfill.NewWithSeed(1).NilChance(0.6).NumElements(0, 3).MaxDepth(12).Funcs(
		func(q *resource.Quantity, c randfill.Continue) {
			*q = *resource.NewQuantity(c.Int63n(3), resource.DecimalSI)
		},
		func(m *metav1.Time, c randfill.Continue) { *m = metav1.Unix(c.Int63n(3)+1, 0) },
		func(v *intstr.IntOrString, c randfill.Continue) { *v = intstr.FromInt32(c.Int31n(3)) },
		func(v *metav1.FieldsV1, _ randfill.Continue) { v.SetRawString(`{"f:a":{}}`) },
		func(_ *metav1.TypeMeta, _ randfill.Continue) {},
		func(s *string, c randfill.Continue) { *s = []string{"", "a", "b", "<é>"}[c.Intn(4)] },
	)
	tried, merged := 0, 0
	for _, empty := range []runtime.Object{&corev1.Pod{}, &appsv1.Deployment{}, &corev1.Secret{}, &corev1.Node{}, &networkingv1.NetworkPolicy{}, &corev1.Service{}} {
		for range 200 {
			before, after := empty.DeepCopyObject(), empty.DeepCopyObject()
			fill.Fill(before)
			fill.Fill(after)
			from, err := json.Marshal(before)
			if err != nil {
				t.Fatal(err)
			}
			to, err := json.Marshal(after)
			if err != nil {
				t.Fatal(err)
			}
			body, err := jsonpatch.CreateMergePatch(from, to)
			if err != nil {
				t.Fatal(err)
			}
			tried++
			if checkMerge(t, before, body) {
				merged++
			}
		}
	}
	t.Logf("%d of %d were merged", merged, tried)
	if merged < tried/4 {
		t.Error("too few for the test to mean something")
	}
}

// FuzzMergeTyped: whatever is merged is what is made of the JSON.
func FuzzMergeTyped(f *testing.F) {
	f.Add([]byte(`{"metadata":{"labels":{"a":null,"e":"f"}},"spec":{"containers":[{"name":"d"}]}}`))
	f.Add([]byte(`{"spec":{"overhead":{"cpu":"1"},"volumes":[{"name":"v","emptyDir":{"sizeLimit":"1Gi"}}]}}`))
	obj := &corev1.Pod{}
	if err := json.Unmarshal([]byte(pod), obj); err != nil {
		f.Fatal(err)
	}
	obj.TypeMeta = metav1.TypeMeta{}
	f.Fuzz(func(t *testing.T, body []byte) { checkMerge(t, obj, body) })
}
