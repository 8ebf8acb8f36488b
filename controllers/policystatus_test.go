package controllers_test

import (
	"fmt"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/controllers"
)

func TestPoliciesAreCheckedAgainstSchemas(t *testing.T) {
	c := newCluster(t)
	c.startManager(controllers.Config{Controllers: []string{"validatingadmissionpolicy-status-controller"}})
	policies := c.client.AdmissionregistrationV1().ValidatingAdmissionPolicies()
	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "p"},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			ParamKind: &admissionregistrationv1.ParamKind{APIVersion: "v1", Kind: "ConfigMap"},
			MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{"apps"}, APIVersions: []string{"v1"}, Resources: []string{"deployments", "statefulsets", "deployments/scale"}},
				},
			}}},
			Variables: []admissionregistrationv1.Variable{{Name: "size", Expression: "object.spec.replicas"}},
			Validations: []admissionregistrationv1.Validation{
				{Expression: "object.spec.replicas > 1 && variables.size < 9 && object.metadata.name != '' && int(params.data.x) > 0", MessageExpression: "string(object.spec.nothing)"},
				{Expression: "object.replicas > 1"},
				{Expression: "object.spec.serviceName != ''"},
				{Expression: "params.datum.x == '' || variables.size.startsWith('a')"},
			},
		},
	}
	policy, err := policies.Create(t.Context(), policy, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	checked := func() []admissionregistrationv1.ExpressionWarning {
		var warnings []admissionregistrationv1.ExpressionWarning
		c.eventually("the policy is checked", func() error {
			policy, err = policies.Get(t.Context(), "p", metav1.GetOptions{})
			if err != nil {
				return err
			}
			if policy.Status.ObservedGeneration != policy.Generation {
				return fmt.Errorf("status %+v at generation %d", policy.Status, policy.Generation)
			}
			warnings = nil
			if found := policy.Status.TypeChecking; found != nil {
				warnings = found.ExpressionWarnings
			}
			return nil
		})
		return warnings
	}
	want := []struct{ place, words string }{
		{"spec.validations[0].messageExpression", "apps/v1, Kind=Deployment: compilation failed: ERROR: <input>:1:19: undefined field 'nothing'"},
		{"spec.validations[1].expression", "apps/v1, Kind=StatefulSet: compilation failed: ERROR: <input>:1:7: undefined field 'replicas'"},
		{"spec.validations[2].expression", "apps/v1, Kind=Deployment: compilation failed: ERROR: <input>:1:12: undefined field 'serviceName'"},
		{"spec.validations[3].expression", "undefined field 'datum'"},
	}
	got := checked()
	for i, w := range want {
		if len(got) != len(want) || got[i].FieldRef != w.place || !strings.Contains(got[i].Warning, w.words) {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	if strings.Contains(got[2].Warning, "StatefulSet") || !strings.Contains(got[3].Warning, "startsWith") {
		t.Errorf("warnings of what is right, or none of what is wrong: %q", got)
	}
	policy.Spec.Validations = policy.Spec.Validations[:1]
	policy.Spec.Validations[0].MessageExpression = ""
	if _, err = policies.Update(t.Context(), policy, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := checked(); len(got) != 0 {
		t.Errorf("after it was mended: %q", got)
	}
}
