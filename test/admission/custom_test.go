package admission_test

import (
	"fmt"
	"net/http"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// define makes a custom resource of example.com, in the versions v1 and v2, and
// waits until it is served.
func (h *harness) define(scope, plural, kind string) {
	h.t.Helper()
	text := fmt.Sprintf(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"%[2]s.example.com"},"spec":{
		"group":"example.com","scope":"%[1]s","names":{"plural":"%[2]s","kind":"%[3]s"},"versions":[%[4]s,%[5]s]}}`,
		scope, plural, kind, versionOf("v1", true), versionOf("v2", false))
	if got := h.code("root", "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", text); got != http.StatusCreated {
		h.t.Fatalf("definition: %d", got)
	}
	h.eventually("the resource is served", func() bool { return h.code("root", "GET", "/apis/example.com/v1/"+plural, "") == http.StatusOK })
}

func versionOf(name string, stored bool) string {
	return fmt.Sprintf(`{"name":"%s","served":true,"storage":%t,"subresources":{"status":{}},"schema":{"openAPIV3Schema":{"type":"object","properties":{
		"spec":{"type":"object","properties":{"size":{"type":"integer"},"by":{"type":"string"}}},"status":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}}}`, name, stored)
}

func (h *harness) gadgets(version string) dynamic.ResourceInterface {
	client := dynamic.NewForConfigOrDie(&rest.Config{Host: h.http.URL, QPS: -1, WrapTransport: func(next http.RoundTripper) http.RoundTripper { return asUser{"root", next} }})
	return client.Resource(schema.GroupVersionResource{Group: "example.com", Version: version, Resource: "gadgets"}).Namespace("default")
}

func gadget(version, name string, size int64) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/" + version, "kind": "Gadget", "metadata": map[string]any{"name": name}, "spec": map[string]any{"size": size},
	}}
}

const onGadgets = `{operations: [CREATE, UPDATE], apiGroups: [example.com], apiVersions: [v1], resources: [gadgets]}`

func TestPoliciesAboutCustomResources(t *testing.T) {
	h := start(t, only(policyPlugins...))
	h.define("Namespaced", "gadgets", "Gadget")
	h.check("small", "\n  validations: [{expression: \"object.spec.size < 10\", messageExpression: \"'size ' + string(object.spec.size)\"}]\n", everywhere)
	p := must(h.client.AdmissionregistrationV1().ValidatingAdmissionPolicies().Get(t.Context(), "small", metav1.GetOptions{}))
	p.Spec.MatchConstraints = parse[admissionregistrationv1.MatchResources](t, "resourceRules: ["+onGadgets+"]")
	must(h.client.AdmissionregistrationV1().ValidatingAdmissionPolicies().Update(t.Context(), p, metav1.UpdateOptions{}))
	h.change("mark", `
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration: {expression: 'Object{spec: Object.spec{by: request.userInfo.username}}'}
`, everywhere)
	m := must(h.client.AdmissionregistrationV1().MutatingAdmissionPolicies().Get(t.Context(), "mark", metav1.GetOptions{}))
	m.Spec.MatchConstraints = parse[admissionregistrationv1.MatchResources](t, "resourceRules: ["+onGadgets+"]")
	must(h.client.AdmissionregistrationV1().MutatingAdmissionPolicies().Update(t.Context(), m, metav1.UpdateOptions{}))

	h.eventually("the policies count", func() bool {
		made, err := h.gadgets("v1").Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": map[string]any{"generateName": "g-"}, "spec": map[string]any{"size": int64(1)},
		}}, metav1.CreateOptions{})
		if err != nil {
			return false
		}
		by, _, _ := unstructured.NestedString(made.Object, "spec", "by")
		_, tooLarge := h.gadgets("v1").Create(t.Context(), gadget("v1", "large", 11), metav1.CreateOptions{DryRun: []string{"All"}})
		return by == "root" && errorHas(tooLarge, "size 11")
	})
	// In a version that no rule names, it is the same object.
	_, err := h.gadgets("v2").Create(t.Context(), gadget("v2", "large", 12), metav1.CreateOptions{})
	refused(t, err, http.StatusUnprocessableEntity, "size 12")
	made := must(h.gadgets("v2").Create(t.Context(), gadget("v2", "a", 2), metav1.CreateOptions{}))
	if by, _, _ := unstructured.NestedString(made.Object, "spec", "by"); by != "root" || made.GetAPIVersion() != "example.com/v2" {
		t.Errorf("made %v", made.Object)
	}
}

func TestWebhooksAboutCustomResources(t *testing.T) {
	h := start(t, only(webhookPlugins...), loopbackAllowed)
	h.define("Namespaced", "gadgets", "Gadget")
	rules := []admissionregistrationv1.RuleWithOperations{*parse[admissionregistrationv1.RuleWithOperations](t, onGadgets)}
	var seen admissionv1.AdmissionRequest
	h.mutating("mark", serve(t, patching(`[{"op":"add","path":"/spec/by","value":"webhook"}]`)), func(w *admissionregistrationv1.MutatingWebhook) { w.Rules = rules })
	h.validating("see", serve(t, reviewing(func(r *admissionv1.AdmissionRequest, _ *admissionv1.AdmissionReview) { seen = *r })), func(w *admissionregistrationv1.ValidatingWebhook) { w.Rules = rules })
	made := must(h.gadgets("v2").Create(t.Context(), gadget("v2", "a", 2), metav1.CreateOptions{}))
	if by, _, _ := unstructured.NestedString(made.Object, "spec", "by"); by != "webhook" {
		t.Errorf("made %v", made.Object)
	}
	if seen.Kind.Version != "v1" || seen.RequestKind == nil || seen.RequestKind.Version != "v2" {
		t.Errorf("seen %v, requested %v", seen.Kind, seen.RequestKind)
	}
}
