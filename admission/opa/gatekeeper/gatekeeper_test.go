package gatekeeper_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/storage"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apiserver/pkg/authentication/user"
	"sigs.k8s.io/yaml"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/opa/engine"
	"github.com/yare-io/yare/admission/opa/gatekeeper"
	"github.com/yare-io/yare/admission/opa/review"
)

// requiredLabels is written as Gatekeeper's documents write templates: Rego v0,
// with a library.
const requiredLabels = `
apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: needslabels}
spec:
  crd: {spec: {names: {kind: NeedsLabels}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    rego: |
      package needslabels
      import data.lib.sets

      violation[{"msg": msg, "details": {"missing": missing}}] {
        given := {label | input.review.object.metadata.labels[label]}
        wanted := {label | label := input.parameters.labels[_]}
        missing := sets.without(wanted, given)
        count(missing) > 0
        msg := sprintf("labels are missing: %v", [missing])
      }
    libs:
    - |
      package lib.sets
      without(a, b) = out { out := a - b }
`

const uniqueAddress = `
apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: uniqueaddress}
spec:
  crd: {spec: {names: {kind: UniqueAddress}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    code:
    - engine: Rego
      source:
        version: v1
        rego: |
          package uniqueaddress
          violation contains {"msg": msg} if {
            some namespace, name
            other := data.inventory.namespace[namespace]["v1"]["Service"][name]
            other.spec.clusterIP == input.review.object.spec.clusterIP
            msg := sprintf("%s/%s has this address", [namespace, name])
          }
`

func constraint(kind, name, spec string) string {
	return fmt.Sprintf("apiVersion: constraints.gatekeeper.sh/v1beta1\nkind: %s\nmetadata: {name: %s}\nspec: %s\n", kind, name, spec)
}

func objects(t testing.TB, manifests ...string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	for _, manifest := range manifests {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(manifest), &object.Object); err != nil {
			t.Fatal(err)
		}
		all = append(all, object)
	}
	return all
}

// service in the inventory of every test.
type inventory struct{}

func (inventory) Read(_ context.Context, path storage.Path) (any, bool, error) {
	tree := map[string]any{"namespace": map[string]any{"shop": map[string]any{"v1": map[string]any{"Service": map[string]any{
		"web": map[string]any{"spec": map[string]any{"clusterIP": "10.0.0.1"}},
	}}}}}
	if len(path) == 0 || path[0] != "inventory" {
		return nil, false, nil
	}
	var value any = tree
	for _, key := range path[1:] {
		value = value.(map[string]any)[key]
		if value == nil {
			return nil, true, &storage.Error{Code: storage.NotFoundErr}
		}
	}
	return value, true, nil
}

