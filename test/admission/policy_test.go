package admission_test

import (
	"net/http"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/yare-io/yare/admission/policy"
)

var policyPlugins = []string{policy.MutatingName, policy.ValidatingName}

func parse[T any](t testing.TB, text string) *T {
	t.Helper()
	out := new(T)
	if err := yaml.UnmarshalStrict([]byte(text), out); err != nil {
		t.Fatal(err)
	}
	return out
}

const onConfigMaps = `
  matchConstraints:
    resourceRules: [{operations: [CREATE, UPDATE], apiGroups: [""], apiVersions: [v1], resources: [configmaps]}]
`

// check makes a validating policy for config maps, and a binding.
func (h *harness) check(name, spec, binding string) {
	h.t.Helper()
	h.checkAbout(onConfigMaps, name, spec, binding)
}

// checkAbout makes a validating policy for what constraints say, and a binding.
func (h *harness) checkAbout(constraints, name, spec, binding string) {
	h.t.Helper()
	p := parse[admissionregistrationv1.ValidatingAdmissionPolicy](h.t, "spec:\n"+constraints+spec)
	p.Name = name
	b := parse[admissionregistrationv1.ValidatingAdmissionPolicyBinding](h.t, "spec:\n"+binding)
	b.Name, b.Spec.PolicyName = name, name
	if b.Spec.ValidationActions == nil {
		b.Spec.ValidationActions = []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny}
	}
	api := h.client.AdmissionregistrationV1()
	if _, err := api.ValidatingAdmissionPolicies().Create(h.t.Context(), p, metav1.CreateOptions{}); err != nil {
		h.t.Fatal(err)
	}
	if _, err := api.ValidatingAdmissionPolicyBindings().Create(h.t.Context(), b, metav1.CreateOptions{}); err != nil {
		h.t.Fatal(err)
	}
	known := h.factory.Admissionregistration().V1()
	h.eventually("the policy is known", func() bool {
		_, err := known.ValidatingAdmissionPolicies().Lister().Get(name)
		_, err2 := known.ValidatingAdmissionPolicyBindings().Lister().Get(name)
		return err == nil && err2 == nil
	})
}

// change makes a mutating policy for config maps, and a binding.
func (h *harness) change(name, spec, binding string) {
	h.t.Helper()
	p := parse[admissionregistrationv1.MutatingAdmissionPolicy](h.t, "spec:\n"+onConfigMaps+spec)
	p.Name = name
	if p.Spec.ReinvocationPolicy == "" {
		p.Spec.ReinvocationPolicy = admissionregistrationv1.NeverReinvocationPolicy
	}
	b := parse[admissionregistrationv1.MutatingAdmissionPolicyBinding](h.t, "spec:\n"+binding)
	b.Name, b.Spec.PolicyName = name, name
	api := h.client.AdmissionregistrationV1()
	if _, err := api.MutatingAdmissionPolicies().Create(h.t.Context(), p, metav1.CreateOptions{}); err != nil {
		h.t.Fatal(err)
	}
	if _, err := api.MutatingAdmissionPolicyBindings().Create(h.t.Context(), b, metav1.CreateOptions{}); err != nil {
		h.t.Fatal(err)
	}
	known := h.factory.Admissionregistration().V1()
	h.eventually("the policy is known", func() bool {
		_, err := known.MutatingAdmissionPolicies().Lister().Get(name)
		_, err2 := known.MutatingAdmissionPolicyBindings().Lister().Get(name)
		return err == nil && err2 == nil
	})
}

const everywhere = "  matchResources: {}\n"

func TestAPolicyDenies(t *testing.T) {
	h := start(t, only(policyPlugins...))
	h.check("names.example.com", `
  variables: [{name: prefix, expression: "'ok-'"}]
  validations:
  - {expression: "object.metadata.name.startsWith(variables.prefix)", messageExpression: "object.metadata.name + ' must begin with ' + variables.prefix", reason: Forbidden}
`, everywhere)
	_, err := h.configMap("bad", nil)
	refused(t, err, http.StatusForbidden, "ValidatingAdmissionPolicy 'names.example.com' with binding 'names.example.com' denied request: bad must begin with ok-")
	if _, err := h.configMap("ok-1", nil); err != nil {
		t.Error(err)
	}
}

