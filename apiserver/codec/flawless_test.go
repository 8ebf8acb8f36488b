package codec

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	kjson "sigs.k8s.io/json"
)

// sameAsStrict holds what is read without a complaint against sigs.k8s.io/json,
// and reports whether anything was.
func sameAsStrict(t *testing.T, body []byte, quick, slow any) bool {
	t.Helper()
	if !unmarshalFlawless(body, quick) {
		if !reflect.ValueOf(quick).Elem().IsZero() {
			t.Errorf("something is left of %s: %+v", body, quick)
		}
		return false
	}
	warnings, err := kjson.UnmarshalStrict(body, slow)
	if err != nil || len(warnings) > 0 {
		t.Errorf("%s is not without flaws: %v %v", body, warnings, err)
	}
	if !reflect.DeepEqual(quick, slow) {
		t.Errorf("%s\nis   %+v\nnot  %+v", body, quick, slow)
	}
	return true
}

// Objects of all kinds, as k8s.io/api publishes them, need no second reading.
func TestFlawlessKinds(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/api").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "testdata", "HEAD", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, file := range files {
		parts := strings.Split(strings.TrimSuffix(filepath.Base(file), ".json"), ".")
		n := len(parts)
		kind := schema.GroupVersionKind{Group: strings.TrimPrefix(strings.Join(parts[:n-2], "."), "core"), Version: parts[n-2], Kind: parts[n-1]}
		if !scheme.Scheme.Recognizes(kind) || kind.Kind == "WatchEvent" {
			continue
		}
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		quick, _ := scheme.Scheme.New(kind)
		slow, _ := scheme.Scheme.New(kind)
		if !sameAsStrict(t, body, quick, slow) {
			t.Errorf("%s was read twice", kind)
		}
		read++
	}
	if read < 100 {
		t.Errorf("only %d kinds were read", read)
	}
}

func TestFlaws(t *testing.T) {
	for _, body := range []string{
		`{"spec":{"nodeName":"a","nodeName":"b"}}`, `{"spec":{"nodename":"a"}}`, `{"metadata":{"labels":{"a":"b","a":"c"}}}`,
		`{"spec":{"priority":1.0}}`, `{"spec":{"priority":1e2}}`, `{"spec":{"nodeName":7}}`, `{} {}`, `[]`, ``, "{\"metadata\":{\"name\":\"\xff\"}}",
		`{"metadata":{"name":"\ud800"}}`, `{"metadata":{"labels":{"a":"b","\u0061":"c"}}}`,
	} {
		if sameAsStrict(t, []byte(body), &corev1.Pod{}, &corev1.Pod{}) {
			t.Errorf("%s was read without a complaint", body)
		}
	}
	for _, body := range []string{
		`{"metadata":null,"spec":{"containers":null,"volumes":[],"nodeSelector":{},"overhead":{"cpu":"1000m","memory":0.5}}}`,
		`{"metadata":{"name":"\u00e9\n","creationTimestamp":null,"deletionTimestamp":"2020-01-01T00:00:00Z"},"status":{"podIPs":[null]}}`,
		` {"kind":"Pod","spec":{"containers":[{"livenessProbe":{"httpGet":{"port":"http"}}},{"livenessProbe":{"httpGet":{"port":8080}}}]}} `,
	} {
		if !sameAsStrict(t, []byte(body), &corev1.Pod{}, &corev1.Pod{}) {
			t.Errorf("%s was read twice", body)
		}
	}
	if !sameAsStrict(t, []byte(`{"data":{"a":"","b":null,"c":"YQ=="}}`), &corev1.Secret{}, &corev1.Secret{}) {
		t.Error("bytes were read twice")
	}
	var loose map[string]any
	if unmarshalFlawless([]byte(`{"a":1}`), &loose) {
		t.Error("numbers of no type were read")
	}
}

// FuzzFlawless: what is read without a complaint is what sigs.k8s.io/json reads.
func FuzzFlawless(f *testing.F) {
	f.Add([]byte(`{"kind":"Pod","metadata":{"name":"a","labels":{"a":"b"},"managedFields":[{"fieldsV1":{"f:spec":{}}}]},"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":1.5}}}]}}`))
	f.Add([]byte(`{"data":{"a":"YQ=="},"stringData":{"b":"c"},"immutable":true}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		sameAsStrict(t, body, &corev1.Pod{}, &corev1.Pod{})
		sameAsStrict(t, body, &corev1.Secret{}, &corev1.Secret{})
	})
}
