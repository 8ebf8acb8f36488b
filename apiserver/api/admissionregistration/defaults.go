package admissionregistration

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	defaultTimeoutSeconds int32 = 10
	defaultServicePort    int32 = 443
)

// fill sets what p points at when nothing is there.
func fill[T any](p **T, value T) {
	if *p == nil {
		*p = &value
	}
}

func defaultMutatingWebhooks(c *admissionregistrationv1.MutatingWebhookConfiguration) {
	for i := range c.Webhooks {
		defaultHook(mutatingHook(&c.Webhooks[i]))
		fill(&c.Webhooks[i].ReinvocationPolicy, admissionregistrationv1.NeverReinvocationPolicy)
	}
}

func defaultValidatingWebhooks(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
	for i := range c.Webhooks {
		defaultHook(validatingHook(&c.Webhooks[i]))
	}
}

func defaultHook(h hook) {
	fill(h.failurePolicy, admissionregistrationv1.Fail)
	fill(h.matchPolicy, admissionregistrationv1.Equivalent)
	fill(h.namespaceSelector, metav1.LabelSelector{})
	fill(h.objectSelector, metav1.LabelSelector{})
	fill(h.timeoutSeconds, defaultTimeoutSeconds)
	for i := range h.rules {
		fill(&h.rules[i].Scope, admissionregistrationv1.AllScopes)
	}
	if service := h.client.Service; service != nil {
		fill(&service.Port, defaultServicePort)
	}
}

func defaultValidatingPolicy(p *admissionregistrationv1.ValidatingAdmissionPolicy) {
	fill(&p.Spec.FailurePolicy, admissionregistrationv1.Fail)
	defaultMatch(p.Spec.MatchConstraints)
}

func defaultMutatingPolicy(p *admissionregistrationv1.MutatingAdmissionPolicy) {
	fill(&p.Spec.FailurePolicy, admissionregistrationv1.Fail)
	defaultMatch(p.Spec.MatchConstraints)
}

func defaultMatch(m *admissionregistrationv1.MatchResources) {
	if m == nil {
		return
	}
	fill(&m.MatchPolicy, admissionregistrationv1.Equivalent)
	fill(&m.NamespaceSelector, metav1.LabelSelector{})
	fill(&m.ObjectSelector, metav1.LabelSelector{})
	for _, rules := range [][]admissionregistrationv1.NamedRuleWithOperations{m.ResourceRules, m.ExcludeResourceRules} {
		for i := range rules {
			fill(&rules[i].Scope, admissionregistrationv1.AllScopes)
		}
	}
}
