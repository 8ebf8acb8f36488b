package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	genericadmission "k8s.io/apiserver/pkg/admission"
	admissionauthorizer "k8s.io/apiserver/pkg/admission/plugin/authorizer"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/lookup"
	"github.com/yare-io/yare/admission/match"
)

// mutatingPlugin is MutatingAdmissionPolicy.
type mutatingPlugin struct {
	*plugin
	source *source[*changes]
}

var _ admission.Mutator = (*mutatingPlugin)(nil)

func newMutating(config Config) (*mutatingPlugin, error) {
	inner, err := newPlugin(MutatingName, "apiserver_mutating_admission_policy", config)
	if err != nil {
		return nil, err
	}
	registered := config.Informers.Admissionregistration().V1()
	policies, bindings := registered.MutatingAdmissionPolicies().Informer(), registered.MutatingAdmissionPolicyBindings().Informer()
	inner.synced = []lookup.Synced{{Has: policies.HasSynced, Clock: config.Clock}, {Has: bindings.HasSynced, Clock: config.Clock}}
	p := &mutatingPlugin{plugin: inner}
	p.source, err = follow(policies, bindings, defineMutating, bindMutating)
	return p, err
}

func defineMutating(object any) *definition[*changes] {
	s := &object.(*admissionregistrationv1.MutatingAdmissionPolicy).Spec
	return define(s.FailurePolicy, s.ParamKind, s.MatchConstraints, func() *changes { return compileChanges(s) })
}

func bindMutating(object any) *binding {
	b := object.(*admissionregistrationv1.MutatingAdmissionPolicyBinding)
	return newBinding(b.Name, b.Spec.PolicyName, b.Spec.ParamRef, b.Spec.MatchResources)
}

// Handles implements admission.Plugin: what is deleted cannot be changed.
func (p *mutatingPlugin) Handles(o admission.Operation) bool { return o != admission.Delete }

// passage is one request on its way through the policies.
type passage struct {
	*match.Request
	plugin *mutatingPlugin
	asked  authorizer.UnconditionalAuthorizer
	turns  *admission.Turns
}

// Admit applies every policy that concerns the request, one after another.
func (p *mutatingPlugin) Admit(ctx context.Context, a *admission.Attributes) error {
	if ok, err := p.ready(ctx, a); !ok || err != nil {
		return err
	}
	all := p.source.all()
	if len(all) == 0 || a.Object == nil {
		return nil
	}
	w := &passage{
		Request: match.NewRequest(a, p.namespaces, p.config.Versions), plugin: p,
		asked: admissionauthorizer.NewCachingAuthorizer(p.config.Authorizer), turns: admission.TurnsOf(a, MutatingName),
	}
	defer w.turns.End(a)
	for i := range all {
		if err := w.policy(ctx, &all[i]); err != nil {
			return err
		}
	}
	return nil
}

func (w *passage) policy(ctx context.Context, d *bound[*changes]) error {
	subject, ok, err := match.Subject{}, false, d.broken
	if err == nil {
		subject, ok, err = d.criteria.Match(ctx, w.Request)
	}
	if err != nil {
		return w.refuse(d.definition, nil, err)
	}
	if !ok {
		return nil
	}
	for _, b := range d.bindings {
		if err := w.refuse(d.definition, b, w.binding(ctx, d.definition, b, subject)); err != nil {
			return err
		}
	}
	return nil
}

func (w *passage) binding(ctx context.Context, d *definition[*changes], b *binding, subject match.Subject) error {
	if b.broken != nil {
		return b.broken
	}
	if _, ok, err := b.criteria.Match(ctx, w.Request); !ok || err != nil {
		return err
	}
	params, err := w.plugin.parameters(ctx, d.params, b, w.Namespace)
	if err != nil {
		return err
	}
	for _, param := range params {
		id := turnID(d.name, b.name, param)
		if !w.turns.Has(w.Attributes, id) {
			continue
		}
		begun := w.plugin.config.Clock.Now()
		changed, err := w.apply(ctx, d.program(), subject, param)
		w.plugin.metrics.observe(d.name, b.name, outcomeOf(err), w.plugin.config.Clock.Since(begun))
		w.turns.Took(w.Attributes, id, changed, d.program().again)
		if err != nil {
			return err
		}
	}
	return nil
}

