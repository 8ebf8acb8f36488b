package match

import (
	"context"
	"fmt"
	"slices"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Criteria are the rules and selectors of one webhook, policy or binding. They
// are immutable and safe for concurrent use.
type Criteria struct {
	// anything: no rules means every request, as for bindings.
	anything          bool
	rules, exclusions []admissionregistrationv1.NamedRuleWithOperations
	exact             bool
	namespace, object labels.Selector
}

// ForWebhook compiles the criteria of a webhook.
func ForWebhook(rules []admissionregistrationv1.RuleWithOperations, policy *admissionregistrationv1.MatchPolicyType, namespace, object *metav1.LabelSelector) (*Criteria, error) {
	named := make([]admissionregistrationv1.NamedRuleWithOperations, len(rules))
	for i, r := range rules {
		named[i].RuleWithOperations = r
	}
	return compile(admissionregistrationv1.MatchResources{
		ResourceRules: named, MatchPolicy: policy, NamespaceSelector: namespace, ObjectSelector: object,
	}, false)
}

// ForPolicy compiles the criteria of a policy or binding; nil matches
// everything.
func ForPolicy(m *admissionregistrationv1.MatchResources) (*Criteria, error) {
	if m == nil {
		m = &admissionregistrationv1.MatchResources{}
	}
	return compile(*m, len(m.ResourceRules) == 0)
}

func compile(m admissionregistrationv1.MatchResources, anything bool) (*Criteria, error) {
	c := &Criteria{
		anything: anything, rules: m.ResourceRules, exclusions: m.ExcludeResourceRules,
		exact: m.MatchPolicy == nil || *m.MatchPolicy == admissionregistrationv1.Exact,
	}
	var err error
	if c.namespace, err = selector(m.NamespaceSelector); err != nil {
		return nil, fmt.Errorf("namespaceSelector: %w", err)
	}
	if c.object, err = selector(m.ObjectSelector); err != nil {
		return nil, fmt.Errorf("objectSelector: %w", err)
	}
	return c, nil
}

// selector treats a missing selector as the empty one.
func selector(s *metav1.LabelSelector) (labels.Selector, error) {
	if s == nil {
		return labels.Everything(), nil
	}
	return metav1.LabelSelectorAsSelector(s)
}

// Match reports whether the request is concerned, and as what. An error means
// that it cannot be said.
func (c *Criteria) Match(ctx context.Context, r *Request) (Subject, bool, error) {
	subject, ok := c.subject(r)
	if !ok {
		return Subject{}, false, nil
	}
	if _, excluded := find(c.exclusions, c.exact, r); excluded {
		return Subject{}, false, nil
	}
	if !c.object.Empty() && !labelled(c.object, r.Object) && !labelled(c.object, r.OldObject) {
		return Subject{}, false, nil
	}
	ok, err := c.inNamespace(ctx, r)
	return subject, ok, err
}

func (c *Criteria) subject(r *Request) (Subject, bool) {
	if c.anything {
		return r.own(), true
	}
	return find(c.rules, c.exact, r)
}

// find looks for the first rule about the request's own resource, and then for
// one about an equivalent one.
func find(rules []admissionregistrationv1.NamedRuleWithOperations, exact bool, r *Request) (Subject, bool) {
	if about(rules, r, r.Resource) {
		return r.own(), true
	}
	if exact || len(rules) == 0 {
		return Subject{}, false
	}
	for _, other := range r.others() {
		if resource := other.GroupVersionResource(); about(rules, r, resource) {
			return Subject{Resource: resource, Kind: kindOf(other, r.Subresource), row: other}, true
		}
	}
	return Subject{}, false
}

func about(rules []admissionregistrationv1.NamedRuleWithOperations, r *Request, resource schema.GroupVersionResource) bool {
	for i := range rules {
		if rule(&rules[i].RuleWithOperations, r.Attributes, resource) &&
			(len(rules[i].ResourceNames) == 0 || slices.Contains(rules[i].ResourceNames, r.Name)) {
			return true
		}
	}
	return false
}

func labelled(s labels.Selector, obj runtime.Object) bool {
	if isNil(obj) {
		return false
	}
	m, err := meta.Accessor(obj)
	return err == nil && s.Matches(labels.Set(m.GetLabels()))
}

// inNamespace: objects in no namespace are in every selector's.
func (c *Criteria) inNamespace(ctx context.Context, r *Request) (bool, error) {
	if c.namespace.Empty() || r.ObjectNamespace() == "" && r.Resource.Resource != "namespaces" {
		return true, nil
	}
	namespace, err := r.NamespaceObject(ctx)
	switch {
	case apierrors.IsNotFound(err):
		return false, err
	case err != nil:
		return false, apierrors.NewInternalError(err)
	case namespace == nil: // a namespace that has no name yet
		return c.namespace.Matches(labels.Set{}), nil
	}
	return c.namespace.Matches(labels.Set(namespace.Labels)), nil
}
