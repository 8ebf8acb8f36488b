// Package escalation keeps users from giving what they do not have: whoever
// writes a role must hold its rules, and whoever binds a role the rules of that
// role, unless allowed to escalate or bind. It owns this check and refuses to
// know how rules are found.
package escalation

import (
	"context"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/component-helpers/auth/rbac/validation"

	"github.com/yare-io/yare/admission"
)

// Rules finds rules; rbac.Authorizer does.
type Rules interface {
	// Rules are those a user holds in a namespace and cluster-wide. An error
	// means that there may be more.
	Rules(info user.Info, namespace string) ([]rbacv1.PolicyRule, error)
	// RoleRules are those of the role that a binding in the namespace refers to.
	RoleRules(ref rbacv1.RoleRef, namespace string) ([]rbacv1.PolicyRule, bool)
}

// Check is a validating admission plugin. It is part of serving roles and
// bindings at all, and not among those that can be turned off.
type Check struct {
	rules      Rules
	authorizer authorizer.UnconditionalAuthorizer
}

var _ admission.Validator = (*Check)(nil)

// New makes a check that asks the authorizer for the verbs escalate and bind.
func New(rules Rules, authz authorizer.UnconditionalAuthorizer) *Check {
	return &Check{rules: rules, authorizer: authz}
}

// Name implements admission.Plugin.
func (*Check) Name() string { return "RBACEscalation" }

// Handles implements admission.Plugin.
func (*Check) Handles(o admission.Operation) bool {
	return o == admission.Create || o == admission.Update
}

// everything is what one must hold to write an aggregation rule, which may
// gather any rule.
var everything = []rbacv1.PolicyRule{
	{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}},
	{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}},
}

// Validate implements admission.Validator.
func (c *Check) Validate(ctx context.Context, a *admission.Attributes) error {
	if a.Resource.Group != rbacv1.GroupName || a.User == nil || slices.Contains(a.User.GetGroups(), user.SystemPrivilegedGroup) {
		return nil
	}
	if a.Operation == admission.Update && onlyForCollector(a.Object, a.OldObject) {
		return nil
	}
	switch object := a.Object.(type) {
	case *rbacv1.Role:
		return c.role(ctx, a, object.Rules)
	case *rbacv1.ClusterRole:
		rules := object.Rules
		if old, ok := a.OldObject.(*rbacv1.ClusterRole); object.AggregationRule != nil || ok && old.AggregationRule != nil {
			rules = slices.Concat(rules, everything)
		}
		return c.role(ctx, a, rules)
	case *rbacv1.RoleBinding:
		return c.binding(ctx, a, object.RoleRef)
	case *rbacv1.ClusterRoleBinding:
		return c.binding(ctx, a, object.RoleRef)
	}
	return nil
}

func (c *Check) role(ctx context.Context, a *admission.Attributes, rules []rbacv1.PolicyRule) error {
	escalate := authorizer.AttributesRecord{
		User: a.User, Verb: "escalate", APIGroup: rbacv1.GroupName, APIVersion: a.Resource.Version,
		Resource: a.Resource.Resource, Namespace: a.Namespace, ResourceRequest: true,
	}
	if a.Operation == admission.Update {
		escalate.Name = a.Name
	}
	if allowed(ctx, c.authorizer, escalate) {
		return nil
	}
	return c.held(a, rules)
}

func (c *Check) binding(ctx context.Context, a *admission.Attributes, ref rbacv1.RoleRef) error {
	bind := authorizer.AttributesRecord{
		User: a.User, Verb: "bind", APIGroup: ref.APIGroup, APIVersion: "*",
		Resource: "roles", Name: ref.Name, Namespace: a.Namespace, ResourceRequest: true,
	}
	if ref.Kind == "ClusterRole" {
		bind.Resource = "clusterroles"
	}
	if allowed(ctx, c.authorizer, bind) {
		return nil
	}
	rules, found := c.rules.RoleRules(ref, a.Namespace)
	if !found {
		return apierrors.NewNotFound(rbacv1.Resource(bind.Resource), ref.Name)
	}
	return c.held(a, rules)
}

func allowed(ctx context.Context, authz authorizer.UnconditionalAuthorizer, attributes authorizer.Attributes) bool {
	decision, _, _ := authz.Authorize(ctx, attributes)
	return decision == authorizer.DecisionAllow
}

// held refuses if the user lacks any of the rules.
func (c *Check) held(a *admission.Attributes, rules []rbacv1.PolicyRule) error {
	own, err := c.rules.Rules(a.User, a.Namespace)
	covered, missing := validation.Covers(own, rules)
	if covered {
		return nil
	}
	message := fmt.Sprintf("user %q (groups=%q) is attempting to grant RBAC permissions not currently held:\n%s",
		a.User.GetName(), a.User.GetGroups(), describe(missing))
	if err != nil {
		message += fmt.Sprintf("; resolution errors: %v", err)
	}
	return admission.Forbidden(a, fmt.Errorf("%s", message))
}

// onlyForCollector: the garbage collector must be able to let roles go that it
// could not write.
func onlyForCollector(object, old runtime.Object) bool {
	now, ok := object.DeepCopyObject().(metav1.Object)
	if !ok {
		return false
	}
	was, ok := old.(metav1.Object)
	if !ok {
		return false
	}
	now.SetFinalizers(was.GetFinalizers())
	now.SetOwnerReferences(was.GetOwnerReferences())
	now.SetManagedFields(was.GetManagedFields())
	return equality.Semantic.DeepEqual(now, was)
}

// describe lists rules, one on each line, with the verbs on the same things
// put together.
func describe(rules []rbacv1.PolicyRule) string {
	var order []string
	verbs := map[string][]string{}
	for _, rule := range rules {
		what := describeTarget(rule)
		if _, known := verbs[what]; !known {
			order = append(order, what)
		}
		for _, verb := range rule.Verbs {
			if !slices.Contains(verbs[what], verb) {
				verbs[what] = append(verbs[what], verb)
			}
		}
	}
	slices.Sort(order)
	var lines []string
	for _, what := range order {
		lines = append(lines, fmt.Sprintf("{%s, Verbs:%q}", what, verbs[what]))
	}
	return strings.Join(lines, "\n")
}

func describeTarget(rule rbacv1.PolicyRule) string {
	var parts []string
	for _, part := range []struct {
		name   string
		values []string
	}{
		{"APIGroups", rule.APIGroups}, {"Resources", rule.Resources},
		{"NonResourceURLs", rule.NonResourceURLs}, {"ResourceNames", rule.ResourceNames},
	} {
		if len(part.values) > 0 {
			parts = append(parts, fmt.Sprintf("%s:%q", part.name, part.values))
		}
	}
	return strings.Join(parts, ", ")
}