func outcomeOf(err error) outcome {
	if err != nil {
		return outcome{"deny", "invalid_error"}
	}
	return outcome{"allow", "no_error"}
}

func turnID(policy, binding string, param runtime.Object) string {
	id := policy + "\x00" + binding
	if m, err := meta.Accessor(param); err == nil {
		id += "\x00" + m.GetNamespace() + "/" + m.GetName()
	}
	return id
}

// apply applies a policy's mutations in order. When one fails, none has
// happened.
func (w *passage) apply(ctx context.Context, c *changes, subject match.Subject, param runtime.Object) (changed bool, err error) {
	view, err := w.View(ctx, subject)
	if err != nil {
		return false, err
	}
	if ok, err := c.conditions.Match(ctx, w.Inputs(view), param, w.asked); !ok || err != nil {
		return false, err
	}
	before := w.Object
	for _, patcher := range c.patchers {
		if err := w.patch(c.scope.Context(ctx), patcher, subject, param); err != nil {
			w.Put(before)
			return false, err
		}
	}
	return !apiequality.Semantic.DeepEqual(before, w.Object), nil
}

var interfaces = genericadmission.NewObjectInterfacesFromScheme(scheme.Scheme)

func (w *passage) patch(ctx context.Context, patcher patch.Patcher, subject match.Subject, param runtime.Object) error {
	view, err := w.View(ctx, subject)
	if err != nil {
		return err
	}
	namespace, err := namespaceObject(ctx, w.Request)
	if err != nil {
		return err
	}
	converter, err := w.plugin.converter(subject.Kind)
	if err != nil {
		return err
	}
	patched, err := patcher.Patch(ctx, patch.Request{
		MatchedResource: subject.Resource, VersionedAttributes: w.Inputs(view).Attributes, ObjectInterfaces: interfaces,
		OptionalVariables: plugincel.OptionalVariableBindings{VersionedParams: param, Authorizer: w.asked},
		Namespace:         namespace, TypeConverter: converter,
	}, celconfig.RuntimeCELCostBudget)
	if err != nil {
		return err
	}
	if patched, err = asTyped(view, patched); err != nil {
		return err
	}
	if apiequality.Semantic.DeepEqual(view.Object, patched) {
		return nil
	}
	return w.Replace(ctx, view, patched)
}

// asTyped makes the result of an applied configuration an object of the view's
// type.
func asTyped(v *match.View, obj runtime.Object) (runtime.Object, error) {
	dynamic, ok := obj.(*unstructured.Unstructured)
	if _, wanted := v.Object.(*unstructured.Unstructured); !ok || wanted {
		return obj, nil
	}
	data, err := json.Marshal(dynamic.Object)
	if err != nil {
		return nil, err
	}
	return v.Decode(data)
}

// refuse words what went wrong with a policy, unless it is to be ignored.
func (w *passage) refuse(d *definition[*changes], b *binding, err error) error {
	if err == nil || d.ignore {
		return nil
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return err
	}
	with := ""
	if b != nil {
		with = fmt.Sprintf(" with binding '%s'", b.name)
	}
	refusal := admission.Forbidden(w.Attributes, err)
	refusal.ErrStatus.Message = fmt.Sprintf("policy '%s'%s denied request: %v", d.name, with, err)
	refusal.ErrStatus.Reason = metav1.StatusReasonInvalid
	refusal.ErrStatus.Details.Causes = append(refusal.ErrStatus.Details.Causes, metav1.StatusCause{Message: refusal.ErrStatus.Message})
	return refusal
}
