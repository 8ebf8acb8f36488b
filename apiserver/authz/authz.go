// Package authz puts the authorizers in order and asks one after another. It
// owns the modes and their names; each way to decide is a package below it.
package authz

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// Mode names a way to decide, as in --authorization-mode.
type Mode string

// The modes that are built in.
const (
	Node        Mode = "Node"
	RBAC        Mode = "RBAC"
	AlwaysAllow Mode = "AlwaysAllow"
	AlwaysDeny  Mode = "AlwaysDeny"
)

// Config says who decides.
type Config struct {
	// Modes are asked in this order; the first that allows or denies decides.
	// At least one, none twice.
	Modes []Mode
	// Authorizers stand behind the modes; AlwaysAllow and AlwaysDeny need none.
	// One that is an authorizer.RuleResolver too also answers RulesFor.
	Authorizers map[Mode]authorizer.Authorizer
}

// Authorizer is the union of the modes, behind one rule of its own: members of
// system:masters may do everything. It is safe for concurrent use.
type Authorizer struct {
	members atomic.Pointer[[]authorizer.Authorizer]
}

var (
	_ authorizer.Authorizer   = (*Authorizer)(nil)
	_ authorizer.RuleResolver = (*Authorizer)(nil)
)

// New checks the modes.
func New(config Config) (*Authorizer, error) {
	a := &Authorizer{}
	return a, a.Set(config)
}

// Set changes who decides. On error nothing changes.
func (a *Authorizer) Set(config Config) error {
	members, err := config.members()
	if err == nil {
		a.members.Store(&members)
	}
	return err
}

func (config Config) members() ([]authorizer.Authorizer, error) {
	if len(config.Modes) == 0 {
		return nil, errors.New("at least one authorization mode is needed")
	}
	var members []authorizer.Authorizer
	for i, mode := range config.Modes {
		if slices.Contains(config.Modes[:i], mode) {
			return nil, fmt.Errorf("authorization mode %q is given twice", mode)
		}
		switch mode {
		case AlwaysAllow:
			members = append(members, allow{})
		case AlwaysDeny:
			members = append(members, deny{})
		default:
			member, ok := config.Authorizers[mode]
			if !ok {
				return nil, fmt.Errorf("unknown authorization mode %q", mode)
			}
			members = append(members, member)
		}
	}
	return members, nil
}

// Authorize implements authorizer.Authorizer. Nobody's opinion is
// DecisionNoOpinion, which the caller refuses.
func (a *Authorizer) Authorize(ctx context.Context, attributes authorizer.Attributes) (authorizer.Decision, string, error) {
	if info := attributes.GetUser(); info != nil && slices.Contains(info.GetGroups(), user.SystemPrivilegedGroup) {
		return authorizer.DecisionAllow, "", nil
	}
	var reasons []string
	var errs []error
	for _, member := range *a.members.Load() {
		decision, reason, err := member.Authorize(ctx, attributes)
		if decision == authorizer.DecisionAllow {
			return decision, reason, err
		}
		if err != nil {
			errs = append(errs, err)
		}
		if reason != "" {
			reasons = append(reasons, reason)
		}
		if decision == authorizer.DecisionDeny {
			return decision, reason, err
		}
	}
	return authorizer.DecisionNoOpinion, strings.Join(reasons, "\n"), utilerrors.NewAggregate(errs)
}

// ConditionsAwareAuthorize implements authorizer.Authorizer.
func (a *Authorizer) ConditionsAwareAuthorize(ctx context.Context, attributes authorizer.Attributes) authorizer.ConditionsAwareDecision {
	return authorizer.ConditionsAwareDecisionFromParts(a.Authorize(ctx, attributes))
}

// EvaluateConditions implements authorizer.Authorizer; no mode has conditions.
func (a *Authorizer) EvaluateConditions(context.Context, authorizer.ConditionsAwareDecision, authorizer.ConditionsData) (authorizer.Decision, string, error) {
	return authorizer.DecisionDeny, "", authorizer.ErrorConditionEvaluationNotSupported
}

// RulesFor implements authorizer.RuleResolver: the sum of what the modes know.
// A mode that cannot list its rules makes the answer incomplete.
func (a *Authorizer) RulesFor(ctx context.Context, info user.Info, namespace string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	var resources []authorizer.ResourceRuleInfo
	var paths []authorizer.NonResourceRuleInfo
	var errs []error
	incomplete := false
	for _, member := range *a.members.Load() {
		resolver, ok := member.(authorizer.RuleResolver)
		if !ok {
			incomplete = true
			errs = append(errs, fmt.Errorf("authorizer %T does not support user rule resolution", member))
			continue
		}
		r, p, partly, err := resolver.RulesFor(ctx, info, namespace)
		resources, paths, incomplete = append(resources, r...), append(paths, p...), incomplete || partly
		if err != nil {
			errs = append(errs, err)
		}
	}
	return resources, paths, incomplete, utilerrors.NewAggregate(errs)
}
