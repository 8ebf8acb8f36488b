package webhook

import (
	"errors"
	"slices"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
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

const defaultTimeoutSeconds = 10

var errVersion = errors.New("webhook does not accept known AdmissionReview versions (v1)")

// build compiles a webhook of either kind. One that cannot be compiled fails the
// requests it could concern when it is called.
func (p *plugin) build(configuration string, w *admissionregistrationv1.MutatingWebhook, credentials Credentials) *hook {
	h := &hook{
		id: configuration + "/" + w.Name, configuration: configuration, name: w.Name,
		ignore:   ptr.Deref(w.FailurePolicy, "") == admissionregistrationv1.Ignore,
		reinvoke: ptr.Deref(w.ReinvocationPolicy, "") == admissionregistrationv1.IfNeededReinvocationPolicy,
		timeout:  time.Duration(ptr.Deref(w.TimeoutSeconds, defaultTimeoutSeconds)) * time.Second,
	}
	switch ptr.Deref(w.SideEffects, "") {
	case admissionregistrationv1.SideEffectClassNone, admissionregistrationv1.SideEffectClassNoneOnDryRun:
		h.quiet = true
	}
	if len(w.MatchConditions) > 0 {
		h.conditions = match.NewConditions(w.MatchConditions, false)
	}
	if h.criteria, h.broken = match.ForWebhook(w.Rules, w.MatchPolicy, w.NamespaceSelector, w.ObjectSelector); h.broken != nil {
		return h
	}
	h.endpoint = newEndpoint(&w.ClientConfig, credentials, p.dialer, p.config.Services)
	if !slices.Contains(w.AdmissionReviewVersions, "v1") {
		h.endpoint.unusable = errVersion
	}
	return h
}

func (p *plugin) compileMutating(configuration any) []*hook {
	c := configuration.(*admissionregistrationv1.MutatingWebhookConfiguration)
	hooks := make([]*hook, len(c.Webhooks))
	for i := range c.Webhooks {
		hooks[i] = p.build(c.Name, &c.Webhooks[i], p.config.Mutating)
		hooks[i].mutating, hooks[i].typeLabel = true, "admit"
	}
	return hooks
}

func (p *plugin) compileValidating(configuration any) []*hook {
	c := configuration.(*admissionregistrationv1.ValidatingWebhookConfiguration)
	hooks := make([]*hook, len(c.Webhooks))
	for i := range c.Webhooks {
		hooks[i] = p.build(c.Name, common(&c.Webhooks[i]), p.config.Validating)
		hooks[i].typeLabel = "validating"
	}
	return hooks
}

// common shows a validating webhook as a mutating one, which has all its fields.
func common(w *admissionregistrationv1.ValidatingWebhook) *admissionregistrationv1.MutatingWebhook {
	return &admissionregistrationv1.MutatingWebhook{
		Name: w.Name, ClientConfig: w.ClientConfig, Rules: w.Rules, FailurePolicy: w.FailurePolicy, MatchPolicy: w.MatchPolicy,
		NamespaceSelector: w.NamespaceSelector, ObjectSelector: w.ObjectSelector, SideEffects: w.SideEffects,
		TimeoutSeconds: w.TimeoutSeconds, AdmissionReviewVersions: w.AdmissionReviewVersions, MatchConditions: w.MatchConditions,
	}
}
