package codec_test

import (
	"bytes"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/yare-io/yare/apiserver/codec"
)

var (
	mapKind  = corev1.SchemeGroupVersion.WithKind("ConfigMap")
	listKind = corev1.SchemeGroupVersion.WithKind("ConfigMapList")
)

func example() *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "n", Labels: map[string]string{"x": "<&>", "y": "ü"}},
		Data:       map[string]string{"k": "line\nline"}, BinaryData: map[string][]byte{"b": {0, 255}},
	}
}

// theirs encodes as apimachinery does.
func theirs(t *testing.T, f codec.Format, obj runtime.Object, kind schema.GroupVersionKind) []byte {
	t.Helper()
	obj = obj.DeepCopyObject()
	obj.GetObjectKind().SetGroupVersionKind(kind)
	var encoder runtime.Encoder = json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, json.SerializerOptions{})
	if f == codec.Protobuf {
		encoder = protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
	}
	raw, err := runtime.Encode(encoder, obj)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestBytesAreThoseOfApimachinery(t *testing.T) {
	for _, f := range []codec.Format{codec.JSON, codec.Protobuf} {
		bare, err := codec.Encode(f, example())
		if err != nil {
			t.Fatal(err)
		}
		wrapped, err := codec.Wrap(f, mapKind, bare)
		if err != nil || !bytes.Equal(wrapped, theirs(t, f, example(), mapKind)) {
			t.Errorf("%s object: %q, %v", f.MediaType(), wrapped, err)
		}
		meta := metav1.ListMeta{ResourceVersion: "7", Continue: "c"}
		for _, items := range [][]corev1.ConfigMap{{}, {*example()}, {*example(), {}, *example()}} {
			encoded := make([][]byte, len(items))
			for i := range items {
				if encoded[i], err = codec.Encode(f, &items[i]); err != nil {
					t.Fatal(err)
				}
			}
			list, err := codec.WrapList(f, listKind, meta, encoded)
			want := theirs(t, f, &corev1.ConfigMapList{ListMeta: meta, Items: items}, listKind)
			if err != nil || !bytes.Equal(list, want) {
				t.Errorf("%s list of %d:\n%q\n%q, %v", f.MediaType(), len(items), list, want, err)
			}
		}
	}
	stored, err := codec.Store(mapKind, example())
	if err != nil || !bytes.Equal(stored, theirs(t, codec.Protobuf, example(), mapKind)) {
		t.Errorf("stored: %q, %v", stored, err)
	}
}

func TestFramesAreThoseOfApimachinery(t *testing.T) {
	wrapped := theirs(t, codec.Protobuf, example(), mapKind)
	frame := codec.Frame(codec.Protobuf, "ADDED", wrapped)
	event := metav1.WatchEvent{Type: "ADDED", Object: runtime.RawExtension{Raw: wrapped}}
	want, err := event.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if length := int(frame[0])<<24 | int(frame[1])<<16 | int(frame[2])<<8 | int(frame[3]); length != len(want) || !bytes.Equal(frame[4:], want) {
		t.Errorf("%q\n%q", frame, want)
	}
	if got := string(codec.Frame(codec.JSON, "DELETED", []byte("{}\n"))); got != "{\"type\":\"DELETED\",\"object\":{}}\n" {
		t.Errorf("%q", got)
	}
}

func TestWhatIsEncodedIsDecoded(t *testing.T) {
	for _, f := range []codec.Format{codec.JSON, codec.YAML, codec.Protobuf, codec.CBOR} {
		bare, err := codec.Encode(f, example())
		if err != nil {
			t.Fatal(err)
		}
		body, err := codec.Wrap(f, mapKind, bare)
		if err != nil {
			t.Fatal(err)
		}
		var got corev1.ConfigMap
		kind, warnings, err := codec.Decode(f, body, mapKind, &got, true)
		if err != nil || kind != mapKind || len(warnings) != 0 || got.Kind != "" || got.Data["k"] != "line\nline" || got.BinaryData["b"][1] != 255 {
			t.Errorf("%s: %+v %v %v", f.MediaType(), got, warnings, err)
		}
	}
}

func TestStrictDecodingNamesWhatIsWrong(t *testing.T) {
	for body, want := range map[string]string{
		`{"data":{"a":"1"},"wrong":1}`:                   `unknown field "wrong"`,
		`{"data":{"a":"1","a":"2"}}`:                     `duplicate field "data["a"]"`,
		`{"Data":{"a":"1"}}`:                             `unknown field "Data"`,
		`{"metadata":{"name":"x","nmae":"y"},"data":{}}`: `unknown field "metadata.nmae"`,
	} {
		_, warnings, err := codec.Decode(codec.JSON, []byte(body), mapKind, &corev1.ConfigMap{}, true)
		if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Error(), strings.Split(want, "[")[0]) {
			t.Errorf("%s: %v, %v", body, warnings, err)
		}
		if _, warnings, err := codec.Decode(codec.JSON, []byte(body), mapKind, &corev1.ConfigMap{}, false); err != nil || len(warnings) != 0 {
			t.Errorf("%s, not strict: %v, %v", body, warnings, err)
		}
	}
	_, warnings, err := codec.Decode(codec.YAML, []byte("data: {a: x}\ndata: {b: x}\n"), mapKind, &corev1.ConfigMap{}, true)
	if err != nil || len(warnings) == 0 {
		t.Errorf("duplicate keys of YAML: %v, %v", warnings, err)
	}
}

