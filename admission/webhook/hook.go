package webhook

import (
	"errors"
	"slices"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/yare-io/yare/admission/match"
)

// hook is one webhook of one configuration, compiled.
type hook struct {
	// id tells webhooks apart over all configurations.
	id, configuration, name string
	criteria                *match.Criteria
	conditions              *match.Conditions
	// ignore: a webhook that cannot be asked is taken to agree.
	ignore bool
	// quiet: it has no side effects on dry runs.
	quiet     bool
	reinvoke  bool
	timeout   time.Duration
	endpoint  *endpoint
	broken    error
	mutating  bool
	typeLabel string
}

func (h *hook) close() {
	if h.endpoint != nil {
		h.endpoint.close()
	}
}

// given is what both kinds of webhooks have.
type given struct {
	configuration, name string
	client              *admissionregistrationv1.WebhookClientConfig
	rules               []admissionregistrationv1.RuleWithOperations
	failure             *admissionregistrationv1.FailurePolicyType
	policy              *admissionregistrationv1.MatchPolicyType
	namespace, object   *metav1.LabelSelector
	sideEffects         *admissionregistrationv1.SideEffectClass
	timeoutSeconds      *int32
	versions            []string
	conditions          []admissionregistrationv1.MatchCondition
}

const defaultTimeoutSeconds = 10

var errVersion = errors.New("webhook does not accept known AdmissionReview versions (v1)")

// build compiles a webhook. One that cannot be compiled fails the requests it
// could concern when it is called.
func (p *plugin) build(g given, credentials Credentials) *hook {
	h := &hook{
		id: g.configuration + "/" + g.name, configuration: g.configuration, name: g.name,
		ignore:  g.failure != nil && *g.failure == admissionregistrationv1.Ignore,
		timeout: time.Duration(ptr.Deref(g.timeoutSeconds, defaultTimeoutSeconds)) * time.Second,
	}
	switch ptr.Deref(g.sideEffects, "") {
	case admissionregistrationv1.SideEffectClassNone, admissionregistrationv1.SideEffectClassNoneOnDryRun:
		h.quiet = true
	}
	if len(g.conditions) > 0 {
		h.conditions = match.NewConditions(g.conditions, false)
	}
	if h.criteria, h.broken = match.ForWebhook(g.rules, g.policy, g.namespace, g.object); h.broken != nil {
		return h
	}
	h.endpoint = newEndpoint(g.client, credentials, p.dialer, p.config.Services)
	if !slices.Contains(g.versions, "v1") {
		h.endpoint.unusable = errVersion
	}
	return h
}

func (p *plugin) compileMutating(configuration any) []*hook {
	c := configuration.(*admissionregistrationv1.MutatingWebhookConfiguration)
	hooks := make([]*hook, len(c.Webhooks))
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		hooks[i] = p.build(given{
			c.Name, w.Name, &w.ClientConfig, w.Rules, w.FailurePolicy, w.MatchPolicy, w.NamespaceSelector, w.ObjectSelector,
			w.SideEffects, w.TimeoutSeconds, w.AdmissionReviewVersions, w.MatchConditions,
		}, p.config.Mutating)
		hooks[i].mutating, hooks[i].typeLabel = true, "admit"
		hooks[i].reinvoke = ptr.Deref(w.ReinvocationPolicy, "") == admissionregistrationv1.IfNeededReinvocationPolicy
	}
	return hooks
}

func (p *plugin) compileValidating(configuration any) []*hook {
	c := configuration.(*admissionregistrationv1.ValidatingWebhookConfiguration)
	hooks := make([]*hook, len(c.Webhooks))
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		hooks[i] = p.build(given{
			c.Name, w.Name, &w.ClientConfig, w.Rules, w.FailurePolicy, w.MatchPolicy, w.NamespaceSelector, w.ObjectSelector,
			w.SideEffects, w.TimeoutSeconds, w.AdmissionReviewVersions, w.MatchConditions,
		}, p.config.Validating)
		hooks[i].typeLabel = "validating"
	}
	return hooks
}
