package admissionregistration_test

import (
	"encoding/json"
	"fmt"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/yare-io/yare/apiserver/api/admissionregistration"
	"github.com/yare-io/yare/apiserver/api/rowtest"
)

const mutatingWebhook = `
metadata: {name: inject}
webhooks:
- name: inject.example.com
  clientConfig: {service: {namespace: hooks, name: inject, path: /mutate/pods}}
  rules:
  - {operations: [CREATE, UPDATE], apiGroups: [""], apiVersions: [v1], resources: [pods]}
  sideEffects: None
  admissionReviewVersions: [v1]
  matchConditions:
  - {name: not-leases, expression: '!(request.resource.group == "coordination.k8s.io")'}
`

// webhook replaces the base's webhook by one with changes, a merge patch.
func webhook(changes string) string {
	patch, err := yaml.YAMLToJSON([]byte(changes))
	if err != nil {
		panic(err)
	}
	merged, err := jsonpatch.MergePatch(baseWebhook(), patch)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"webhooks": [%s]}`, merged)
}

func baseWebhook() []byte {
	var base struct{ Webhooks []json.RawMessage }
	if err := yaml.Unmarshal([]byte(mutatingWebhook), &base); err != nil {
		panic(err)
	}
	return base.Webhooks[0]
}

func TestMutatingWebhookRules(t *testing.T) {
	r := rowtest.Row(t, admissionregistration.Resources(), "mutatingwebhookconfigurations")
	rowtest.Creates(t, r, mutatingWebhook, rowtest.Cases{
		{"name without a domain", webhook("name: inject"), []string{"Invalid webhooks[0].name"}},
		{"no side effects stated", webhook("sideEffects: null"), []string{"Required webhooks[0].sideEffects"}},
		{"side effects", webhook("sideEffects: Some"), []string{"NotSupported webhooks[0].sideEffects"}},
		{"no review version", webhook("admissionReviewVersions: []"), []string{"Required webhooks[0].admissionReviewVersions"}},
		{"unknown review version", webhook("admissionReviewVersions: [v7]"), []string{"Invalid webhooks[0].admissionReviewVersions"}},
		{"review version twice", webhook("admissionReviewVersions: [v1, v1]"), []string{"Invalid webhooks[0].admissionReviewVersions[1]"}},
		{"too patient", webhook("timeoutSeconds: 31"), []string{"Invalid webhooks[0].timeoutSeconds"}},
		{"unknown failure policy", webhook("failurePolicy: Maybe"), []string{"NotSupported webhooks[0].failurePolicy"}},
		{"unknown match policy", webhook("matchPolicy: Maybe"), []string{"NotSupported webhooks[0].matchPolicy"}},
		{"unknown reinvocation", webhook("reinvocationPolicy: Always"), []string{"NotSupported webhooks[0].reinvocationPolicy"}},
		{"plain http", webhook("clientConfig: {url: 'http://a.example.com/', service: null}"), []string{"Invalid webhooks[0].clientConfig.url"}},
		{"credentials in the URL", webhook("clientConfig: {url: 'https://a:b@a.example.com/?x#y', service: null}"),
			[]string{"Invalid webhooks[0].clientConfig.url", "Invalid webhooks[0].clientConfig.url", "Invalid webhooks[0].clientConfig.url"}},
		{"URL and service", webhook("clientConfig: {url: 'https://a.example.com/'}"), []string{"Required webhooks[0].clientConfig"}},
		{"bad service path", webhook("clientConfig: {service: {namespace: a, name: b, path: 'x//Y'}}"),
			[]string{"Invalid webhooks[0].clientConfig.service.path", "Invalid webhooks[0].clientConfig.service.path",
				"Invalid webhooks[0].clientConfig.service.path", "Invalid webhooks[0].clientConfig.service.path"}},
		{"service without a name", webhook("clientConfig: {service: {name: '', namespace: '', port: 70000}}"),
			[]string{"Required webhooks[0].clientConfig.service.name", "Required webhooks[0].clientConfig.service.namespace", "Invalid webhooks[0].clientConfig.service.port"}},
		{"operations beside all", webhook("rules: [{operations: ['*', CREATE], apiGroups: [''], apiVersions: ['*'], resources: ['*']}]"), []string{"Invalid webhooks[0].rules[0].operations"}},
		{"empty rule", webhook("rules: [{}]"), []string{"Required webhooks[0].rules[0].operations", "Required webhooks[0].rules[0].apiGroups",
			"Required webhooks[0].rules[0].apiVersions", "Required webhooks[0].rules[0].resources"}},
		{"resources that contain each other", webhook("rules: [{operations: [CREATE], apiGroups: [''], apiVersions: ['v1'], resources: ['pods/*', pods/log, '*', pods]}]"),
			[]string{"Invalid webhooks[0].rules[0].resources[1]", "Invalid webhooks[0].rules[0].resources"}},
		{"condition that does not compile", webhook("matchConditions: [{name: a, expression: 'object.'}]"), []string{"Invalid webhooks[0].matchConditions[0].expression"}},
		{"condition of another type", webhook("matchConditions: [{name: a, expression: '1'}]"), []string{"Invalid webhooks[0].matchConditions[0].expression"}},
		{"conditions of one name", webhook("matchConditions: [{name: a, expression: 'true'}, {name: a, expression: 'true'}]"), []string{"Duplicate webhooks[0].matchConditions[1].name"}},
		{"params in a condition", webhook("matchConditions: [{name: a, expression: 'params.x'}]"), []string{"Invalid webhooks[0].matchConditions[0].expression"}},
	})
}

func TestWebhookDefaults(t *testing.T) {
	r := rowtest.Row(t, admissionregistration.Resources(), "mutatingwebhookconfigurations")
	c := rowtest.Object(t, r, mutatingWebhook, "").(*admissionregistrationv1.MutatingWebhookConfiguration)
	if errs := rowtest.Create(r, c); len(errs) > 0 {
		t.Fatal(errs)
	}
	w := c.Webhooks[0]
	if *w.FailurePolicy != admissionregistrationv1.Fail || *w.MatchPolicy != admissionregistrationv1.Equivalent || *w.TimeoutSeconds != 10 ||
		w.NamespaceSelector == nil || w.ObjectSelector == nil || *w.ReinvocationPolicy != admissionregistrationv1.NeverReinvocationPolicy ||
		*w.Rules[0].Scope != admissionregistrationv1.AllScopes || *w.ClientConfig.Service.Port != 443 || c.Generation != 1 {
		t.Errorf("defaults: %+v", w)
	}
}

func TestWebhookUpdatesKeepWhatWasThere(t *testing.T) {
	r := rowtest.Row(t, admissionregistration.Resources(), "mutatingwebhookconfigurations")
	old := rowtest.Object(t, r, mutatingWebhook, webhook("sideEffects: Some")).(*admissionregistrationv1.MutatingWebhookConfiguration)
	r.Strategy.Default(old)
	obj := old.DeepCopy()
	rowtest.Expect(t, rowtest.Update(&r.Strategy, obj, old))
	if obj.Generation != 0 {
		t.Errorf("generation %d without a change", obj.Generation)
	}
	seconds := int32(3)
	obj.Webhooks[0].TimeoutSeconds = &seconds
	rowtest.Expect(t, rowtest.Update(&r.Strategy, obj, old))
	if obj.Generation != 1 {
		t.Errorf("generation %d after a change", obj.Generation)
	}
}

const validatingPolicy = `
metadata: {name: replicas.example.com}
spec:
  paramKind: {apiVersion: rules.example.com/v1, kind: ReplicaLimit}
  matchConstraints:
    resourceRules:
    - {operations: [CREATE], apiGroups: [apps], apiVersions: [v1], resources: [deployments]}
  variables:
  - {name: replicas, expression: object.spec.replicas}
  matchConditions:
  - {name: limited, expression: params.maxReplicas > 0}
  validations:
  - {expression: variables.replicas <= params.maxReplicas, messageExpression: "'at most ' + string(params.maxReplicas)", reason: Invalid}
  auditAnnotations:
  - {key: replicas, valueExpression: 'string(variables.replicas)'}
