package codec_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/yare-io/yare/apiserver/codec"
)

// extensions of the published files, by format.
var extensions = map[codec.Format]string{codec.JSON: "json", codec.YAML: "yaml", codec.Protobuf: "pb"}

// golden is where k8s.io/api keeps what each version of Kubernetes wrote.
func golden(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/api").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "testdata")
}

// TestGoldenFiles: what every version of Kubernetes since v1.33 wrote is read
// in each encoding, and written again unchanged, in that and every other one.
func TestGoldenFiles(t *testing.T) {
	root := golden(t)
	versions, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, version := range versions {
		if !version.IsDir() {
			continue
		}
		t.Run(version.Name(), func(t *testing.T) {
			dir := filepath.Join(root, version.Name())
			files, err := filepath.Glob(filepath.Join(dir, "*.json"))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				name := strings.TrimSuffix(filepath.Base(file), ".json")
				kind, known := kindOfFile(name)
				if strings.HasSuffix(name, ".after_roundtrip") || !known {
					continue
				}
				checkGolden(t, kind, filepath.Join(dir, name))
				checked++
			}
		})
	}
	if checked < 400 {
		t.Errorf("only %d kinds were there to check", checked)
	}
}

// kindOfFile reads GROUP.VERSION.KIND. Kinds that are gone from k8s.io/api are
// not known, nor is WatchEvent, which has no kind and apiVersion on the wire.
func kindOfFile(name string) (schema.GroupVersionKind, bool) {
	parts := strings.Split(name, ".")
	if len(parts) < 3 {
		return schema.GroupVersionKind{}, false
	}
	group := strings.Join(parts[:len(parts)-2], ".")
	kind := schema.GroupVersionKind{Group: strings.TrimPrefix(group, "core"), Version: parts[len(parts)-2], Kind: parts[len(parts)-1]}
	stable := kind.Version == "v1" || kind.Version == "v2"
	return kind, stable && kind.Kind != "WatchEvent" && scheme.Scheme.Recognizes(kind)
}

// checkGolden reads a kind's files, which must hold the same object, and writes
// it in each encoding.
func checkGolden(t *testing.T, kind schema.GroupVersionKind, path string) {
	t.Helper()
	var first runtime.Object
	for f, extension := range extensions {
		body, err := os.ReadFile(path + "." + extension)
		if err != nil {
			t.Error(err)
			return
		}
		if f == codec.JSON {
			body = compact(t, body) // what is kept raw is kept with its spaces
		}
		obj := newObject(t, kind)
		if _, problems, err := codec.Decode(f, body, kind, obj, false); err != nil || len(problems) > 0 {
			t.Errorf("%s.%s: %v %v", path, extension, problems, err)
			return
		}
		if first == nil {
			first = obj
		}
		if !bytes.Equal(encoded(t, codec.Protobuf, kind, obj), encoded(t, codec.Protobuf, kind, first)) {
			t.Errorf("%s: the files hold different objects:\n%+v\n%+v", path, obj, first)
		}
	}
	for to, extension := range extensions {
		want, err := os.ReadFile(path + ".after_roundtrip." + extension)
		if os.IsNotExist(err) {
			want, err = os.ReadFile(path + "." + extension)
		}
		if err != nil {
			t.Error(err)
			continue
		}
		if to == codec.JSON {
			want = compact(t, want)
		}
		if got := encoded(t, to, kind, first); !bytes.Equal(bytes.TrimSpace(got), bytes.TrimSpace(want)) {
			t.Errorf("%s comes back otherwise in %s:\n%s\nwant\n%s", path, extension, got, want)
		}
	}
	checkCBOR(t, kind, first)
}

// checkCBOR: an object survives CBOR, in which nobody has published files, and
// apimachinery reads what is written here.
func checkCBOR(t *testing.T, kind schema.GroupVersionKind, obj runtime.Object) {
	t.Helper()
	body := encoded(t, codec.CBOR, kind, obj)
	back := newObject(t, kind)
	if _, problems, err := codec.Decode(codec.CBOR, body, kind, back, true); err != nil || len(problems) > 0 {
		t.Errorf("%s in CBOR: %v %v", kind, problems, err)
		return
	}
	if !bytes.Equal(encoded(t, codec.JSON, kind, back), encoded(t, codec.JSON, kind, obj)) {
		t.Errorf("%s changes in CBOR:\n%+v\n%+v", kind, obj, back)
	}
	theirs, _, err := cbor.NewSerializer(scheme.Scheme, scheme.Scheme, cbor.Strict(true)).Decode(body, nil, nil)
	if err != nil {
		t.Errorf("%s in CBOR, read by apimachinery: %v", kind, err)
		return
	}
	theirs.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	if !equality.Semantic.DeepEqual(theirs, back) {
		t.Errorf("%s in CBOR is read otherwise by apimachinery:\n%+v\n%+v", kind, theirs, back)
	}
}

func newObject(t *testing.T, kind schema.GroupVersionKind) runtime.Object {
	t.Helper()
	obj, err := scheme.Scheme.New(kind)
	if err != nil {
		t.Fatal(err)
	}
	return obj
}

func encoded(t *testing.T, f codec.Format, kind schema.GroupVersionKind, obj runtime.Object) []byte {
	t.Helper()
	bare, err := codec.Encode(f, obj)
	if err != nil {
		t.Fatal(err)
	}
	out, err := codec.Wrap(f, kind, bare)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func compact(t *testing.T, body []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, body); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