func TestBombsAreRefused(t *testing.T) {
	aliases := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for i := 'b'; i < 'k'; i++ {
		previous := string(i - 1)
		aliases += string(i) + ": &" + string(i) + " [" + strings.TrimSuffix(strings.Repeat("*"+previous+",", 9), ",") + "]\n"
	}
	for name, body := range map[string]string{
		"aliases":      aliases,
		"deep YAML":    strings.Repeat("- ", 20_000),
		"deep flow":    strings.Repeat("[", 20_000),
		"deep JSON":    strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000),
		"not closed":   `{"data":`,
		"deep CBOR":    "\xa1\x41x" + strings.Repeat("\x81", 20_000) + "\x00",
		"long CBOR":    "\xa1\x44data\xbb\x00\x00\x00\xff\xff\xff\xff\xff\x41a\x41b",
		"twice CBOR":   "\xa1\x44data\xa2\x41a\x41b\x41a\x41c",
		"many CBOR":    "\xa1\x48metadata\xa1\x4fownerReferences\x9a\x00\x0f\x42\x40" + strings.Repeat("\xa0", 1_000_000),
		"more CBOR":    "\xa0\xa0",
		"no CBOR":      "",
		"array CBOR":   "\x80",
		"endless CBOR": "\xa1\x44data\xbf",
	} {
		f := codec.YAML
		switch {
		case strings.HasSuffix(name, "JSON"):
			f = codec.JSON
		case strings.HasSuffix(name, "CBOR"):
			f = codec.CBOR
		}
		if _, _, err := codec.Decode(f, []byte(body), mapKind, &corev1.ConfigMap{}, true); err == nil {
			t.Errorf("%s was decoded", name)
		}
	}
}

func TestUnknownKindsInTheStoreAreErrors(t *testing.T) {
	for _, value := range []string{"", "{}", "k8s\x00", "k8s\x00\xff\xff", `{"kind":"X","apiVersion":"v1"}`} {
		if obj, _, err := codec.Stored([]byte(value), func(schema.GroupVersionKind) runtime.Object { return nil }); err == nil {
			t.Errorf("%q was read as %+v", value, obj)
		}
	}
}

// FuzzDecode: no body makes a decoder panic, and what is decoded can be
// encoded in every format.
func FuzzDecode(f *testing.F) {
	kind := appsv1.SchemeGroupVersion.WithKind("Deployment")
	f.Add(byte(codec.JSON), []byte(`{"kind":"Deployment","apiVersion":"apps/v1","spec":{"replicas":3,"template":{"spec":{"containers":[{"name":"a","resources":{"limits":{"cpu":"1"}}}]}}}}`))
	f.Add(byte(codec.YAML), []byte("kind: Deployment\napiVersion: apps/v1\nspec: {replicas: 1, strategy: {rollingUpdate: {maxSurge: 25%}}}\n"))
	f.Add(byte(codec.Protobuf), []byte("k8s\x00\n\x15\n\x07apps/v1\x12\nDeployment\x12\x00\x1a\x00\"\x00"))
	f.Add(byte(codec.CBOR), []byte("\xd9\xd9\xf7\xa3\x44kind\x4aDeployment\x4aapiVersion\x47apps/v1\x44spec\xa1\x48replicas\x03"))
	f.Fuzz(func(t *testing.T, format byte, body []byte) {
		var obj appsv1.Deployment
		if _, _, err := codec.Decode(codec.Format(format%4), body, kind, &obj, true); err != nil {
			return
		}
		for _, f := range []codec.Format{codec.JSON, codec.Protobuf, codec.CBOR} {
			bare, err := codec.Encode(f, &obj)
			if err != nil {
				continue // a date beyond what RFC 3339 can say
			}
			if _, err := codec.Wrap(f, kind, bare); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzStored: nothing in the store makes a reader panic.
func FuzzStored(f *testing.F) {
	f.Add([]byte("k8s\x00\n\x0f\n\x02v1\x12\tConfigMap\x12\x02\n\x00\x1a\x00\"\x00"))
	f.Add([]byte(`{"kind":"ConfigMap","apiVersion":"v1"}`))
	f.Fuzz(func(_ *testing.T, value []byte) {
		_, _, _ = codec.Stored(value, func(schema.GroupVersionKind) runtime.Object { return &corev1.ConfigMap{} })
	})
}