func newEngine(t testing.TB) *engine.Engine {
	t.Helper()
	e, err := engine.New(engine.Config{OPA: []byte("plugins: {kubernetes_admission: {timeoutSeconds: 20}}"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func newChecker(t testing.TB, manifests ...string) (*gatekeeper.Checker, error) {
	t.Helper()
	e := newEngine(t)
	library, problems, err := gatekeeper.Compiler{Store: engine.NewStore(inventory{})}.Compile(t.Context(), objects(t, manifests...))
	if err != nil {
		t.Fatal(err)
	}
	var errs []error
	for _, problem := range problems {
		errs = append(errs, problem)
	}
	checker := gatekeeper.NewChecker(e)
	checker.Use(library)
	return checker, errors.Join(errs...)
}

// check asks about a request.
func check(ctx context.Context, c *gatekeeper.Checker, a *admission.Attributes) ([]string, error) {
	return c.Check(ctx, a, shop, review.New(a, shop))
}

func podNamed(name string, labels map[string]string) *admission.Attributes {
	return &admission.Attributes{
		Operation: admission.Create, Resource: corev1.SchemeGroupVersion.WithResource("pods"), Kind: corev1.SchemeGroupVersion.WithKind("Pod"),
		Namespace: "shop", Name: name, User: &user.DefaultInfo{Name: "ann"}, Options: &metav1.CreateOptions{},
		Object: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", Labels: labels}},
	}
}

var shop = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"team": "blue"}}}

func TestActionsOfConstraints(t *testing.T) {
	for _, test := range []struct{ action, denied, warned string }{
		{"", "[c] labels are missing: {\"owner\"}", ""},
		{"enforcementAction: deny, ", "[c] labels are missing: {\"owner\"}", ""},
		{"enforcementAction: warn, ", "", "[c] labels are missing: {\"owner\"}"},
		{"enforcementAction: dryrun, ", "", ""},
		{"enforcementAction: scoped, scopedEnforcementActions: [{action: warn, enforcementPoints: [{name: validation.gatekeeper.sh}]}, {action: deny, enforcementPoints: [{name: audit.gatekeeper.sh}]}], ", "", "[c] labels are missing: {\"owner\"}"},
	} {
		checker, err := newChecker(t, requiredLabels, constraint("NeedsLabels", "c", "{"+test.action+"parameters: {labels: [owner]}}"))
		if err != nil {
			t.Fatal(err)
		}
		a := podNamed("web", map[string]string{"app": "web"})
		denied, err := check(t.Context(), checker, a)
		if err != nil || strings.Join(denied, " ") != test.denied || strings.Join(a.Warnings(), " ") != test.warned {
			t.Errorf("%q: denied %v, warned %v, %v", test.action, denied, a.Warnings(), err)
		}
		if a.Annotations()["gatekeeper.admission.yare.io/violations"] == "" {
			t.Errorf("%q: nothing in the audit event", test.action)
		}
		if denied, err := check(t.Context(), checker, podNamed("web", map[string]string{"owner": "ann"})); err != nil || len(denied) > 0 {
			t.Errorf("%q: denied %v, %v", test.action, denied, err)
		}
	}
}

func TestMatchCriteria(t *testing.T) {
	for spec, want := range map[string]bool{
		"{}": true,
		"{match: {kinds: [{apiGroups: [''], kinds: [Pod]}]}}":                                       true,
		"{match: {kinds: [{apiGroups: ['*'], kinds: ['*']}]}}":                                      true,
		"{match: {kinds: [{apiGroups: [apps], kinds: [Pod]}]}}":                                     false,
		"{match: {kinds: [{apiGroups: [apps], kinds: [Deployment]}, {kinds: [Pod]}]}}":              true,
		"{match: {scope: Namespaced}}":                                                              true,
		"{match: {scope: Cluster}}":                                                                 false,
		"{match: {namespaces: [shop]}}":                                                             true,
		"{match: {namespaces: ['sh*']}}":                                                            true,
		"{match: {namespaces: [other]}}":                                                            false,
		"{match: {excludedNamespaces: ['*op']}}":                                                    false,
		"{match: {labelSelector: {matchLabels: {app: web}}}}":                                       true,
		"{match: {labelSelector: {matchLabels: {app: db}}}}":                                        false,
		"{match: {labelSelector: {matchExpressions: [{key: app, operator: NotIn, values: [db]}]}}}": true,
		"{match: {namespaceSelector: {matchLabels: {team: blue}}}}":                                 true,
		"{match: {namespaceSelector: {matchLabels: {team: red}}}}":                                  false,
		"{match: {name: web}}":                                                                      true,
		"{match: {name: 'we*'}}":                                                                    true,
		"{match: {name: db}}":                                                                       false,
		"{match: {source: Generated}}":                                                              false,
	} {
		checker, err := newChecker(t, requiredLabels, constraint("NeedsLabels", "c", strings.Replace(spec, "{", "{parameters: {labels: [owner]}, ", 1)))
		if err != nil {
			t.Fatal(err)
		}
		denied, err := check(t.Context(), checker, podNamed("web", map[string]string{"app": "web"}))
		if err != nil || (len(denied) > 0) != want {
			t.Errorf("%s: denied %v, %v; want %v", spec, denied, err, want)
		}
	}
}

func TestConstraintsSeeTheInventory(t *testing.T) {
	checker, err := newChecker(t, uniqueAddress, constraint("UniqueAddress", "u", "{match: {kinds: [{kinds: [Service]}]}}"))
	if err != nil {
		t.Fatal(err)
	}
	a := podNamed("db", nil)
	a.Kind, a.Resource = corev1.SchemeGroupVersion.WithKind("Service"), corev1.SchemeGroupVersion.WithResource("services")
	for address, want := range map[string]string{"10.0.0.1": "[u] shop/web has this address", "10.0.0.2": ""} {
		a.Object = &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "db", Namespace: "shop"}, Spec: corev1.ServiceSpec{ClusterIP: address}}
		denied, err := check(t.Context(), checker, a)
		if err != nil || strings.Join(denied, "") != want {
			t.Errorf("%s: %v, %v", address, denied, err)
		}
	}
}

