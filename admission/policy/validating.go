package policy

import (
	"context"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	admissionauthorizer "k8s.io/apiserver/pkg/admission/plugin/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/lookup"
	"github.com/yare-io/yare/admission/match"
)

// validatingPlugin is ValidatingAdmissionPolicy.
type validatingPlugin struct {
	*plugin
	source *source[*checks]
}

var _ admission.Validator = (*validatingPlugin)(nil)

func newValidating(config Config) (*validatingPlugin, error) {
	inner, err := newPlugin(ValidatingName, "apiserver_validating_admission_policy", config)
	if err != nil {
		return nil, err
	}
	registered := config.Informers.Admissionregistration().V1()
	policies, bindings := registered.ValidatingAdmissionPolicies().Informer(), registered.ValidatingAdmissionPolicyBindings().Informer()
	inner.synced = []lookup.Synced{{Has: policies.HasSynced, Clock: config.Clock}, {Has: bindings.HasSynced, Clock: config.Clock}}
	p := &validatingPlugin{plugin: inner}
	p.source, err = follow(policies, bindings, defineValidating, bindValidating)
	return p, err
}

func defineValidating(object any) *definition[*checks] {
	s := &object.(*admissionregistrationv1.ValidatingAdmissionPolicy).Spec
	return define(s.FailurePolicy, s.ParamKind, s.MatchConstraints, func() *checks { return compileChecks(s) })
}

func bindValidating(object any) *binding {
	b := object.(*admissionregistrationv1.ValidatingAdmissionPolicyBinding)
	out := newBinding(b.Name, b.Spec.PolicyName, b.Spec.ParamRef, b.Spec.MatchResources)
	out.actions = b.Spec.ValidationActions
	return out
}

// Handles implements admission.Plugin.
func (p *validatingPlugin) Handles(admission.Operation) bool { return true }

// inquiry is one request on its way through the policies.
type inquiry struct {
	*match.Request
	plugin *validatingPlugin
	// asked remembers what the authorizer said.
	asked    authorizer.UnconditionalAuthorizer
	verdicts verdicts
}

// Validate holds the request against every policy that concerns it; the first
// denial in order is the answer.
func (p *validatingPlugin) Validate(ctx context.Context, a *admission.Attributes) error {
	if ok, err := p.ready(ctx, a); !ok || err != nil {
		return err
	}
	all := p.source.all()
	if len(all) == 0 {
		return nil
	}
	q := &inquiry{
		Request: match.NewRequest(a, p.namespaces, p.config.Versions), plugin: p,
		asked: admissionauthorizer.NewCachingAuthorizer(p.config.Authorizer),
	}
	for i := range all {
		if err := q.policy(ctx, &all[i]); err != nil {
			return err
		}
	}
	return q.verdicts.settle(a)
}

// policy holds the request against one policy.
func (q *inquiry) policy(ctx context.Context, d *bound[*checks]) error {
	if d.broken != nil {
		q.verdicts.misconfigured(d.definition, nil, d.broken)
		return nil
	}
	subject, ok, err := d.criteria.Match(ctx, q.Request)
	if err != nil {
		q.verdicts.misconfigured(d.definition, nil, err)
		return nil
	}
	if !ok {
		return nil
	}
	notes := annotations{}
	for _, b := range d.bindings {
		if err := q.binding(ctx, d.definition, b, subject, notes); err != nil {
			return err
		}
	}
	notes.publish(d.name, q.Attributes)
	return nil
}

// binding evaluates one policy for one binding. An error means that nothing
// can be decided.
func (q *inquiry) binding(ctx context.Context, d *definition[*checks], b *binding, subject match.Subject, notes annotations) error {
	_, ok, err := match.Subject{}, false, b.broken
	if err == nil {
		_, ok, err = b.criteria.Match(ctx, q.Request)
	}
	if err != nil {
		q.verdicts.misconfigured(d, b, err)
		return nil
	}
	if !ok {
		return nil
	}
	params, err := q.plugin.parameters(ctx, d.params, b, q.Namespace)
	if err != nil {
		q.verdicts.misconfigured(d, b, err)
		return nil
	}
	view, err := q.View(subject)
	if err != nil {
		q.verdicts.misconfigured(d, b, err)
		return nil
	}
	var namespace *corev1.Namespace
	if namespace, err = namespaceObject(ctx, q.Request); err != nil {
		return err
	}
	for _, param := range params {
		begun := q.plugin.config.Clock.Now()
		result := d.program().evaluate(ctx, evaluation{
			inputs: q.Inputs(view), params: param, namespace: namespace, asked: q.asked, ignore: d.ignore,
		})
		q.plugin.metrics.observe(d.name, b.name, result.outcome(b), q.plugin.config.Clock.Since(begun))
		q.verdicts.add(q.Attributes, d.name, b, result)
		notes.add(result.annotations)
	}
	return nil
}
