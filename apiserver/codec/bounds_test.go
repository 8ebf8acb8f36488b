package codec_test

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver/codec"
)

// inside wraps a message in a field of another.
func inside(number protowire.Number, message string) string {
	return string(protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), message))
}

// protobufPod is a pod whose spec is a message.
func protobufPod(spec string) string {
	return "k8s\x00" + inside(1, inside(1, "v1")+inside(2, "Pod")) + inside(2, inside(2, spec))
}

func TestBodiesOfTooManyItemsAreRefused(t *testing.T) {
	pod := corev1.SchemeGroupVersion.WithKind("Pod")
	custom := schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Thing"}
	definition := apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition")
	deep := ""
	for range 12_000 { // not not not …
		deep = inside(28, deep)
	}
	most := strings.Repeat("{},", 99_000) + "{}"
	for _, body := range []struct {
		name   string
		format codec.Format
		kind   schema.GroupVersionKind
		into   runtime.Object
		text   string
		many   bool
	}{
		{"empty containers", codec.JSON, pod, &corev1.Pod{}, `{"spec":{"containers":[` + strings.Repeat("{},", 900_000) + "{}]}}", true},
		{"no containers", codec.JSON, pod, &corev1.Pod{}, `{"spec":{"containers":[` + strings.Repeat("null,", 500_000) + "null]}}", true},
		{"as many as may be", codec.JSON, pod, &corev1.Pod{}, `{"spec":{"containers":[` + most + "]}}", false},
		{"braces in a text", codec.JSON, mapKind, &corev1.ConfigMap{}, `{"data":{"a":"\"` + strings.Repeat("{null", 300_000) + `\\"}}`, false},
		{"in YAML", codec.YAML, pod, &corev1.Pod{}, "spec:\n  containers: [" + strings.Repeat("{},", 150_000) + "{}]\n", true},
		{"without a type", codec.JSON, custom, &unstructured.Unstructured{}, `{"apiVersion":"example.com/v1","kind":"Thing","spec":[` + strings.Repeat("{},", 900_000) + "{}]}", true},
		{"empty messages", codec.Protobuf, pod, &corev1.Pod{}, protobufPod(strings.Repeat("\x12\x00", 200_000)), true},
		{"few messages", codec.Protobuf, pod, &corev1.Pod{}, protobufPod(strings.Repeat("\x12\x00", 90_000)), false},
		{"a long text", codec.Protobuf, pod, &corev1.Pod{}, protobufPod(inside(10, strings.Repeat("\x12\x00", 200_000))), false},
		{"messages in messages", codec.Protobuf, definition, &apiextensionsv1.CustomResourceDefinition{},
			"k8s\x00" + inside(1, inside(1, "apiextensions.k8s.io/v1")+inside(2, "CustomResourceDefinition")) + inside(2, inside(2, inside(7, inside(4, inside(1, deep))))), true},
	} {
		_, _, err := codec.Decode(body.format, []byte(body.text), body.kind, body.into, true)
		if errors.Is(err, codec.ErrTooManyItems) != body.many {
			t.Errorf("%s: %.200v", body.name, err)
		}
	}
}

func TestSizesOfPatches(t *testing.T) {
	bomb := strings.Repeat("{},", 150_000)
	for _, one := range []struct {
		format codec.Format
		body   string
		many   bool
	}{
		{codec.JSON, "[" + bomb + "{}]", true},
		{codec.YAML, "a: [" + bomb + "{}]", true},
		{codec.YAML, "a: |\n  " + bomb, false},
		{codec.YAML, "a: {}", false},
		{codec.YAML, strings.Repeat("[", 300_000), false}, // others say what is wrong with it
	} {
		if err := codec.CheckSize(one.format, []byte(one.body)); errors.Is(err, codec.ErrTooManyItems) != one.many {
			t.Errorf("%.20s: %v", one.body, err)
		}
	}
}
