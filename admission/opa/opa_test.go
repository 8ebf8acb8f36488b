package opa_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/opa"
	"github.com/yare-io/yare/admission/opa/engine"
)

// fixedNamespaces are the namespaces of a test, by name, with their labels.
type fixedNamespaces map[string]map[string]string

func (n fixedNamespaces) Get(_ context.Context, name string) (*corev1.Namespace, error) {
	labels, ok := n[name]
	if !ok {
		return nil, apierrors.NewNotFound(corev1.Resource("namespaces"), name)
	}
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, nil
}

// policies is an engine over a directory, behind an admission chain.
type policies struct {
	t      testing.TB
	dir    string
	state  string
	engine *engine.Engine
	chain  *admission.Chain
}

// start runs an engine over files; settings is YAML, indented by four.
func start(t testing.TB, settings string, files map[string]string) *policies {
	t.Helper()
	p := &policies{t: t, dir: t.TempDir()}
	p.write(files)
	p.run(fmt.Sprintf("bundles:\n  test:\n    resource: file://%s\nplugins:\n  kubernetes_admission:\n    timeoutSeconds: 20\n%s", p.dir, settings))
	return p
}

func (p *policies) run(config string) {
	p.t.Helper()
	e, err := engine.New(engine.Config{OPA: []byte(config), StateDir: p.stateDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		p.t.Fatal(err)
	}
	p.engine = e
	mutator, validator := opa.Plugins(e, fixedNamespaces{"shop": {"team": "blue"}, "kube-system": {}}, nil)
	p.chain = admission.NewChain(mutator, validator)
	p.follow()
}

// follow runs the engine until the test ends.
func (p *policies) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.engine.Run(ctx) }()
	p.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			p.t.Error(err)
		}
	})
}

// stateDir is the one given, or one of its own.
func (p *policies) stateDir() string {
	if p.state == "" {
		p.state = p.t.TempDir()
	}
	return p.state
}

func (p *policies) write(files map[string]string) {
	p.t.Helper()
	for name, text := range files {
		path := filepath.Join(p.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			p.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *policies) ready() *policies {
	p.t.Helper()
	p.eventually("the bundle is active", func() bool { return p.engine.Ready() == nil })
	return p
}

func (p *policies) eventually(what string, condition func() bool) {
	p.t.Helper()
	err := wait.PollUntilContextTimeout(context.Background(), 10*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) { return condition(), nil })
	if err != nil {
		p.t.Fatalf("never saw that %s: %v", what, p.engine.Ready())
	}
}

// newEngine says what is wrong with a configuration.
func newEngine(t *testing.T, config string) error {
	_, err := engine.New(engine.Config{OPA: []byte(config), StateDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	return err
}

func envVar(name, value string) corev1.EnvVar { return corev1.EnvVar{Name: name, Value: value} }

func newPod(image string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: image}}},
	}
}

func create(pod *corev1.Pod) *admission.Attributes {
	return &admission.Attributes{
		Operation: admission.Create, Resource: corev1.SchemeGroupVersion.WithResource("pods"), Kind: corev1.SchemeGroupVersion.WithKind("Pod"),
		Namespace: pod.Namespace, Name: pod.Name, Object: pod, Options: &metav1.CreateOptions{}, User: &user.DefaultInfo{Name: "ann", UID: "7", Groups: []string{"devs"}},
	}
}

// admit takes a request through both halves of the chain.
func (p *policies) admit(a *admission.Attributes) error {
	if err := p.chain.Admit(p.t.Context(), a); err != nil {
		return err
	}
	return p.chain.Validate(p.t.Context(), a)
}

const denyLatest = `package kubernetes.admission

deny contains msg if {
	input.request.kind.kind == "Pod"
	some container in input.request.object.spec.containers
	endswith(container.image, ":latest")
	msg := sprintf("%s must have a fixed tag", [container.image])
}
`

