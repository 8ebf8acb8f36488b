package opa_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// with is a bundle of one module, with its package as root. It may use what
// other bundles have, which opa build would not let pass.
func with(t *testing.T, path, body string) []byte {
	t.Helper()
	text := "package " + strings.ReplaceAll(path, "/", ".") + "\n\n" + body
	out := &bytes.Buffer{}
	err := bundle.NewWriter(out).Write(bundle.Bundle{
		Manifest: bundle.Manifest{Roots: &[]string{path}}, Data: map[string]any{},
		Modules: []bundle.ModuleFile{{Path: "p.rego", URL: "p.rego", Raw: []byte(text), Parsed: ast.MustParseModule(text)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// polled is the configuration of bundles that are asked for every second.
func polled(names ...string) string {
	config := "bundles:\n"
	for _, name := range names {
		config += fmt.Sprintf("  %s: {service: test, resource: %s, polling: {min_delay_seconds: 1, max_delay_seconds: 1}}\n", name, name)
	}
	return config
}

func TestBundlesMayUseEachOther(t *testing.T) {
	server := serveBundles(t)
	library := func(tag string) []byte {
		return with(t, "lib/images", fmt.Sprintf("floating(image) if endswith(image, %q)\n\nfloats contains image if some image in [\"old\"]\n", tag))
	}
	server.put("/lib", library(":latest"))
	server.put("/rules", with(t, "kubernetes/admission/images", `import data.lib.images

deny contains "it floats" if images.floating(input.request.object.spec.containers[_].image)

deny contains "it is old" if input.request.object.spec.containers[_].image in images.floats
`))
	server.put("/other", with(t, "kubernetes/admission/other", "deny contains \"other\" if input.request.name == \"other\"\n"))
	p := runIn(t, t.TempDir(), server.service(t)+polled("lib", "rules", "other")+lenient)
	p.ready()
	for image, said := range map[string]string{"nginx:latest": "it floats", "old": "it is old", "nginx:1": ""} {
		if err := p.admit(create(newPod(image))); said == "" && err != nil || said != "" && (err == nil || !strings.HasSuffix(err.Error(), said)) {
			t.Errorf("%s: got %v, want %q", image, err, said)
		}
	}
	t.Run("what others use cannot go away", func(t *testing.T) {
		server.put("/lib", with(t, "lib/images", "nothing := 1\n"))
		p.eventually("the bundle was refused", func() bool { return p.engine.BundleErrors()["lib"] != nil })
		if err := p.admit(create(newPod("nginx:latest"))); !apierrors.IsForbidden(err) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a change is seen by those who use it", func(t *testing.T) {
		server.put("/lib", library(":newest"))
		p.eventually("the change is in force", func() bool { return p.admit(create(newPod("nginx:newest"))) != nil })
		if err := p.admit(create(newPod("nginx:latest"))); err != nil {
			t.Error(err)
		}
		other := newPod("nginx:1")
		other.Name = "other"
		if err := p.admit(create(other)); err == nil || !strings.HasSuffix(err.Error(), "other") {
			t.Errorf("got %v", err)
		}
	})
}

func TestADiscoveredBundleCanGoAwayAgain(t *testing.T) {
	server := serveBundles(t)
	for _, name := range []string{"a", "b"} {
		server.put("/"+name, with(t, "kubernetes/admission/"+name, fmt.Sprintf("deny contains %q if true\n", "said "+name)))
	}
	discovered := func(names ...string) {
		var bundles []string
		for _, name := range names {
			bundles = append(bundles, fmt.Sprintf(`%q: {"service": "test", "resource": %q}`, name, name))
		}
		server.put("/discovery", build(t, nil, map[string]string{"config.rego": "package discovered\n\nbundles := {" + strings.Join(bundles, ", ") + "}\n"}))
	}
	discovered("a", "b")
	p := runIn(t, t.TempDir(), server.service(t)+"discovery: {service: test, resource: discovery, decision: discovered, polling: {min_delay_seconds: 1, max_delay_seconds: 1}}\n"+lenient)
	says := func(want string) func() bool {
		return func() bool {
			err := p.admit(create(newPod("nginx")))
			return err != nil && strings.HasSuffix(err.Error(), "forbidden: "+want)
		}
	}
	p.eventually("both bundles decide", says("said a; said b"))
	discovered("b")
	p.eventually("one bundle decides", says("said b"))
}

func TestAMaskOfOneBundleHoldsWhileOthersChange(t *testing.T) {
	server := serveBundles(t)
	server.put("/mask", with(t, "system/log", "mask contains \"/input/request/object\"\n"))
	server.put("/rules", with(t, "kubernetes/admission", "deny contains \"first\" if true\n"))
	file := t.TempDir() + "/decisions.log"
	p := runIn(t, t.TempDir(), server.service(t)+polled("mask", "rules")+
		fmt.Sprintf("decision_logs: {plugin: file_logger}\nplugins: {file_logger: {path: %q}, kubernetes_admission: {timeoutSeconds: 20}}\n", file))
	p.ready()
	server.put("/rules", with(t, "kubernetes/admission", "deny contains \"second\" if true\n"))
	p.eventually("the change is in force", func() bool {
		err := p.admit(create(newPod("secret-image")))
		return err != nil && strings.HasSuffix(err.Error(), "second")
	})
	p.eventually("the decision is in the log", func() bool { return strings.Contains(read(file), `"second"`) })
	if strings.Contains(read(file), "secret-image") {
		t.Error("a decision was logged without its mask")
	}
}
