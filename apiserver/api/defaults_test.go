package api_test

import (
	"math/rand"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/randfill"

	"github.com/yare-io/yare/apiserver/api"
	"github.com/yare-io/yare/apiserver/api/rowtest"
)

// fuzzed is how many random objects of each kind are tried.
const fuzzed = 30

func newFuzzer(seed int64) *randfill.Filler {
	funcs := func(serializer.CodecFactory) []any {
		return []any{
			func(q *resource.Quantity, c randfill.Continue) {
				*q = *resource.NewMilliQuantity(c.Int63n(1e9)-1e6, resource.DecimalSI)
			},
			func(v *intstr.IntOrString, c randfill.Continue) {
				*v = intstr.FromInt32(c.Int31n(200) - 50)
				if c.Bool() {
					*v = intstr.FromString([]string{"", "50%", "200%", "x", "web"}[c.Intn(5)])
				}
			},
			func(r *runtime.RawExtension, c randfill.Continue) { r.Raw = []byte(`{"a":1}`) },
			// Schemas contain schemas: a few levels will do.
			func(s *apiextensionsv1.JSONSchemaProps, c randfill.Continue) {
				*s = apiextensionsv1.JSONSchemaProps{Type: []string{"object", "array", "string", "x", ""}[c.Intn(5)], Format: c.String(5)}
				if c.Intn(3) == 0 {
					s.Properties = map[string]apiextensionsv1.JSONSchemaProps{"spec": {Type: "string", Default: &apiextensionsv1.JSON{Raw: []byte(`"x"`)}}}
					s.XValidations = apiextensionsv1.ValidationRules{{Rule: c.String(8)}, {Rule: "self.spec == 'x'"}}
				}
			},
			func(m *metav1.FieldsV1, c randfill.Continue) { m.Raw = []byte(`{}`) },
		}
	}
	return fuzzer.FuzzerFor(fuzzer.MergeFuzzerFuncs(metafuzzer.Funcs, funcs), rand.NewSource(seed), scheme.Codecs)
}

// TestDefaultsAreStable: defaulting what has been defaulted changes nothing, so
// that an object read back is the object that was written.
func TestDefaultsAreStable(t *testing.T) {
	f := newFuzzer(1)
	for _, r := range api.Resources(api.Deps{}) {
		if r.Strategy.Default == nil {
			continue
		}
		for range fuzzed {
			once := r.New()
			f.Fill(once)
			r.Strategy.Default(once)
			twice := once.DeepCopyObject()
			r.Strategy.Default(twice)
			if !apiequality.Semantic.DeepEqual(once, twice) {
				t.Errorf("%s: defaults change what they made", r.GroupVersionResource())
				break
			}
		}
	}
}

// TestRulesSurviveAnything: no object that can be decoded, however absurd,
// makes a row panic, and an update that changes nothing makes it generate
// nothing.
func TestRulesSurviveAnything(t *testing.T) {
	f := newFuzzer(2)
	for _, r := range api.Resources(api.Deps{}) {
		if r.Creator != nil {
			continue
		}
		for range fuzzed {
			o, old := r.New(), r.New()
			f.Fill(o)
			f.Fill(old)
			rowtest.Create(r, o.DeepCopyObject())
			rowtest.Create(r, old)
			rowtest.Update(&r.Strategy, o.DeepCopyObject(), old)
			for _, s := range r.Subresources {
				if s.Part != nil {
					rowtest.Update(s.Part, o.DeepCopyObject(), old)
				}
			}
			if r.Strategy.Warnings != nil {
				r.Strategy.Warnings(t.Context(), o, old)
			}
			same := old.DeepCopyObject()
			rowtest.Update(&r.Strategy, same, old)
			if a, b := same.(metav1.Object), old.(metav1.Object); a.GetGeneration() != b.GetGeneration() {
				t.Errorf("%s: generation %d became %d without a change", r.GroupVersionResource(), b.GetGeneration(), a.GetGeneration())
				break
			}
		}
	}
}

// TestUpdatesLeaveTheOldObjectAlone: it belongs to the cache.
func TestUpdatesLeaveTheOldObjectAlone(t *testing.T) {
	f := newFuzzer(3)
	for _, r := range api.Resources(api.Deps{}) {
		if r.Creator != nil {
			continue
		}
		for range fuzzed {
			o, old := r.New(), r.New()
			f.Fill(o)
			f.Fill(old)
			if r.Strategy.Default != nil {
				r.Strategy.Default(old)
			}
			before := old.DeepCopyObject()
			rowtest.Update(&r.Strategy, o.DeepCopyObject(), old)
			for _, s := range r.Subresources {
				if s.Part != nil {
					rowtest.Update(s.Part, o.DeepCopyObject(), old)
				}
			}
			if !apiequality.Semantic.DeepEqual(before, old) {
				t.Errorf("%s: an update changed the old object", r.GroupVersionResource())
				break
			}
		}
	}
}