func TestDenyRefusesWithItsMessages(t *testing.T) {
	p := start(t, "", map[string]string{"a.rego": denyLatest}).ready()
	if err := p.admit(create(newPod("nginx:1.29"))); err != nil {
		t.Error(err)
	}
	err := p.admit(create(newPod("nginx:latest")))
	if !apierrors.IsForbidden(err) || err.Error() != `pods "web" is forbidden: nginx:latest must have a fixed tag` {
		t.Errorf("got %v", err)
	}
}

func TestEveryKindOfResultCounts(t *testing.T) {
	p := start(t, "", map[string]string{"a.rego": `package kubernetes.admission.shop

violation contains {"msg": "no", "details": {"a": 1}, "code": 422} if input.request.name == "violation"

deny contains {"message": "never"} if input.request.name == "object"

warn contains "careful" if input.request.name == "warn"
`, "b.rego": `package main

deny := true if input.request.name == "truth"
`, "c.rego": `package system

main := {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {
	"uid": input.request.uid, "allowed": false, "status": {"message": "said main", "code": 409},
}} if input.request.name == "main"
`}).ready()
	for name, want := range map[string]string{
		"violation": "no", "object": "never", "truth": "refused by data.main.deny", "main": "said main", "warn": "", "none": "",
	} {
		pod := newPod("nginx:1")
		pod.Name = name
		a := create(pod)
		err := p.admit(a)
		if (err == nil) != (want == "") || err != nil && !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
		if warned := len(a.Warnings()) > 0; warned != (name == "warn") {
			t.Errorf("%s: warnings %v", name, a.Warnings())
		}
	}
}

func TestPoliciesSeeTheAdmissionReview(t *testing.T) {
	p := start(t, "", map[string]string{"a.rego": `package kubernetes.admission

expected if {
	input.kind == "AdmissionReview"
	request := input.request
	request.uid != ""
	request.operation == "UPDATE"
	request.kind == {"group": "", "version": "v1", "kind": "Pod"}
	request.resource == {"group": "", "version": "v1", "resource": "pods"}
	request.userInfo == {"username": "ann", "uid": "7", "groups": ["devs"]}
	request.object.kind == "Pod"
	request.object.metadata.name == "web"
	request.oldObject.spec.containers[0].image == "nginx:0"
	request.options.kind == "UpdateOptions"
	request.dryRun == true
	request.namespace == "shop"
	request.namespaceObject.metadata.labels.team == "blue"
}

deny contains "not as expected" if not expected
`}).ready()
	a := create(newPod("nginx:1"))
	a.Operation, a.OldObject, a.Options, a.DryRun = admission.Update, newPod("nginx:0"), &metav1.UpdateOptions{}, true
	if err := p.admit(a); err != nil {
		t.Error(err)
	}
}

func TestPatchChangesTheObjectBeforeItIsJudged(t *testing.T) {
	p := start(t, "", map[string]string{"a.rego": `package kubernetes.admission

patch contains {"op": "add", "path": "/metadata/labels", "value": {"owner": input.request.userInfo.username}} if {
	input.request.operation == "CREATE"
}

deny contains "who owns this?" if not input.request.object.metadata.labels.owner
`}).ready()
	a := create(newPod("nginx:1"))
	if err := p.admit(a); err != nil {
		t.Fatal(err)
	}
	if got := a.Object.(*corev1.Pod).Labels["owner"]; got != "ann" {
		t.Errorf("owner %q", got)
	}
}

func TestAPatchThatDoesNotFitRefuses(t *testing.T) {
	for name, patch := range map[string]string{
		"renames":       `{"op": "replace", "path": "/metadata/name", "value": "other"}`,
		"moves":         `{"op": "replace", "path": "/metadata/namespace", "value": "other"}`,
		"unknown field": `{"op": "add", "path": "/spec/nonsense", "value": 1}`,
		"wrong type":    `{"op": "add", "path": "/spec/nodeName", "value": 1}`,
		"no path":       `{"op": "replace", "path": "/spec/absent/deep", "value": 1}`,
		"no operation":  `"replace"`,
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, "", map[string]string{"a.rego": "package kubernetes.admission\n\npatch contains " + patch + "\n"}).ready()
			a := create(newPod("nginx:1"))
			if err := p.admit(a); !apierrors.IsInternalError(err) {
				t.Errorf("got %v", err)
			}
			if a.Object.(*corev1.Pod).Name != "web" {
				t.Error("the object was changed")
			}
		})
	}
}

