package builtin

import (
	"context"
	"errors"
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	psadmission "k8s.io/pod-security-admission/admission"
	"k8s.io/pod-security-admission/admission/api/load"
	psapi "k8s.io/pod-security-admission/api"
	psmetrics "k8s.io/pod-security-admission/metrics"
	"k8s.io/pod-security-admission/policy"

	"github.com/yare-io/yare/admission"
)

// podSecurity holds pods to the security standard of their namespace. The
// standards and their evaluation are the library's.
type podSecurity struct {
	plugin
	library *psadmission.Admission
}

func newPodSecurity(deps Deps) (admission.Plugin, error) {
	config := deps.Config.PodSecurity
	if config == nil {
		var err error
		if config, err = load.LoadFromData(nil); err != nil {
			return nil, fmt.Errorf("default configuration: %w", err)
		}
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return nil, fmt.Errorf("pod security checks: %w", err)
	}
	core := deps.Informers.Core().V1()
	library := &psadmission.Admission{
		Configuration:    config,
		Evaluator:        evaluator,
		Metrics:          uncounted{},
		PodSpecExtractor: psadmission.DefaultPodSpecExtractor{},
		NamespaceGetter:  psadmission.NamespaceGetterFromListerAndClient(core.Namespaces().Lister(), deps.Client),
		PodLister:        psadmission.PodListerFromInformer(deps.Pods),
	}
	if err := library.CompleteConfiguration(); err != nil {
		return nil, err
	}
	if err := library.ValidateConfiguration(); err != nil {
		return nil, err
	}
	return &podSecurity{on("PodSecurity", admission.Create, admission.Update), library}, nil
}

// Validate asks the library about namespaces, pods and what makes pods.
func (p *podSecurity) Validate(ctx context.Context, a *admission.Attributes) error {
	resource := a.Resource.GroupResource()
	if resource != corev1.Resource("namespaces") && !p.library.PodSpecExtractor.HasPodSpec(resource) {
		return nil
	}
	response := p.library.Validate(ctx, &psapi.AttributesRecord{
		Name: a.Name, Namespace: a.Namespace, Kind: a.Kind, Resource: a.Resource, Subresource: a.Subresource,
		Operation: admissionv1.Operation(a.Operation), Object: a.Object, OldObject: a.OldObject, Username: a.User.GetName(),
	})
	for _, warning := range response.Warnings {
		a.Warn(warning)
	}
	if response.Allowed {
		return nil
	}
	//lint:ignore ST1005 clients know these words
	refusal := admission.Forbidden(a, errors.New("Not allowed by PodSecurity"))
	if said := response.Result; said != nil {
		if said.Message != "" {
			refusal.ErrStatus.Message = said.Message
		}
		if said.Reason != "" {
			refusal.ErrStatus.Reason = said.Reason
		}
		if said.Details != nil {
			refusal.ErrStatus.Details = said.Details
		}
		if said.Code != 0 {
			refusal.ErrStatus.Code = said.Code
		}
	}
	return refusal
}

// uncounted: the server counts what admission decides, for all plugins alike.
type uncounted struct{}

func (uncounted) RecordEvaluation(psmetrics.Decision, psapi.LevelVersion, psmetrics.Mode, psapi.Attributes) {
}
func (uncounted) RecordExemption(psapi.Attributes)   {}
func (uncounted) RecordError(bool, psapi.Attributes) {}
