package codec_test

import (
	"math/rand"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/randfill"

	"github.com/yare-io/yare/apiserver/codec"
)

// again is an object after it was stored.
func again(t *testing.T, kind schema.GroupVersionKind, obj runtime.Object) runtime.Object {
	t.Helper()
	value, err := codec.Store(kind, obj)
	if err != nil {
		t.Fatal(err)
	}
	read, _, err := codec.Stored(value, func(schema.GroupVersionKind) runtime.Object {
		return reflect.New(reflect.TypeOf(obj).Elem()).Interface().(runtime.Object)
	})
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// remember makes all amounts remember their texts.
func remember(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if quantity, is := v.Interface().(*resource.Quantity); is && quantity != nil {
			_ = quantity.String()
		} else if !v.IsNil() {
			remember(v.Elem())
		}
	case reflect.Struct:
		if v.CanAddr() && v.Addr().Type() == reflect.TypeFor[*resource.Quantity]() {
			remember(v.Addr())
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				remember(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			remember(v.Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			entry := reflect.New(v.Type().Elem())
			entry.Elem().Set(v.MapIndex(key))
			remember(entry)
			v.SetMapIndex(key, entry.Elem())
		}
	}
}

// Of random objects of all kinds, those said to be as decoded are; and what was
// decoded is said to be.
func TestAsDecoded(t *testing.T) {
	fill := randfill.NewWithSeed(1).NilChance(0.7).NumElements(0, 2).MaxDepth(9).Funcs(
		func(q *resource.Quantity, c randfill.Continue) {
			texts := []string{"1", "1000m", "500m", "1Gi", "0.5Gi", "0", "1e3", "1024"}
			*q = resource.MustParse(texts[c.Intn(len(texts))])
		},
		func(m *metav1.Time, c randfill.Continue) {
			*m = metav1.Unix(c.Int63n(1e9), c.Int63n(2)*5)
		},
		func(m *metav1.MicroTime, c randfill.Continue) {
			*m = metav1.NewMicroTime(time.Unix(c.Int63n(1e9), c.Int63n(2)*1005))
		},
		func(v *runtime.RawExtension, c randfill.Continue) {
			if c.Intn(2) == 0 {
				v.Raw = []byte(`{"a":1}`)
			}
		},
		func(v *metav1.FieldsV1, c randfill.Continue) { v.SetRawString(strings.Repeat("{}", c.Intn(2))) },
		func(_ *metav1.TypeMeta, _ randfill.Continue) {},
		func(r *rune, c randfill.Continue) { *r = 'a' + rune(c.Intn(26)) },
	)
	random := rand.New(rand.NewSource(1))
	kinds, same, settled := 0, 0, 0
	for kind := range scheme.Scheme.AllKnownTypes() {
		obj, err := scheme.Scheme.New(kind)
		_, list := obj.(metav1.ListInterface)
		if _, object := obj.(metav1.Object); err != nil || !object || list || !codec.HasProtobuf(obj) {
			continue
		}
		kinds++
		for range 20 {
			obj, _ = scheme.Scheme.New(kind)
			if random.Intn(4) > 0 {
				fill.Fill(obj)
			}
			decoded := again(t, kind, obj)
			if codec.AsDecoded(obj) {
				same++
				remember(reflect.ValueOf(obj))
				remember(reflect.ValueOf(decoded))
				if !reflect.DeepEqual(obj, decoded) {
					t.Errorf("%s is not as decoded:\n%#v\n%#v", kind, obj, decoded)
				}
			}
			if codec.AsDecoded(decoded) {
				settled++
			}
		}
	}
	t.Logf("%d kinds: %d objects were as decoded before they were stored, %d after", kinds, same, settled)
	if kinds < 50 || same < kinds || settled < kinds*15 {
		t.Error("too few for the test to mean something")
	}
}

func TestNotAsDecoded(t *testing.T) {
	now := metav1.NewTime(time.Unix(1, 1))
	for name, change := range map[string]func(*corev1.Pod){
		"an empty list": func(p *corev1.Pod) { p.Spec.Containers = []corev1.Container{} },
		"an empty map":  func(p *corev1.Pod) { p.Labels = map[string]string{} },
		"an empty map below": func(p *corev1.Pod) {
			p.Spec.Containers = []corev1.Container{{Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{}}}}
		},
		"a fraction of a second": func(p *corev1.Pod) { p.DeletionTimestamp = &now },
		"another time zone": func(p *corev1.Pod) {
			p.CreationTimestamp = metav1.NewTime(time.Unix(1, 0).In(time.FixedZone("x", 3600)))
		},
		"a kind": func(p *corev1.Pod) { p.Kind = "Pod" },
		"an amount": func(p *corev1.Pod) {
			p.Spec.Overhead = corev1.ResourceList{"cpu": *resource.NewMilliQuantity(1000, resource.DecimalSI)}
		},
	} {
		p := &corev1.Pod{}
		if !codec.AsDecoded(p) {
			t.Fatal("an empty pod is as decoded")
		}
		if change(p); codec.AsDecoded(p) {
			t.Errorf("%s is not what is decoded", name)
		}
	}
	if codec.AsDecoded(&corev1.Secret{Data: map[string][]byte{"a": nil}}) {
		// Decoded, it has no bytes, which is not the same.
		t.Error("nil bytes in a map are not what is decoded")
	}
}
