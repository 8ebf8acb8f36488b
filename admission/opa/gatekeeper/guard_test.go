package gatekeeper_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/opa/gatekeeper"
)

func TestWrongObjectsAreNotStored(t *testing.T) {
	checker, err := newChecker(t, requiredLabels)
	if err != nil {
		t.Fatal(err)
	}
	guard := gatekeeper.NewGuard(checker)
	assign := func(spec string) string {
		return "apiVersion: mutations.gatekeeper.sh/v1\nkind: Assign\nmetadata: {name: a}\nspec: " + spec + "\n"
	}
	rego := func(text string) string {
		return "apiVersion: templates.gatekeeper.sh/v1\nkind: ConstraintTemplate\nmetadata: {name: t}\nspec: {crd: {spec: {names: {kind: T}}}, targets: [{target: admission.k8s.gatekeeper.sh, rego: '" + text + "'}]}\n"
	}
	cel := func(expression string) string {
		return "apiVersion: templates.gatekeeper.sh/v1\nkind: ConstraintTemplate\nmetadata: {name: t}\nspec: {crd: {spec: {names: {kind: T}}}, targets: [{target: admission.k8s.gatekeeper.sh, code: [{engine: K8sNativeValidation, source: {validations: [{expression: '" + expression + "'}]}}]}]}\n"
	}
	const applyTo = "applyTo: [{groups: [''], versions: [v1], kinds: [Pod]}]"
	for _, test := range []struct{ object, why string }{
		{requiredLabels, ""},
		{rego("package t\nviolation["), "rego_parse_error"},
		{rego("package t\nviolation[{\"msg\": m}] { m := nothing.here(1) }"), "undefined function"},
		{rego("package t\nviolation[{\"msg\": m}] { m := http.send({}).body }"), "http.send"},
		{cel("variables.anyObject.metadata.name != \"x\""), ""},
		{cel("object.metadata.name +"), "validations[0].expression"},
		{constraint("NeedsLabels", "c", "{parameters: {labels: [a]}}"), ""},
		{constraint("NeedsLabels", "c", "{enforcementAction: shout}"), "enforcementAction"},
		{constraint("NeedsLabels", "c", "{match: {scope: Galaxy}}"), "match.scope"},
		{constraint("NeedsLabels", "c", "{match: {kinds: Pod}}"), "cannot unmarshal"},
		{assign("{" + applyTo + ", location: spec.hostNetwork, parameters: {assign: {value: false}}}"), ""},
		{assign("{" + applyTo + ", location: metadata.name, parameters: {assign: {value: x}}}"), "AssignMetadata"},
		{assign("{" + applyTo + ", location: spec.x, parameters: {assign: {externalData: {provider: p}}}}"), "externalData is not supported"},
		{assign("{location: spec.x, parameters: {assign: {value: x}}}"), "applyTo is needed"},
		{"apiVersion: config.gatekeeper.sh/v1alpha1\nkind: Config\nmetadata: {name: other}\nspec: {}\n", "called config"},
		{"apiVersion: externaldata.gatekeeper.sh/v1beta1\nkind: Provider\nmetadata: {name: p}\nspec: {}\n", "not supported"},
		{"apiVersion: expansion.gatekeeper.sh/v1beta1\nkind: ExpansionTemplate\nmetadata: {name: p}\nspec: {}\n", "not supported"},
	} {
		object := objects(t, test.object)[0]
		a := asked(object)
		a.Resource.Group = object.GroupVersionKind().Group
		err := guard.Validate(t.Context(), a)
		if (err == nil) != (test.why == "") || err != nil && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), test.why)) {
			t.Errorf("got %v, want %q about %s", err, test.why, test.object)
		}
	}
}

func TestMutatorsAreAppliedUntilNothingChanges(t *testing.T) {
	mutator := func(kind, name, rest string) string {
		return "apiVersion: mutations.gatekeeper.sh/v1\nkind: " + kind + "\nmetadata: {name: " + name + "}\nspec: {" + rest + "}\n"
	}
	const pods = "applyTo: [{groups: [''], versions: [v1], kinds: [Pod]}], "
	for name, test := range map[string]struct {
		mutators []string
		want     string
		fails    bool
	}{
		"in order of need": {[]string{
			mutator("Assign", "a", pods+"location: spec.securityContext.runAsUser, parameters: {pathTests: [{subPath: spec.securityContext, condition: MustExist}], assign: {value: 7}}"),
			mutator("Assign", "b", pods+"location: spec.securityContext.runAsGroup, parameters: {assign: {value: 8}}"),
		}, `"runAsUser":7,"runAsGroup":8`, false},
		"from metadata":    {[]string{mutator("AssignMetadata", "a", "location: metadata.labels.own, parameters: {assign: {fromMetadata: {field: namespace}}}")}, `"own":"shop"`, false},
		"not concerned":    {[]string{mutator("AssignMetadata", "a", "match: {namespaces: [other]}, location: metadata.labels.own, parameters: {assign: {value: x}}")}, `"labels":{"app":"web"}`, false},
		"on update only":   {[]string{mutator("Assign", "a", "applyTo: [{groups: [''], versions: [v1], kinds: [Pod], operations: [UPDATE]}], location: spec.nodeName, parameters: {assign: {value: n1}}")}, `"spec":{"containers":null}`, false},
		"no end":           {[]string{mutator("Assign", "a", pods+"location: spec.nodeName, parameters: {assign: {value: n1}}"), mutator("Assign", "b", pods+"location: spec.nodeName, parameters: {assign: {value: n2}}")}, "", true},
		"an unknown field": {[]string{mutator("Assign", "a", pods+"location: spec.nonsense, parameters: {assign: {value: n1}}")}, "", true},
	} {
		checker, err := newChecker(t, test.mutators...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		a := podNamed("web", map[string]string{"app": "web"})
		err = checker.Mutate(a, shop)
		if got := encoded(t, a); (err != nil) != test.fails || !strings.Contains(got, test.want) {
			t.Errorf("%s: %v, %s", name, err, got)
		}
		if mutated := a.Annotations()["gatekeeper.admission.yare.io/mutated"] != ""; mutated != (err == nil && name != "not concerned" && name != "on update only") {
			t.Errorf("%s: annotated: %v", name, mutated)
		}
	}
	t.Run("contradictions", func(t *testing.T) {
		_, err := newChecker(t, mutator("Assign", "a", pods+"location: 'spec.containers[name: a].image', parameters: {assign: {value: x}}"),
			mutator("Assign", "b", pods+"location: 'spec.containers[image: a].name', parameters: {assign: {value: x}}"))
		if err == nil || !strings.Contains(err.Error(), "contradicts") {
			t.Errorf("got %v", err)
		}
	})
}

func TestConfigLeavesNamespacesAlone(t *testing.T) {
	for processes, denied := range map[string]int{"[webhook]": 0, "['*']": 0, "[audit]": 1} {
		checker, err := newChecker(t, requiredLabels, constraint("NeedsLabels", "c", "{parameters: {labels: [owner]}}"),
			"apiVersion: config.gatekeeper.sh/v1alpha1\nkind: Config\nmetadata: {name: config}\nspec: {match: [{excludedNamespaces: ['sh*'], processes: "+processes+"}]}\n")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := check(context.Background(), checker, podNamed("web", nil)); err != nil || len(got) != denied {
			t.Errorf("%s: %v, %v", processes, got, err)
		}
	}
}

// encoded is a request's object in JSON.
func encoded(t *testing.T, a *admission.Attributes) string {
	t.Helper()
	raw, err := json.Marshal(a.Object)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