`

func TestValidatingPolicyRules(t *testing.T) {
	r := rowtest.Row(t, admissionregistration.Resources(), "validatingadmissionpolicies")
	rowtest.Creates(t, r, validatingPolicy, rowtest.Cases{
		{"no match", `{spec: {matchConstraints: null}}`, []string{"Required spec.matchConstraints"}},
		{"no resources", `{spec: {matchConstraints: {resourceRules: []}}}`, []string{"Required spec.matchConstraints.resourceRules"}},
		{"nothing to check", `{spec: {validations: [], auditAnnotations: []}}`, []string{"Required spec.validations", "Required spec.auditAnnotations"}},
		{"unknown variable", `{spec: {validations: [{expression: variables.nope}]}}`, []string{"Invalid spec.validations[0].expression"}},
		{"variable before its definition", `{spec: {variables: [{name: a, expression: variables.b}, {name: b, expression: "1"}, {name: replicas, expression: "1"}]}}`, []string{"Invalid spec.variables[0].expression"}},
		{"reserved name", `{spec: {variables: [{name: namespace, expression: "1"}, {name: replicas, expression: "1"}]}}`, []string{"Invalid spec.variables[0].name"}},
		{"validation of another type", `{spec: {validations: [{expression: "'x'"}]}}`, []string{"Invalid spec.validations[0].expression"}},
		{"message of another type", `{spec: {validations: [{expression: "true", messageExpression: "1"}]}}`, []string{"Invalid spec.validations[0].messageExpression"}},
		{"message that asks the authorizer", `{spec: {validations: [{expression: "true", messageExpression: "string(authorizer.group('').resource('pods').check('get').allowed())"}]}}`, []string{"Invalid spec.validations[0].messageExpression"}},
		{"message of two lines", `{spec: {validations: [{expression: "true", message: "a\nb"}]}}`, []string{"Invalid spec.validations[0].message"}},
		{"unknown reason", `{spec: {validations: [{expression: "true", reason: Because}]}}`, []string{"NotSupported spec.validations[0].reason"}},
		{"bad parameter kind", `{spec: {paramKind: {apiVersion: "a/b/c", kind: "X_Y"}}}`, []string{"Invalid spec.paramKind.apiVersion", "Invalid spec.paramKind.kind"}},
		{"annotations of one key", `{spec: {auditAnnotations: [{key: a, valueExpression: "'x'"}, {key: a, valueExpression: "null"}]}}`, []string{"Duplicate spec.auditAnnotations[1].key"}},
		{"unknown failure policy", `{spec: {failurePolicy: Maybe}}`, []string{"NotSupported spec.failurePolicy"}},
	})
	rowtest.Expect(t, rowtest.Create(r, rowtest.Object(t, r, validatingPolicy, `{spec: {paramKind: null}}`)),
		"Invalid spec.matchConditions[0].expression", "Invalid spec.validations[0].expression", "Invalid spec.validations[0].messageExpression")
}

func TestPolicyStatusIsItsOwn(t *testing.T) {
	r := rowtest.Row(t, admissionregistration.Resources(), "validatingadmissionpolicies")
	status := r.Subresources[0].Part
	rowtest.Updates(t, r, status, validatingPolicy, rowtest.Cases{
		{"warning", `{status: {typeChecking: {expressionWarnings: [{fieldRef: "spec.validations[0].expression", warning: x}]}}}`, nil},
		{"warning about nothing", `{status: {typeChecking: {expressionWarnings: [{fieldRef: "", warning: ""}]}}}`,
			[]string{"Required status.typeChecking.expressionWarnings[0].fieldRef", "Required status.typeChecking.expressionWarnings[0].warning"}},
		{"not a path", `{status: {typeChecking: {expressionWarnings: [{fieldRef: "spec[", warning: x}]}}}`, []string{"Invalid status.typeChecking.expressionWarnings[0].fieldRef"}},
	})
}

const mutatingPolicy = `
metadata: {name: sidecar.example.com}
spec:
  matchConstraints:
    resourceRules:
    - {operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [pods]}
  reinvocationPolicy: IfNeeded
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration:
      expression: 'Object{metadata: Object.metadata{labels: {"a": "b"}}}'
  - patchType: JSONPatch
    jsonPatch:
      expression: '[JSONPatch{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("c/d"), value: "e"}]'