func TestWhatExpressionsSee(t *testing.T) {
	for name, expression := range map[string]string{
		"object":          `object.kind == "ConfigMap" && object.apiVersion == "v1" && object.data.a == "b"`,
		"no old object":   `oldObject == null`,
		"request":         `request.operation == "CREATE" && request.kind.kind == "ConfigMap" && request.userInfo.username == "root" && request.namespace == "default" && !request.dryRun`,
		"options":         `request.options.kind == "CreateOptions"`,
		"namespaceObject": `namespaceObject.metadata.name == "default" && namespaceObject.metadata.labels["kubernetes.io/metadata.name"] == "default"`,
		"authorizer":      `authorizer.group("").resource("pods").namespace("default").check("get").allowed() && authorizer.requestResource.check("create").allowed()`,
		"libraries":       `quantity("1Gi").isGreaterThan(quantity("1Mi")) && ip("10.0.0.1").family() == 4 && "a,b".split(",").size() == 2`,
		"optional fields": `object.?data[?"none"].orValue("x") == "x" && !has(object.binaryData)`,
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, only(policyPlugins...))
			h.check("see", "\n  validations: [{expression: '"+expression+"'}]\n", everywhere)
			if _, err := h.configMap("a", nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestUpdatesSeeBothObjects(t *testing.T) {
	h := start(t, only(policyPlugins...))
	h.check("immutable", `
  validations: [{expression: "oldObject == null || object.data == oldObject.data", message: data stays}]
`, everywhere)
	made, err := h.configMap("a", nil)
	if err != nil {
		t.Fatal(err)
	}
	made.Data["a"] = "c"
	_, err = h.client.CoreV1().ConfigMaps("default").Update(t.Context(), made, metav1.UpdateOptions{})
	refused(t, err, http.StatusUnprocessableEntity, "data stays")
}

func TestValidationActions(t *testing.T) {
	h := start(t, only(policyPlugins...))
	h.check("soft", "\n  validations: [{expression: \"false\", message: tut tut}]\n", "  validationActions: [Warn, Audit]\n")
	if _, err := h.configMap("a", nil); err != nil {
		t.Fatal(err)
	}
	if !h.warnings.has("Validation failed for ValidatingAdmissionPolicy 'soft' with binding 'soft': tut tut") {
		t.Errorf("warnings %q", h.warnings.texts)
	}
}

func TestExpressionsThatFail(t *testing.T) {
	const fails = "\n  failurePolicy: %s\n  validations: [{expression: \"object.data.none == 'x'\"}]\n"
	h := start(t, only(policyPlugins...))
	h.check("ignored", strings.Replace(fails, "%s", "Ignore", 1), everywhere)
	if _, err := h.configMap("a", nil); err != nil {
		t.Fatal(err)
	}
	h.check("counts", strings.Replace(fails, "%s", "Fail", 1), everywhere)
	_, err := h.configMap("b", nil)
	refused(t, err, http.StatusUnprocessableEntity, "no such key")
}

func TestExpressionsHaveABudget(t *testing.T) {
	h := start(t, only(policyPlugins...))
	h.check("greedy", `
  validations:
  - expression: "[0,1,2,3,4,5,6,7,8,9].all(a, [0,1,2,3,4,5,6,7,8,9].all(b, [0,1,2,3,4,5,6,7,8,9].all(c, [0,1,2,3,4,5,6,7,8,9].all(d, [0,1,2,3,4,5,6,7,8,9].all(e, [0,1,2,3,4,5,6,7,8,9].all(f, a + b + c + d + e + f >= 0))))))"
`, everywhere)
	_, err := h.configMap("a", nil)
	refused(t, err, http.StatusUnprocessableEntity, "cost")
}

func TestParameters(t *testing.T) {
	h := start(t, only(policyPlugins...))
	h.namespace("settings", nil)
	const limit = `
  paramKind: {apiVersion: v1, kind: Secret}
  validations: [{expression: "object.metadata.name in params.metadata.annotations", messageExpression: "params.kind + ' ' + params.metadata.name + ' does not know it'"}]
`
	h.check("named", limit, "  paramRef: {name: allowed, namespace: settings, parameterNotFoundAction: Deny}\n")
	_, err := h.configMap("a", nil)
	refused(t, err, http.StatusUnprocessableEntity, "no params found for policy binding with `Deny` parameterNotFoundAction")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "allowed", Labels: map[string]string{"list": "x"}, Annotations: map[string]string{"a": ""}}}
	if _, err := h.client.CoreV1().Secrets("settings").Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.configMap("a", nil); err != nil {
		t.Fatal(err)
	}
	_, err = h.configMap("b", nil)
	refused(t, err, http.StatusUnprocessableEntity, "Secret allowed does not know it")
	h.check("selected", limit, "  paramRef: {selector: {matchLabels: {list: y}}, namespace: settings, parameterNotFoundAction: Allow}\n")
	if _, err := h.client.CoreV1().ConfigMaps("settings").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, metav1.CreateOptions{}); err != nil {
		t.Errorf("no parameters, and that is allowed: %v", err)
	}
}

