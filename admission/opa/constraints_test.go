package opa_test

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const forbiddenLabel = `apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: forbiddenlabel%[1]d}
spec:
  crd: {spec: {names: {kind: ForbiddenLabel%[1]d}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    rego: |
      package forbidden
      violation[{"msg": msg}] {
        given := {label | input.review.object.metadata.labels[label]}
        forbidden := {label | label := input.parameters.labels[_]}
        found := given & forbidden
        count(found) > 0
        msg := sprintf("label %%v", [found[_]])
      }
`

const takenKey = `apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: takenkey}
spec:
  crd: {spec: {names: {kind: TakenKey}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    rego: |
      package taken
      violation[{"msg": msg}] {
        key := input.review.object.metadata.annotations.key
        data.inventory.namespace[namespace]["v1"].ConfigMap[name].data.key == key
        msg := sprintf("%v/%v has it", [namespace, name])
      }
`

// constraints are so many, of a template for each five, and one that looks at
// the inventory.
func constraints(t testing.TB, count int) []*unstructured.Unstructured {
	t.Helper()
	texts := []string{takenKey, "apiVersion: constraints.gatekeeper.sh/v1beta1\nkind: TakenKey\nmetadata: {name: taken}\nspec: {match: {kinds: [{kinds: [Pod]}]}}\n"}
	for n := range count - 1 {
		if n%5 == 0 {
			texts = append(texts, fmt.Sprintf(forbiddenLabel, n/5))
		}
		texts = append(texts, fmt.Sprintf("apiVersion: constraints.gatekeeper.sh/v1beta1\nkind: ForbiddenLabel%d\nmetadata: {name: c%d}\nspec: {match: {kinds: [{kinds: [Pod]}]}, parameters: {labels: [l%d]}}\n", n/5, n, n))
	}
	objects := make([]*unstructured.Unstructured, len(texts))
	for i, text := range texts {
		objects[i] = &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &objects[i].Object); err != nil {
			t.Fatal(err)
		}
	}
	return objects
}
