// Package rbac decides by roles and bindings. It owns their compiled form: for
// every subject the bindings that name it, by namespace, so that a decision
// looks at no binding of anybody else. It refuses to know how roles are stored
// and validated; whoever watches them calls Set and Delete.
package rbac

import (
	"context"
	"fmt"
	"strings"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// Authorizer answers from memory. It is safe for concurrent use; changes are
// seen by the next decision.
type Authorizer struct {
	mu sync.RWMutex // guards all below; rules of a role are replaced, never changed
	// roles also holds the roles that bindings refer to but nobody has set yet.
	roles    map[roleKey]*role
	bindings map[bindingKey]*binding
	users    subjects // service accounts too, by their user names
	groups   subjects
}

var (
	_ authorizer.Authorizer   = (*Authorizer)(nil)
	_ authorizer.RuleResolver = (*Authorizer)(nil)
)

// New returns an authorizer without roles, which has no opinion on anything.
func New() *Authorizer {
	return &Authorizer{
		roles:    map[roleKey]*role{},
		bindings: map[bindingKey]*binding{},
		users:    subjects{},
		groups:   subjects{},
	}
}

// Authorize allows what a rule allows and has no opinion on the rest; it never
// denies. The reason names the binding that allowed, or the roles that should
// be there and are not.
func (a *Authorizer) Authorize(_ context.Context, attributes authorizer.Attributes) (authorizer.Decision, string, error) {
	info := attributes.GetUser()
	if info == nil {
		return authorizer.DecisionNoOpinion, "", nil
	}
	q := newQuery(attributes)
	a.mu.RLock()
	defer a.mu.RUnlock()
	reason, missing := a.search(info, "", &q, nil)
	if reason == "" && q.namespace != "" {
		reason, missing = a.search(info, q.namespace, &q, missing)
	}
	if reason != "" {
		return authorizer.DecisionAllow, reason, nil
	}
	if len(missing) > 0 {
		return authorizer.DecisionNoOpinion, fmt.Sprintf("RBAC: %v", missingRoles(missing)), nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

// search returns the reason of the first grant in the namespace that allows the
// request. It adds the roles that are not there to missing.
func (a *Authorizer) search(info user.Info, namespace string, q *query, missing []*role) (string, []*role) {
	reason, missing := searchGrants(a.users.grants(info.GetName(), namespace), q, missing)
	if reason != "" {
		return reason, missing
	}
	for _, group := range info.GetGroups() {
		if reason, missing = searchGrants(a.groups.grants(group, namespace), q, missing); reason != "" {
			return reason, missing
		}
	}
	return "", missing
}

func searchGrants(grants []grant, q *query, missing []*role) (string, []*role) {
	for i := range grants {
		switch role := grants[i].role; {
		case !role.exists:
			missing = append(missing, role)
		case role.rules.allow(q):
			return grants[i].reason, missing
		}
	}
	return "", missing
}

// ConditionsAwareAuthorize implements authorizer.Authorizer.
func (a *Authorizer) ConditionsAwareAuthorize(ctx context.Context, attributes authorizer.Attributes) authorizer.ConditionsAwareDecision {
	return authorizer.ConditionsAwareDecisionFromParts(a.Authorize(ctx, attributes))
}

// EvaluateConditions implements authorizer.Authorizer; RBAC has no conditions.
func (a *Authorizer) EvaluateConditions(context.Context, authorizer.ConditionsAwareDecision, authorizer.ConditionsData) (authorizer.Decision, string, error) {
	return authorizer.DecisionDeny, "", authorizer.ErrorConditionEvaluationNotSupported
}

// Rules returns every rule that applies to the user, cluster-wide and, unless
// it is empty, in the namespace. An error tells of roles that are not there;
// the rules are good all the same. The rules are shared: do not change them.
func (a *Authorizer) Rules(info user.Info, namespace string) ([]rbacv1.PolicyRule, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	var rules []rbacv1.PolicyRule
	var missing []*role
	for _, g := range a.grants(info, namespace) {
		if !g.role.exists {
			missing = append(missing, g.role)
		}
		rules = append(rules, g.role.source...)
	}
	return rules, missingRoles(missing)
}

// RulesFor implements authorizer.RuleResolver.
func (a *Authorizer) RulesFor(_ context.Context, info user.Info, namespace string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	rules, err := a.Rules(info, namespace)
	var resources []authorizer.ResourceRuleInfo
	var paths []authorizer.NonResourceRuleInfo
	for _, r := range rules {
		if len(r.Resources) > 0 {
			resources = append(resources, &authorizer.DefaultResourceRuleInfo{
				Verbs: r.Verbs, APIGroups: r.APIGroups, Resources: r.Resources, ResourceNames: r.ResourceNames,
			})
		}
		if len(r.NonResourceURLs) > 0 {
			paths = append(paths, &authorizer.DefaultNonResourceRuleInfo{Verbs: r.Verbs, NonResourceURLs: r.NonResourceURLs})
		}
	}
	return resources, paths, false, err
}

// RoleRules returns the rules of the role that a binding in the namespace
// refers to, and whether it exists.
func (a *Authorizer) RoleRules(ref rbacv1.RoleRef, namespace string) ([]rbacv1.PolicyRule, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	r, ok := a.roles[keyOf(ref, namespace)]
	if !ok || !r.exists {
		return nil, false
	}
	return r.source, true
}

// grants are all grants to the user: cluster-wide ones first, then those of the
// namespace.
func (a *Authorizer) grants(info user.Info, namespace string) []grant {
	scopes := []string{""}
	if namespace != "" {
		scopes = append(scopes, namespace)
	}
	var all []grant
	for _, scope := range scopes {
		all = append(all, a.users.grants(info.GetName(), scope)...)
		for _, group := range info.GetGroups() {
			all = append(all, a.groups.grants(group, scope)...)
		}
	}
	return all
}

func missingRoles(missing []*role) error {
	var errs []error
	for _, r := range missing {
		errs = append(errs, fmt.Errorf("%s.%s %q not found", strings.ToLower(r.key.kind), rbacv1.GroupName, r.key.name))
	}
	return utilerrors.NewAggregate(errs)
}