func TestBindingsSelect(t *testing.T) {
	h := start(t, only(policyPlugins...))
	h.namespace("strict", map[string]string{"level": "strict"})
	h.check("never", "\n  matchConditions: [{name: c, expression: \"object.metadata.name != 'free'\"}]\n  validations: [{expression: \"false\"}]\n",
		"  matchResources: {namespaceSelector: {matchLabels: {level: strict}}, excludeResourceRules: [{operations: ['*'], apiGroups: [''], apiVersions: ['*'], resources: [configmaps], resourceNames: [excluded]}]}\n")
	if _, err := h.configMap("a", nil); err != nil {
		t.Errorf("another namespace: %v", err)
	}
	_, err := h.configMapIn("strict", "a", nil)
	refused(t, err, http.StatusUnprocessableEntity, "failed expression: false")
	for _, name := range []string{"free", "excluded"} {
		if _, err := h.configMapIn("strict", name, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAChangedPolicyCounts(t *testing.T) {
	h := start(t, only(policyPlugins...))
	h.check("moving", "\n  validations: [{expression: \"true\"}]\n", everywhere)
	if _, err := h.configMap("a", nil); err != nil {
		t.Fatal(err)
	}
	policies := h.client.AdmissionregistrationV1().ValidatingAdmissionPolicies()
	p, err := policies.Get(t.Context(), "moving", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p.Spec.Validations[0].Expression = "false"
	if _, err := policies.Update(t.Context(), p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.eventually("the new expression counts", func() bool {
		_, err := h.client.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "b"}}, metav1.CreateOptions{})
		return err != nil
	})
}

func TestPoliciesMutate(t *testing.T) {
	h := start(t, only(policyPlugins...))
	h.change("apply", `
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration: {expression: 'Object{metadata: Object.metadata{labels: {"applied": "yes"}}}'}
`, everywhere)
	h.change("patch", `
  variables: [{name: who, expression: request.userInfo.username}]
  mutations:
  - patchType: JSONPatch
    jsonPatch: {expression: '[JSONPatch{op: "test", path: "/metadata/labels/applied", value: "yes"}, JSONPatch{op: "add", path: "/data/" + jsonpatch.escapeKey("by"), value: variables.who}]'}
`, everywhere)
	got, err := h.configMap("a", map[string]string{"own": "1"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Labels["applied"] != "yes" || got.Labels["own"] != "1" || got.Data["by"] != "root" || got.Data["a"] != "b" {
		t.Errorf("labels %v, data %v", got.Labels, got.Data)
	}
}

func TestMutationsRunAgain(t *testing.T) {
	for again, want := range map[admissionregistrationv1.ReinvocationPolicyType]string{
		admissionregistrationv1.NeverReinvocationPolicy: "b", admissionregistrationv1.IfNeededReinvocationPolicy: "bc",
	} {
		h := start(t, only(policyPlugins...))
		h.change("1", "\n  reinvocationPolicy: "+string(again)+`
  mutations:
  - patchType: JSONPatch
    jsonPatch: {expression: '[JSONPatch{op: "add", path: "/data/seen", value: object.data.a}]'}
`, everywhere)
		h.change("2", `
  matchConditions: [{name: once, expression: "object.data.a == 'b'"}]
  mutations:
  - patchType: JSONPatch
    jsonPatch: {expression: '[JSONPatch{op: "replace", path: "/data/a", value: "bc"}]'}
`, everywhere)
		got, err := h.configMap("a", nil)
		if err != nil || got.Data["seen"] != want {
			t.Errorf("%s: %v, %v", again, got.Data, err)
		}
	}
}

func TestMutationsThatFail(t *testing.T) {
	for name, mutation := range map[string]string{
		"of a field that is not there": `{patchType: ApplyConfiguration, applyConfiguration: {expression: 'Object{spec: Object.spec{none: 1}}'}}`,
		"of the place":                 `{patchType: JSONPatch, jsonPatch: {expression: '[JSONPatch{op: "replace", path: "/metadata/namespace", value: "kube-system"}]'}}`,
		"without a path":               `{patchType: JSONPatch, jsonPatch: {expression: '[JSONPatch{op: "remove", path: "/data/none"}]'}}`,
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, only(policyPlugins...))
			h.change("bad", "\n  mutations: ["+mutation+"]\n", everywhere)
			if _, err := h.configMap("a", nil); err == nil {
				t.Error("it was stored")
			}
			p, err := h.client.AdmissionregistrationV1().MutatingAdmissionPolicies().Get(t.Context(), "bad", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			p.Spec.FailurePolicy = ptr.To(admissionregistrationv1.Ignore)
			if _, err := h.client.AdmissionregistrationV1().MutatingAdmissionPolicies().Update(t.Context(), p, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			h.eventually("failures are ignored", func() bool {
				got, err := h.configMap("a", nil)
				return err == nil && len(got.Data) == 1
			})
		})
	}
}

// TestPoliciesCannotLockOut: what policies are made of is exempt from them.
func TestPoliciesCannotLockOut(t *testing.T) {
	h := start(t, only(policyPlugins...))
	h.check("all", "\n  validations: [{expression: \"false\"}]\n", everywhere)
	p, err := h.client.AdmissionregistrationV1().ValidatingAdmissionPolicies().Get(t.Context(), "all", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p.Spec.MatchConstraints.ResourceRules[0].RuleWithOperations = admissionregistrationv1.RuleWithOperations{
		Operations: []admissionregistrationv1.OperationType{"*"}, Rule: admissionregistrationv1.Rule{APIGroups: []string{"*"}, APIVersions: []string{"*"}, Resources: []string{"*"}},
	}
	if _, err := h.client.AdmissionregistrationV1().ValidatingAdmissionPolicies().Update(t.Context(), p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := h.client.AdmissionregistrationV1().ValidatingAdmissionPolicies().Delete(t.Context(), "all", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
}