func TestABadBundleDoesNotReplaceAGoodOne(t *testing.T) {
	p := start(t, "", map[string]string{"a.rego": denyLatest}).ready()
	for name, bad := range map[string]string{
		"does not parse":   "package kubernetes.admission\n\ndeny contains",
		"does not compile": "package kubernetes.admission\n\ndeny contains nothing.here(1) if true\n",
		"reaches outside":  "package kubernetes.admission\n\ndeny contains msg if msg := http.send({\"url\": \"http://127.0.0.1\", \"method\": \"get\"}).body\n",
	} {
		p.write(map[string]string{"bad.rego": bad})
		p.eventually("the bad bundle was looked at: "+name, func() bool { return p.engine.BundleErrors()["test"] != nil })
		if err := p.admit(create(newPod("nginx:latest"))); !apierrors.IsForbidden(err) {
			t.Errorf("%s: got %v", name, err)
		}
		if err := os.Remove(filepath.Join(p.dir, "bad.rego")); err != nil {
			t.Fatal(err)
		}
		p.eventually("the good bundle is back", func() bool { return p.engine.BundleErrors()["test"] == nil })
	}
	p.write(map[string]string{"a.rego": strings.Replace(denyLatest, "latest", "newest", 1)})
	p.eventually("the change is in force", func() bool { return p.admit(create(newPod("nginx:latest"))) == nil })
}

func TestRequestsInScopeWaitForTheFirstBundle(t *testing.T) {
	for answer, admitted := range map[string]bool{"": false, "    beforeActivation: Allow\n": true} {
		p := start(t, answer, map[string]string{"a.rego": "package broken\n\nx if"})
		p.eventually("the bundle was refused", func() bool { return p.engine.BundleErrors()["test"] != nil })
		if err := p.admit(create(newPod("nginx:1"))); (err == nil) != admitted || err != nil && !apierrors.IsServiceUnavailable(err) {
			t.Errorf("%q: got %v", answer, err)
		}
		exempt := create(newPod("nginx:1"))
		exempt.Namespace = "kube-system"
		if err := p.admit(exempt); err != nil {
			t.Error(err)
		}
	}
}

func TestAnEvaluationIsStoppedAtItsLimits(t *testing.T) {
	slow := "package kubernetes.admission\n\ndeny contains \"never\" if {\n\tsome i in numbers.range(1, 100000)\n\tsome j in numbers.range(1, 100000)\n\ti + j == 0\n}\n"
	greedy := "package kubernetes.admission\n\ndeny contains sprintf(\"%d %d\", [i, j]) if {\n\tsome i in numbers.range(1, 3000)\n\tsome j in numbers.range(1, 3000)\n}\n"
	for name, test := range map[string]struct{ settings, policy string }{
		"time":   {"    timeoutSeconds: 0.05\n", slow},
		"steps":  {"    timeoutSeconds: 20\n    stepsLimit: 1000\n", slow},
		"memory": {"    memoryLimitMiB: 16\n", greedy},
	} {
		t.Run(name, func(t *testing.T) {
			for answer, admitted := range map[string]bool{"": false, "    onError: Allow\n": true} {
				p := &policies{t: t, dir: t.TempDir()}
				p.write(map[string]string{"a.rego": test.policy})
				p.run(fmt.Sprintf("bundles:\n  test:\n    resource: file://%s\nplugins:\n  kubernetes_admission:\n%s%s", p.dir, test.settings, answer))
				p.ready()
				err := p.admit(create(newPod("nginx:1")))
				if (err == nil) != admitted || err != nil && !strings.Contains(err.Error(), "the evaluation was stopped") {
					t.Errorf("%q: got %v", answer, err)
				}
			}
		})
	}
}