`

func TestMutatingPolicyRules(t *testing.T) {
	r := rowtest.Row(t, admissionregistration.Resources(), "mutatingadmissionpolicies")
	rowtest.Creates(t, r, mutatingPolicy, rowtest.Cases{
		{"deletion", `{spec: {matchConstraints: {resourceRules: [{operations: [DELETE], apiGroups: [""], apiVersions: [v1], resources: [pods]}]}}}`,
			[]string{"NotSupported spec.matchConstraints.resourceRules.operations"}},
		{"no mutations", `{spec: {mutations: []}}`, []string{"Required spec.mutations"}},
		{"no reinvocation policy", `{spec: {reinvocationPolicy: ""}}`, []string{"Required spec.reinvocationPolicy"}},
		{"no patch type", `{spec: {mutations: [{}]}}`, []string{"Required spec.mutations[0].patchType"}},
		{"unknown patch type", `{spec: {mutations: [{patchType: Sed}]}}`, []string{"NotSupported spec.mutations[0].patchType"}},
		{"patch of the other type", `{spec: {mutations: [{patchType: JSONPatch, applyConfiguration: {expression: "Object{}"}}]}}`,
			[]string{"Required spec.mutations[0].jsonPatch", "Invalid spec.mutations[0].applyConfiguration"}},
		{"not a patch", `{spec: {mutations: [{patchType: JSONPatch, jsonPatch: {expression: "'x'"}}]}}`, []string{"Invalid spec.mutations[0].jsonPatch.expression"}},
		{"not an object", `{spec: {mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: "'x'"}}]}}`, []string{"Invalid spec.mutations[0].applyConfiguration.expression"}},
	})
}

const validatingBinding = `
metadata: {name: replicas}
spec:
  policyName: replicas.example.com
  paramRef: {name: limit, namespace: default, parameterNotFoundAction: Deny}
  validationActions: [Deny, Audit]