func TestWrongObjectsAreLeftOutAndTheRestIsInForce(t *testing.T) {
	broken := func(name, rego string) string {
		return fmt.Sprintf("apiVersion: templates.gatekeeper.sh/v1\nkind: ConstraintTemplate\nmetadata: {name: %s}\nspec:\n  crd: {spec: {names: {kind: %s}}}\n  targets:\n  - target: admission.k8s.gatekeeper.sh\n    rego: |\n      %s\n",
			strings.ToLower(name), name, strings.ReplaceAll(rego, "\n", "\n      "))
	}
	checker, err := newChecker(t, requiredLabels,
		constraint("NeedsLabels", "good", "{parameters: {labels: [owner]}}"),
		constraint("NeedsLabels", "badaction", "{enforcementAction: shout}"),
		constraint("NeedsLabels", "badselector", "{match: {labelSelector: {matchExpressions: [{key: a, operator: Perhaps}]}}}"),
		constraint("Nobody", "orphan", "{}"),
		broken("Unparsed", "package p\nviolation["),
		broken("Uncompiled", "package p\nviolation[{\"msg\": m}] { m := nothing.at.all(1) }"),
		broken("Elsewhere", "package p\nviolation[{\"msg\": m}] { m := data.secrets.all }"),
		broken("Calls", "package p\nviolation[{\"msg\": m}] { m := http.send({\"url\": \"http://127.0.0.1\", \"method\": \"get\"}).body }"),
		broken("Empty", "package p\nother = 1"),
	)
	for _, name := range []string{"badaction", "badselector", "orphan", "unparsed", "uncompiled", "elsewhere", "calls", "empty"} {
		if err == nil || !strings.Contains(err.Error(), " "+name+":") {
			t.Errorf("no error about %s in: %v", name, err)
		}
	}
	denied, err := check(t.Context(), checker, podNamed("web", nil))
	if err != nil || !slices.Equal(denied, []string{`[good] labels are missing: {"owner"}`}) {
		t.Errorf("%v, %v", denied, err)
	}
}

func TestADeletedObjectIsShownAsTheObject(t *testing.T) {
	checker, err := newChecker(t, requiredLabels, constraint("NeedsLabels", "c", "{parameters: {labels: [owner]}}"))
	if err != nil {
		t.Fatal(err)
	}
	a := podNamed("web", nil)
	a.Operation, a.Object, a.OldObject = admission.Delete, nil, a.Object
	if denied, err := check(t.Context(), checker, a); err != nil || len(denied) != 1 {
		t.Errorf("%v, %v", denied, err)
	}
}

