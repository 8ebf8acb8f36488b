// Package kubectl drives every resource that the server has with the real
// kubectl, as a user would.
package kubectl

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/yare-io/yare/test/cluster"
)

// sample is one object of a resource.
type sample struct {
	object   *unstructured.Unstructured
	manifest string
}

func TestKubectlOnEveryResource(t *testing.T) {
	node := cluster.StartServer(t, cluster.NewLAN(t).NewHost("one"), "--disable-agent", "--storage-backend=memory")
	waitForAccount(t, node)
	samples := readSamples(t)
	for line := range strings.Lines(node.MustKubectl("api-resources", "--verbs=create,get,delete", "--no-headers")) {
		words := strings.Fields(line)
		kind, group := words[len(words)-1], words[len(words)-3]
		gv, err := schema.ParseGroupVersion(group)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.Trim(words[0]+"."+gv.Group, ".")
		t.Run(name, func(t *testing.T) {
			s, there := samples[gv.WithKind(kind)]
			if !there {
				t.Fatalf("testdata has no %s of %s", kind, gv)
			}
			(&walk{t: t, node: node, sample: s, resource: name}).run()
		})
	}
}

// waitForAccount waits for what pods are created with.
func waitForAccount(t *testing.T, node *cluster.Node) {
	t.Helper()
	node.MustKubectl("wait", "--for=create", "serviceaccount/default", "--timeout=20s")
}

// walk takes one resource the whole way from creation to deletion.
type walk struct {
	t        *testing.T
	node     *cluster.Node
	sample   sample
	resource string
}

func (w *walk) run() {
	name, object := w.sample.object.GetName(), w.resource+"/"+w.sample.object.GetName()
	w.says(w.do("apply", "--dry-run=server", "-f", "-"), "created (server dry run)")
	w.says(w.do("diff", "-f", "-"), name)
	w.says(w.do("apply", "-f", "-"), "created")
	w.says(w.do("apply", "--server-side", "--force-conflicts", "-f", "-"), "serverside-applied")
	w.says(w.do("get", object, "-o", "wide", "--no-headers"), name)
	w.says(w.do("get", object, "-o", "yaml"), "name: "+name)
	w.says(w.do("get", w.resource, "--sort-by=.metadata.name", "-o", "jsonpath={.items[*].metadata.name}"), name)
	stored := w.do("get", object, "-o", "json")
	w.says(stored, `"name": "`+name+`"`)
	w.says(w.doWith(stored, "replace", "-f", "-"), "replaced")
	w.says(w.do("describe", object), name)
	plural, _, _ := strings.Cut(w.resource, ".")
	w.says(w.do("explain", plural, "--recursive", "--api-version="+w.sample.object.GetAPIVersion()), "KIND:")
	w.says(w.do("label", object, "tested=yes"), "labeled")
	w.says(w.do("patch", object, "--type=merge", "-p", `{"metadata":{"annotations":{"patched":"yes"}}}`), "patched")
	w.edit(object)
	w.says(w.do("get", w.resource, "-l", "tested=edited", "-o", "name"), name)
	w.says(w.do("delete", object, "--wait=false", "--now"), "deleted")
	if w.do("get", object, "--ignore-not-found", "-o", "jsonpath={.metadata.finalizers}") != "" {
		w.do("patch", object, "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	}
	w.do("wait", "--for=delete", object, "--timeout=20s")
}

// do runs kubectl with the manifest on its standard input.
func (w *walk) do(args ...string) string {
	w.t.Helper()
	return w.doWith(w.sample.manifest, args...)
}

// doWith runs kubectl with some standard input. Exit code 1 of diff means that
// there is a difference.
func (w *walk) doWith(input string, args ...string) string {
	w.t.Helper()
	out, err := w.node.KubectlInput(input, args...)
	var exit interface{ ExitCode() int }
	if err != nil && !(args[0] == "diff" && errors.As(err, &exit) && exit.ExitCode() == 1) {
		w.t.Errorf("%v\n%s", err, out)
	}
	return out
}

// says checks what kubectl printed.
func (w *walk) says(out, want string) {
	w.t.Helper()
	if !strings.Contains(out, want) {
		w.t.Errorf("printed %q, want %q", out, want)
	}
}

// edit changes a label with an editor of one command.
func (w *walk) edit(object string) {
	w.t.Helper()
	w.t.Setenv("KUBE_EDITOR", "sed -i s/tested:.*/tested:\\ edited/")
	w.says(w.do("edit", object), "edited")
}

func readSamples(t *testing.T) map[schema.GroupVersionKind]sample {
	t.Helper()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	keys := newKeyMaterial(t)
	samples := map[schema.GroupVersionKind]sample{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(keys.Replace(string(data))), 4096)
		for {
			object := &unstructured.Unstructured{}
			if err := decoder.Decode(object); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			manifest, err := sigsyaml.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			samples[object.GroupVersionKind()] = sample{object, string(manifest)}
		}
	}
	return samples
}

// newKeyMaterial puts fresh keys where the samples have a word for them.
func newKeyMaterial(t *testing.T) *strings.Replacer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "jane"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	stub, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour)}
	bundle, err := x509.CreateCertificate(rand.Reader, authority, authority, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	return strings.NewReplacer(
		"REQUEST", base64.StdEncoding.EncodeToString(text("CERTIFICATE REQUEST", request)),
		"STUB", base64.StdEncoding.EncodeToString(stub),
		"BUNDLE", strconv.Quote(string(text("CERTIFICATE", bundle))),
	)
}