`

func TestBindingRules(t *testing.T) {
	r := rowtest.Row(t, admissionregistration.Resources(), "validatingadmissionpolicybindings")
	rowtest.Creates(t, r, validatingBinding, rowtest.Cases{
		{"no policy", `{spec: {policyName: ""}}`, []string{"Required spec.policyName"}},
		{"no action", `{spec: {validationActions: []}}`, []string{"Required spec.validationActions"}},
		{"deny and warn", `{spec: {validationActions: [Deny, Warn]}}`, []string{"Invalid spec.validationActions"}},
		{"an action twice", `{spec: {validationActions: [Deny, Deny]}}`, []string{"Duplicate spec.validationActions[1]"}},
		{"unknown action", `{spec: {validationActions: [Shout]}}`, []string{"NotSupported spec.validationActions[0]"}},
		{"no parameter named", `{spec: {paramRef: {name: "", selector: null}}}`, []string{"Required spec.paramRef"}},
		{"name and selector", `{spec: {paramRef: {selector: {}}}}`, []string{"Forbidden spec.paramRef.name", "Forbidden spec.paramRef.selector"}},
		{"nothing said of missing parameters", `{spec: {paramRef: {parameterNotFoundAction: null}}}`, []string{"Required spec.paramRef.parameterNotFoundAction"}},
	})
	errs := rowtest.Create(r, rowtest.Object(t, r, validatingBinding, `{spec: {paramRef: {parameterNotFoundAction: Maybe}}}`))
	if len(errs) != 1 || errs[0].Type != field.ErrorTypeNotSupported {
		t.Errorf("got %v", errs)
	}
}