func FuzzTemplatesAndConstraintsNeverPanic(f *testing.F) {
	f.Add("package p\nviolation[{\"msg\": \"m\"}] { true }", `{"match": {"kinds": [{"kinds": ["Pod"]}], "scope": "Cluster"}, "enforcementAction": "warn"}`)
	f.Add("package p\nimport data.lib.a\nviolation[{\"msg\": a.x}]", `{"match": {"namespaceSelector": {"matchLabels": {"a": "b"}}, "name": "*"}}`)
	f.Fuzz(func(t *testing.T, rego, spec string) {
		var decoded any
		if yaml.Unmarshal([]byte(spec), &decoded) != nil {
			return
		}
		template := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "templates.gatekeeper.sh/v1", "kind": "ConstraintTemplate", "metadata": map[string]any{"name": "fuzzed"},
			"spec": map[string]any{
				"crd":     map[string]any{"spec": map[string]any{"names": map[string]any{"kind": "Fuzzed"}}},
				"targets": []any{map[string]any{"target": "admission.k8s.gatekeeper.sh", "rego": rego}},
			},
		}}
		fuzzed := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "constraints.gatekeeper.sh/v1beta1", "kind": "Fuzzed", "metadata": map[string]any{"name": "c"}, "spec": decoded,
		}}
		if _, _, err := (gatekeeper.Compiler{Store: engine.NewStore(nil)}).Compile(t.Context(), []*unstructured.Unstructured{template, fuzzed}); err != nil {
			return
		}
	})
}

// oneHundred constraints of twenty templates that all concern pods.
func oneHundred() []string {
	var manifests []string
	for n := range 20 {
		kind := fmt.Sprintf("NeedsLabels%d", n)
		manifests = append(manifests, strings.NewReplacer("NeedsLabels", kind, "name: needslabels", "name: "+strings.ToLower(kind)).Replace(requiredLabels))
		for m := range 5 {
			manifests = append(manifests, constraint(kind, fmt.Sprintf("c%d", m), "{match: {kinds: [{apiGroups: [''], kinds: [Pod]}], excludedNamespaces: [kube-system]}, parameters: {labels: [owner, app]}}"))
		}
	}
	return manifests
}

// BenchmarkPodWith100Constraints asks by the rules that parameters decide, and
// beside it by the templates as they are written.
func BenchmarkPodWith100Constraints(b *testing.B) {
	for _, way := range []struct {
		name      string
		asWritten bool
		heap      int
	}{{"by-parameters", false, 0}, {"by-parameters-in-a-servers-heap", false, idleHeap}, {"as-written", true, 0}} {
		b.Run(way.name, func(b *testing.B) {
			library, problems, err := (gatekeeper.Compiler{Store: engine.NewStore(nil), AsWritten: way.asWritten}).Compile(b.Context(), objects(b, oneHundred()...))
			if err != nil || len(problems) > 0 {
				b.Fatal(problems, err)
			}
			checker := gatekeeper.NewChecker(newEngine(b))
			checker.Use(library)
			heap := make([]byte, way.heap)
			ask(b, checker)
			runtime.KeepAlive(heap)
		})
	}
}

// idleHeap is about what lives in the heap of a server that has nothing to do: how
// often garbage is collected, hangs on it.
const idleHeap = 40 << 20

// ask asks about a pod again and again, and reports the processor time, which
// other work on the machine disturbs less.
func ask(b *testing.B, checker *gatekeeper.Checker) {
	a := podNamed("web", map[string]string{"owner": "ann", "app": "web"})
	a.Object.(*corev1.Pod).Spec.Containers = []corev1.Container{{Name: "main", Image: "nginx:1.29", Env: []corev1.EnvVar{{Name: "A", Value: "b"}}}, {Name: "side", Image: "envoy:1"}}
	b.ReportAllocs()
	var took []time.Duration
	before := processorTime(b)
	for b.Loop() {
		began := time.Now()
		if denied, err := check(b.Context(), checker, a); err != nil || len(denied) > 0 {
			b.Fatal(denied, err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(len(took)), "cpu-µs/op")
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
