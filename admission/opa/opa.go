// Package opa lets OPA policies decide on requests, inside this process: it
// asks the engine about requests in scope, refuses and changes them as rules
// say, and answers for requests on which there is no decision. The packages
// below it each own one step; this one refuses to know how policies are found
// and evaluated.
package opa

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/opa/engine"
	"github.com/yare-io/yare/admission/opa/review"
	"github.com/yare-io/yare/admission/opa/verdict"
)

// Namespaces looks namespaces up.
type Namespaces interface {
	// Get returns a shared object; the error is one for which
	// apierrors.IsNotFound holds when there is no such namespace.
	Get(ctx context.Context, name string) (*corev1.Namespace, error)
}

// decider is what the plugins need of the engine.
type decider interface {
	Settings() *engine.Settings
	Ready() error
	Decide(ctx context.Context, phase engine.Phase, path string, input engine.Input) (*engine.Decision, error)
}

// Constraints are asked beside the rules of bundles, and mutators applied.
type Constraints interface {
	// Ready reports whether the constraints are known.
	Ready() bool
	// Check returns what constraints deny; an error means that they have no
	// answer. The review is that of the request.
	Check(ctx context.Context, a *admission.Attributes, namespace *corev1.Namespace, r *review.Review) ([]string, error)
	// Mutate changes the object; after an error it is unchanged.
	Mutate(a *admission.Attributes, namespace *corev1.Namespace) error
}

// Plugins returns the mutating and the validating plugin over an engine. The
// mutating one belongs behind all others that mutate, the validating one last
// of all. constraints may be nil.
func Plugins(e *engine.Engine, namespaces Namespaces, constraints Constraints) (admission.Mutator, admission.Validator) {
	shared := plugin{e, namespaces, constraints}
	return mutator{shared}, validator{shared}
}

// plugin is what both have in common.
type plugin struct {
	engine      decider
	namespaces  Namespaces
	constraints Constraints
}

// Handles implements admission.Plugin. Settings may change, so all operations
// are looked at.
func (plugin) Handles(admission.Operation) bool { return true }

type mutator struct{ plugin }

// Name implements admission.Plugin.
func (mutator) Name() string { return "OPAMutation" }

// Admit changes the object as mutators and then patch rules say.
func (m mutator) Admit(ctx context.Context, a *admission.Attributes) error {
	asked, namespace, err := m.concerned(ctx, a)
	if err != nil || !asked {
		return err
	}
	if m.constraints != nil {
		if err := m.constraints.Mutate(a, namespace); err != nil {
			return m.undecided(a, err)
		}
	}
	said, err := m.decide(ctx, engine.Mutating, a, review.New(a, namespace))
	if err != nil {
		return m.undecided(a, err)
	}
	if len(said.Patch) == 0 {
		return nil
	}
	if a.Object == nil {
		return fmt.Errorf("a policy would change an object, and a %s has none", a.Operation)
	}
	changed, err := verdict.Apply(said.Patch, a.Object)
	if err != nil {
		return m.undecided(a, fmt.Errorf("a policy's patch does not fit: %w", err))
	}
	a.Object = changed
	return nil
}

type validator struct{ plugin }

// Name implements admission.Plugin.
func (validator) Name() string { return "OPAValidation" }

// Validate refuses what deny and violation rules, a main rule, or constraints
// refuse.
func (v validator) Validate(ctx context.Context, a *admission.Attributes) error {
	asked, namespace, err := v.concerned(ctx, a)
	if err != nil || !asked {
		return err
	}
	asking := review.New(a, namespace)
	said, err := v.decide(ctx, engine.Validating, a, asking)
	if err != nil {
		return v.undecided(a, err)
	}
	for _, warning := range said.Warnings {
		a.Warn(warning)
	}
	if v.constraints != nil {
		denied, err := v.constraints.Check(ctx, a, namespace, asking)
		if err != nil {
			return v.undecided(a, err)
		}
		for _, message := range denied {
			said.Denials = append(said.Denials, verdict.Reason{Message: message})
		}
	}
	return refusal(a, said.Denials)
}

