package apicoverage

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/yare-io/yare/apiserver"
	"github.com/yare-io/yare/apiserver/codec"
	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/etcd"
)

// TestWhatOtherVersionsStoredIsServedUnchanged puts the files that k8s.io/api
// publishes for every version of Kubernetes since v1.33 into a real etcd, as
// that version's server would have, and reads them in every encoding.
func TestWhatOtherVersionsStoredIsServedUnchanged(t *testing.T) {
	store, err := etcd.Open(t.Context(), etcd.Config{Dir: t.TempDir()})
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	s := start(t, func(c *apiserver.Config) { c.Store = store })
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/api").Output()
	must(t, err)
	versions, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "testdata", "*", "core.v1.Pod.pb"))
	must(t, err)
	seen := map[string]bool{}
	for _, pod := range versions {
		dir := filepath.Dir(pod)
		for _, row := range s.Rows() {
			if row.StoragePrefix == "" || row.StoredAs != nil || !scheme.Scheme.Recognizes(row.Kind) {
				continue
			}
			group := row.Kind.Group
			if group == "" {
				group = "core"
			}
			file := filepath.Join(dir, fmt.Sprintf("%s.%s.%s.", group, row.Kind.Version, row.Kind.Kind))
			if value, err := os.ReadFile(file + "pb"); err == nil {
				s.servesStored(t, store, row, filepath.Base(dir), value, file)
				seen[row.Name] = true
			}
		}
	}
	for _, row := range s.Rows() {
		if row.StoragePrefix != "" && row.StoredAs == nil && scheme.Scheme.Recognizes(row.Kind) && !seen[row.Name] {
			t.Errorf("no file of %s", row.Name)
		}
	}
	if len(versions) < 5 {
		t.Errorf("only the versions %v", versions)
	}
}

// settled are the fields that a Kubernetes server, too, sets when it reads such
// an object from its store, for the published ones contradict themselves: the
// two names of the service account differ, a secret has data not yet encoded,
// templates of claims are of another kind, and what is limited is not requested.
var settled = []string{
	".serviceAccount", "Secret.stringData", "Secret.data.stringDataKey",
	"Namespace.metadata.labels.kubernetes.io/metadata.name",
	"StatefulSet.spec.volumeClaimTemplates.kind", "StatefulSet.spec.volumeClaimTemplates.apiVersion",
	"Pod.spec.containers.resources.requests.limitsKey", "Pod.spec.initContainers.resources.requests.limitsKey",
}

// servesStored stores a file and reads it in every encoding.
func (s *server) servesStored(t *testing.T, store storage.Store, row *registry.Resource, version string, value []byte, file string) {
	t.Helper()
	name := "name-" + strings.ToLower(version)
	key, path := row.StoragePrefix+"/"+name, row.Name+"/"+name
	if row.Namespaced {
		key, path = row.StoragePrefix+"/namespace/"+name, "namespaces/namespace/"+path
	}
	prefix := "/apis/" + row.Kind.GroupVersion().String()
	if row.Kind.Group == "" {
		prefix = "/api/v1"
	}
	_, err := store.Create(t.Context(), "/registry/"+key, value, 0)
	must(t, err)
	if after, err := os.ReadFile(file + "after_roundtrip.pb"); err == nil {
		value = after
	}
	want := content(t, codec.Protobuf, row, value)
	for _, f := range []codec.Format{codec.JSON, codec.YAML, codec.Protobuf, codec.CBOR} {
		a := s.do(t, "GET", prefix+"/"+path, nil, "Accept", f.MediaType())
		if a.code != 200 {
			t.Errorf("%s of %s in %s: %v", row.Kind, version, f.MediaType(), a)
			continue
		}
		for _, path := range differences("", want, content(t, f, row, a.body)) {
			known := func(suffix string) bool { return strings.HasSuffix(row.Kind.Kind+path, suffix) }
			if !slices.ContainsFunc(settled, known) {
				t.Errorf("%s of %s in %s differs in %s", row.Kind, version, f.MediaType(), path)
			}
		}
	}
}

// differences returns the paths at which two decoded JSON values differ.
func differences(path string, a, b any) []string {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok {
			return []string{path}
		}
		var out []string
		for name := range a {
			out = append(out, differences(path+"."+name, a[name], b[name])...)
		}
		for name := range b {
			if _, there := a[name]; !there {
				out = append(out, path+"."+name)
			}
		}
		return out
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return []string{path}
		}
		var out []string
		for i := range a {
			out = append(out, differences(path, a[i], b[i])...)
		}
		return out
	}
	if a != b {
		return []string{path}
	}
	return nil
}

// content is the JSON of an object but for its resourceVersion, which is the
// store's.
func content(t *testing.T, f codec.Format, row *registry.Resource, body []byte) map[string]any {
	t.Helper()
	obj := row.New()
	_, _, err := codec.Decode(f, body, row.Kind, obj, false)
	must(t, err)
	m, err := meta.Accessor(obj)
	must(t, err)
	m.SetResourceVersion("")
	out, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	must(t, err)
	return out
}
