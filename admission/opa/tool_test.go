package opa_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/opa"
	"github.com/yare-io/yare/admission/opa/engine"
	"github.com/yare-io/yare/admission/opa/gatekeeper"
	"github.com/yare-io/yare/admission/opa/inventory"
)

// opaBinary builds the tool of the OPA project, or finds it built.
var opaBinary = sync.OnceValues(func() (string, error) {
	const module = "../../test/policy/opatool"
	if out, err := exec.Command("go", "-C", module, "tool", "opa", "version").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	path, err := exec.Command("go", "-C", module, "tool", "-n", "opa").Output()
	return strings.TrimSpace(string(path)), err
})

// opaTool runs the tool in a directory.
func opaTool(t *testing.T, dir string, args ...string) {
	t.Helper()
	tool, err := opaBinary()
	if err != nil {
		t.Fatalf("there is no opa: %v", err)
	}
	command := exec.CommandContext(t.Context(), tool, args...)
	command.Dir = dir
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("opa %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// keyFiles makes a key pair: the signer, and the file with its private key.
func keyFiles(t *testing.T, dir string) (signer, string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "policy.key")
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(file, private, 0o600); err != nil {
		t.Fatal(err)
	}
	return signer{string(private), string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))}, file
}

// toolBuilds is a bundle built, and signed if there is a key, by `opa build`.
func toolBuilds(t *testing.T, files map[string]string, args ...string) []byte {
	t.Helper()
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "bundle.tar.gz")
	(&policies{t: t, dir: dir}).write(files)
	opaTool(t, dir, append([]string{"build", "--bundle", ".", "--output", out}, args...)...)
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestBundlesOfTheRealTool(t *testing.T) {
	dir := t.TempDir()
	keys, private := keyFiles(t, dir)
	claims := filepath.Join(dir, "claims.json")
	if err := os.WriteFile(claims, []byte(`{"keyid": "test", "scope": "production"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	policy := map[string]string{"a.rego": denyLatest, "data.json": `{"some": {"data": 1}}`}
	good := toolBuilds(t, policy, "--signing-key", private, "--claims-file", claims, "--revision", "v1")
	server := serveBundles(t)
	server.put("/bundle.tar.gz", good)
	config := server.service(t) + keys.keys() + strings.Replace(signedBundle, "{keyid: test}", "{keyid: test, scope: production}", 1) + lenient
	p := runIn(t, t.TempDir(), config)
	p.ready()
	for name, bad := range map[string][]byte{
		"of another scope":  toolBuilds(t, policy, "--signing-key", private, "--verification-key-id", "test"),
		"not signed":        toolBuilds(t, policy),
		"changed since":     tamper(t, good, "latest", "newest"),
		"cut off":           good[:len(good)/2],
		"without the rules": nil,
	} {
		server.put("/bundle.tar.gz", bad)
		p.eventually("the bundle was refused: "+name, func() bool { return p.engine.BundleErrors()["test"] != nil })
		if err := p.admit(create(newPod("nginx:latest"))); !apierrors.IsForbidden(err) {
			t.Errorf("%s: got %v", name, err)
		}
		server.put("/bundle.tar.gz", good)
		p.eventually("the good bundle is back", func() bool { return p.engine.BundleErrors()["test"] == nil })
	}
	t.Run("a directory signed by opa sign", func(t *testing.T) {
		signed := t.TempDir()
		(&policies{t: t, dir: signed}).write(policy)
		opaTool(t, signed, "sign", "--signing-key", private, "--claims-file", claims, "--bundle", ".")
		p := runIn(t, t.TempDir(), keys.keys()+"bundles:\n  test:\n    resource: file://"+signed+"\n    signing: {keyid: test, scope: production}\n"+lenient)
		p.ready()
		if err := p.admit(create(newPod("nginx:latest"))); !apierrors.IsForbidden(err) {
			t.Errorf("got %v", err)
		}
		(&policies{t: t, dir: signed}).write(map[string]string{"a.rego": strings.Replace(denyLatest, "latest", "newest", 1)})
		p.eventually("the changed file was noticed", func() bool { return p.engine.BundleErrors()["test"] != nil })
		if err := p.admit(create(newPod("nginx:latest"))); !apierrors.IsForbidden(err) {
			t.Errorf("after the change: got %v", err)
		}
	})
}

// many is a cluster with many objects of one resource.
type many []runtime.Object

func (m many) Get(_ context.Context, resource schema.GroupResource, namespace, name string) (runtime.Object, error) {
	for _, object := range m {
		if c := object.(*corev1.ConfigMap); c.Namespace == namespace && c.Name == name {
			return c, nil
		}
	}
	return nil, apierrors.NewNotFound(resource, name)
}

func (m many) List(context.Context, schema.GroupResource, string) ([]runtime.Object, error) {
	return m, nil
}

// TestPoliciesOfTheSizeThatUsersHave runs 500 rules, 100 constraints and 10,000
// objects that both look at.
func TestPoliciesOfTheSizeThatUsersHave(t *testing.T) {
	files := rulesFor(500)
	files["unique.rego"] = "package kubernetes.admission\n\ndeny contains sprintf(\"key %s is %s's\", [key, name]) if {\n\tkey := input.request.object.metadata.annotations.key\n\tsome name, other in data.kubernetes.configmaps.shop\n\tother.data.key == key\n}\n"
	server := serveBundles(t)
	server.put("/bundle.tar.gz", toolBuilds(t, files))
	var objects many
	for n := range 10000 {
		objects = append(objects, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("c%05d", n)}, Data: map[string]string{"key": fmt.Sprint(n)},
		})
	}
	cluster := inventory.New(objects, func() []inventory.Resource {
		return []inventory.Resource{{GroupResource: corev1.Resource("configmaps"), Kind: corev1.SchemeGroupVersion.WithKind("ConfigMap"), Namespaced: true}}
	})
	e, err := engine.New(engine.Config{
		OPA:      []byte(server.service(t) + "bundles:\n  test: {service: test, resource: bundle.tar.gz}\n" + lenient),
		StateDir: t.TempDir(), Overlay: cluster, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	library, problems, err := gatekeeper.Compiler{Store: engine.NewStore(cluster)}.Compile(t.Context(), constraints(t, 100))
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	checker := gatekeeper.NewChecker(e)
	checker.Use(library)
	p := &policies{t: t, engine: e, chain: admission.NewChain(opa.Plugins(e, fixedNamespaces{"shop": {}}, checker))}
	p.follow()
	p.ready()
	pod := largePod()
	if err := p.admit(create(pod)); err != nil {
		t.Error(err)
	}
	pod = largePod()
	pod.Annotations = map[string]string{"key": "9999"}
	pod.Labels = map[string]string{"l7": "x"}
	pod.Spec.Containers[0].Image = "banned-300/x"
	err = p.admit(create(pod))
	for _, want := range []string{"key 9999 is c09999's", "banned-300/x is banned", "[c7] label l7", "[taken] shop/c09999 has it"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}
