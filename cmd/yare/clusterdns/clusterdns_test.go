package clusterdns

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

func TestManifestDecodesStrictlyIntoTheAPITypes(t *testing.T) {
	for _, upstream := range []bool{false, true} {
		objects, err := render(Options{ClusterIP: netip.MustParseAddr("10.96.0.10"), Domain: "cluster.local", Upstream: upstream})
		if err != nil {
			t.Fatal(err)
		}
		if len(objects) != 6 {
			t.Errorf("rendered %d objects, want 6", len(objects))
		}
		for _, object := range objects {
			typed, err := scheme.Scheme.New(object.GroupVersionKind())
			if err != nil {
				t.Fatal(err)
			}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, typed, true); err != nil {
				t.Errorf("%s: %v", object.GetKind(), err)
			}
			if data, ok := object.Object["data"].(map[string]any); ok {
				if got := strings.Contains(data["Corefile"].(string), "forward"); got != upstream {
					t.Errorf("forward present: %v, want %v", got, upstream)
				}
			}
		}
	}
}

func TestHasUpstream(t *testing.T) {
	for text, want := range map[string]bool{
		"nameserver 127.0.0.53\n":             false,
		"# nameserver 10.0.0.1\nsearch a.b\n": false,
		"nameserver ::1\nnameserver 10.0.0.1": true,
		"nameserver nonsense\n":               false,
	} {
		file := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := HasUpstream(file); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if HasUpstream(filepath.Join(t.TempDir(), "absent")) {
		t.Error("an absent file has an upstream")
	}
}
