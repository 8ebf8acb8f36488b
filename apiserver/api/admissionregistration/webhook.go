package admissionregistration

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

// hook is what both kinds of webhooks have, by reference.
type hook struct {
	name                              string
	client                            *admissionregistrationv1.WebhookClientConfig
	rules                             []admissionregistrationv1.RuleWithOperations
	failurePolicy                     **admissionregistrationv1.FailurePolicyType
	matchPolicy                       **admissionregistrationv1.MatchPolicyType
	namespaceSelector, objectSelector **metav1.LabelSelector
	sideEffects                       *admissionregistrationv1.SideEffectClass
	timeoutSeconds                    **int32
	reviewVersions                    []string
	conditions                        []admissionregistrationv1.MatchCondition
	// reinvocation is nil for validating webhooks.
	reinvocation *admissionregistrationv1.ReinvocationPolicyType
}

func mutatingHook(w *admissionregistrationv1.MutatingWebhook) hook {
	return hook{
		name: w.Name, client: &w.ClientConfig, rules: w.Rules, failurePolicy: &w.FailurePolicy, matchPolicy: &w.MatchPolicy,
		namespaceSelector: &w.NamespaceSelector, objectSelector: &w.ObjectSelector, sideEffects: w.SideEffects,
		timeoutSeconds: &w.TimeoutSeconds, reviewVersions: w.AdmissionReviewVersions, conditions: w.MatchConditions,
		reinvocation: w.ReinvocationPolicy,
	}
}

func validatingHook(w *admissionregistrationv1.ValidatingWebhook) hook {
	return hook{
		name: w.Name, client: &w.ClientConfig, rules: w.Rules, failurePolicy: &w.FailurePolicy, matchPolicy: &w.MatchPolicy,
		namespaceSelector: &w.NamespaceSelector, objectSelector: &w.ObjectSelector, sideEffects: w.SideEffects,
		timeoutSeconds: &w.TimeoutSeconds, reviewVersions: w.AdmissionReviewVersions, conditions: w.MatchConditions,
	}
}

func mutatingHooks(c *admissionregistrationv1.MutatingWebhookConfiguration) []hook {
	hooks := make([]hook, len(c.Webhooks))
	for i := range c.Webhooks {
		hooks[i] = mutatingHook(&c.Webhooks[i])
	}
	return hooks
}

func validatingHooks(c *admissionregistrationv1.ValidatingWebhookConfiguration) []hook {
	hooks := make([]hook, len(c.Webhooks))
	for i := range c.Webhooks {
		hooks[i] = validatingHook(&c.Webhooks[i])
	}
	return hooks
}

func mutatingWebhooks() *registry.Resource {
	r := webhooks("Mutating", "mutating", row.New[admissionregistrationv1.MutatingWebhookConfiguration], row.New[admissionregistrationv1.MutatingWebhookConfigurationList])
	r.Strategy = generations(mutatingHooks, func(c *admissionregistrationv1.MutatingWebhookConfiguration) any { return c.Webhooks })
	r.Strategy.Default = registry.Do(defaultMutatingWebhooks)
	r.Columns = hookColumns(mutatingHooks)
	return r
}

func validatingWebhooks() *registry.Resource {
	r := webhooks("Validating", "validating", row.New[admissionregistrationv1.ValidatingWebhookConfiguration], row.New[admissionregistrationv1.ValidatingWebhookConfigurationList])
	r.Strategy = generations(validatingHooks, func(c *admissionregistrationv1.ValidatingWebhookConfiguration) any { return c.Webhooks })
	r.Strategy.Default = registry.Do(defaultValidatingWebhooks)
	r.Columns = hookColumns(validatingHooks)
	return r
}

func webhooks(title, name string, object, list func() runtime.Object) *registry.Resource {
	singular := name + "webhookconfiguration"
	return &registry.Resource{
		Kind: kind(title + "WebhookConfiguration"), Name: singular + "s", Singular: singular,
		Categories: []string{"api-extensions"}, Verbs: row.AllVerbs(), StoragePrefix: singular + "s",
		New: object, NewList: list,
	}
}

// object is a kind with metadata.
type object interface {
	runtime.Object
	metav1.Object
}

// generations is the strategy of configurations: any change of the webhooks
// is a new generation.
func generations[T object](hooks func(T) []hook, spec func(T) any) registry.Strategy {
	return registry.Strategy{
		PrepareForCreate: registry.Prepare(func(c T) { c.SetGeneration(1) }),
		PrepareForUpdate: registry.PrepareUpdate(func(c, old T) {
			row.NextGeneration(c, old, !row.Same(spec(c), spec(old)))
		}),
		Validate:       registry.Check(checkHooks(hooks)),
		ValidateUpdate: registry.CheckUpdate(checkHooksUpdate(hooks)),
		RequireVersion: true,
	}
}

func hookColumns[T object](hooks func(T) []hook) []registry.Column {
	return []registry.Column{
		row.NameColumn(),
		row.Integer("Webhooks", func(c T) any { return int64(len(hooks(c))) }),
		row.AgeColumn(),
	}
}
