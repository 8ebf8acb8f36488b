package gatekeeper_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/admission/opa/engine"
	"github.com/yare-io/yare/admission/opa/gatekeeper"
	"github.com/yare-io/yare/admission/opa/review"
)

// tricky are rules that evaluation by parameters could get wrong.
var tricky = map[string]string{
	"negation": `violation[{"msg": msg}] { p := input.parameters.labels[_]; not input.review.object.metadata.labels[p]; msg := p }`,
	"every":    `violation[{"msg": "none"}] { not any_label } any_label { input.review.object.metadata.labels[input.parameters.labels[_]] }`,
	"else":     `violation[{"msg": msg}] { msg := pick(input.parameters.mode) } pick(m) = "strict" { m == "strict"; not input.review.object.metadata.labels.app } else = "lax" { input.review.object.metadata.labels.app == "web" } else = "none" { true }`,
	"default":  `default mode = "off" mode = input.parameters.mode { true } violation[{"msg": mode}] { input.review.object.metadata.name == "web" }`,
	"compose":  `violation[{"msg": msg}] { wanted := {l | l := input.parameters.labels[_]}; given := {l | input.review.object.metadata.labels[l]}; missing := wanted - given; count(missing) > input.parameters.allowed; msg := sprintf("%v", [missing]) }`,
	"nested":   `violation[{"msg": msg}] { all := [c | c := input.review.object.spec.containers[_]; ok := [r | r := input.parameters.repos[_]; startswith(c.image, r)]; count(ok) == 0]; count(all) > 0; msg := sprintf("%v", [[c.name | c := all[_]]]) }`,
	"deep":     `violation[{"msg": msg}] { all := [c | c := input.review.object.spec.containers[_]; ok := [r | r := input.parameters.repos[_]; good(c.image)]; count(ok) == 0]; count(all) > 0; msg := "deep" } good(i) { startswith(i, input.parameters.repos[_]) }`,
	"deeper":   `violation[{"msg": msg}] { all := [c | c := input.review.object.spec.containers[_]; ok := [r | r := repos[_]; startswith(c.image, r)]; count(ok) == 0]; count(all) > 0; msg := "deeper" } repos[r] { r := input.parameters.repos[_] }`,
	"helper":   `violation[{"msg": msg}] { c := bad[_]; msg := c } bad[n] { c := input.review.object.spec.containers[_]; not good(c.image); n := c.name } good(i) { startswith(i, input.parameters.repos[_]) }`,
	"partial":  `violation[{"msg": msg}] { labels[k] = v; msg := concat("=", [k, v]) } labels[k] = v { v := input.review.object.metadata.labels[k]; input.parameters.labels[_] == k }`,
	"missing":  `violation[{"msg": msg}] { x := object.get(input.parameters, "absent", {"k": "dflt"}); msg := object.get(x, "k", "none") }`,
	"broken":   `violation[{"msg": msg}] { to_number(input.parameters.mode) > 0; msg := "number" } violation[{"msg": "not"}] { not to_number(input.parameters.mode) }`,
	"whole":    `violation[{"msg": msg}] { walk(input, [p, v]); v == "nginx:1"; msg := sprintf("%v", [p]) }`,
	"replaced": `violation[{"msg": msg}] { x with input as {"parameters": {"mode": "other"}}; msg := input.parameters.mode } x { input.parameters.mode == "other" }`,
	"time":     `violation[{"msg": "now"}] { time.now_ns() > 0; input.parameters.mode == "strict" }`,
	"plain":    `violation[{"details": {"a": 1}}] { input.review.object.metadata.name == "web" }`,
	"stored":   `violation[{"msg": msg}] { other := data.inventory.namespace[ns]["v1"].Service[name]; other.spec.clusterIP == input.parameters.address; msg := sprintf("%s/%s", [ns, name]) }`,
}

func TestParametersDecideTheSameAsTheTemplate(t *testing.T) {
	for name, rego := range tricky {
		template := fmt.Sprintf("apiVersion: templates.gatekeeper.sh/v1\nkind: ConstraintTemplate\nmetadata: {name: %s}\nspec:\n  crd: {spec: {names: {kind: %s}}}\n  targets:\n  - target: admission.k8s.gatekeeper.sh\n    rego: |\n      package %s\n      %s\n",
			name, name, name, strings.ReplaceAll(rego, "} ", "}\n      "))
		parameters := []string{"{}", "{parameters: {labels: [app, owner], mode: strict, allowed: 0, repos: [nginx, 'envoy:'], address: 10.0.0.1}}",
			"{parameters: {labels: [app], mode: '7', allowed: 1, repos: []}}", "{parameters: {labels: [], mode: '', allowed: -1, repos: ['']}}"}
		var all []string
		for i, spec := range parameters {
			all = append(all, constraint(name, fmt.Sprintf("c%d", i), spec))
		}
		e := newEngine(t)
		spoke := false
		for _, labels := range []map[string]string{nil, {"app": "web"}, {"app": "db", "owner": "ann"}} {
			var answers [2]string
			for i, asWritten := range []bool{true, false} {
				library, problems, err := (gatekeeper.Compiler{Store: engine.NewStore(inventory{}), AsWritten: asWritten}).Compile(t.Context(), objects(t, append(all, template)...))
				if err != nil || len(problems) > 0 {
					t.Fatalf("%s: %v, %v", name, problems, err)
				}
				checker := gatekeeper.NewChecker(e)
				checker.Use(library)
				a := podNamed("web", labels)
				a.Object.(*corev1.Pod).Spec.Containers = []corev1.Container{{Name: "a", Image: "nginx:1"}, {Name: "b", Image: "evil"}}
				denied, err := checker.Check(t.Context(), a, shop, review.New(a, shop))
				answers[i] = fmt.Sprint(denied, err)
				spoke = spoke || len(denied) > 0
			}
			if answers[0] != answers[1] {
				t.Errorf("%s, %v: as written %s, else %s", name, labels, answers[0], answers[1])
			}
		}
		if !spoke {
			t.Errorf("%s: never denied anything, so nothing was compared", name)
		}
	}
}