// concerned reports whether policies are to be asked about a request, with the
// namespace that it is about.
func (p plugin) concerned(ctx context.Context, a *admission.Attributes) (bool, *corev1.Namespace, error) {
	settings := p.engine.Settings()
	if !settings.Includes(a) {
		return false, nil, nil
	}
	namespace, err := p.namespaceOf(ctx, a)
	if err != nil {
		return false, nil, p.undecided(a, err)
	}
	if settings.SelectsLabels() && namespace != nil && !settings.Selects(namespace.Labels) {
		return false, nil, nil
	}
	return p.ready(a, namespace)
}

// ready answers for policies that are not there yet.
func (p plugin) ready(a *admission.Attributes, namespace *corev1.Namespace) (bool, *corev1.Namespace, error) {
	err := p.engine.Ready()
	if err == nil && p.constraints != nil && !p.constraints.Ready() {
		err = errors.New("the constraints are not loaded yet")
	}
	if err == nil {
		return true, namespace, nil
	}
	if p.engine.Settings().BeforeActivation == engine.Allow {
		a.Annotate(annotation("allowed"), err.Error())
		return false, nil, nil
	}
	return false, nil, tryAgain(err)
}

func (p plugin) decide(ctx context.Context, phase engine.Phase, a *admission.Attributes, asking *review.Review) (*verdict.Verdict, error) {
	decision, err := p.engine.Decide(ctx, phase, "kubernetes/admission", asking)
	if err != nil {
		return nil, err
	}
	said := &verdict.Verdict{}
	for _, finding := range decision.Findings {
		if err := said.Add(finding.Rule, finding.Path, finding.Value); err != nil {
			return nil, err
		}
	}
	said.Settle()
	p.explain(a, phase, decision, said)
	return said, nil
}

// explain writes into the audit event what was decided, and by which rules.
func (plugin) explain(a *admission.Attributes, phase engine.Phase, decision *engine.Decision, said *verdict.Verdict) {
	if decision.ID == "" {
		return
	}
	name := map[engine.Phase]string{engine.Mutating: "mutating", engine.Validating: "validating"}[phase]
	a.Annotate(annotation(name+"-decision"), decision.ID)
	if phase == engine.Mutating || len(said.Denials) == 0 {
		return
	}
	reasons := make([]string, len(said.Denials))
	for i, denial := range said.Denials {
		reasons[i] = denial.Rule + ": " + denial.Message
	}
	a.Annotate(annotation("denied"), strings.Join(reasons, "\n"))
}

func annotation(name string) string { return "opa.admission.yare.io/" + name }

// namespaceOf is the namespace that the object is in, or that it is.
func (p plugin) namespaceOf(ctx context.Context, a *admission.Attributes) (*corev1.Namespace, error) {
	if a.Is(corev1.Resource("namespaces"), "") {
		if namespace, ok := a.Object.(*corev1.Namespace); ok {
			return namespace, nil
		}
		namespace, _ := a.OldObject.(*corev1.Namespace)
		return namespace, nil
	}
	if a.Namespace == "" {
		return nil, nil
	}
	namespace, err := p.namespaces.Get(ctx, a.Namespace)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return namespace, err
}

// undecided is the answer when policies were asked and did not answer.
func (p plugin) undecided(a *admission.Attributes, err error) error {
	if p.engine.Settings().OnError == engine.Allow {
		a.Annotate(annotation("error"), err.Error())
		a.Warn("OPA did not decide on this request: " + err.Error())
		return nil
	}
	return apierrors.NewInternalError(fmt.Errorf("OPA could not decide on this request: %w", err))
}

// tryAgain tells clients that the answer will be another one soon.
func tryAgain(err error) error {
	status := apierrors.NewServiceUnavailable("OPA: " + err.Error())
	status.ErrStatus.Details = nil
	return status
}

// refusal is nil when there are no reasons.
func refusal(a *admission.Attributes, reasons []verdict.Reason) error {
	if len(reasons) == 0 {
		return nil
	}
	messages := make([]string, len(reasons))
	code := reasons[0].Code
	for i, reason := range reasons {
		messages[i] = reason.Message
		if reason.Code != code {
			code = 0
		}
	}
	refused := admission.Forbidden(a, errors.New(strings.Join(messages, "; ")))
	if code != 0 {
		refused.ErrStatus.Code = code
	}
	return refused
}
