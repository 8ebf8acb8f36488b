// Package webhook authorizes by asking a server outside of the cluster, with a
// SubjectAccessReview.
package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	authorizationcel "k8s.io/apiserver/pkg/authorization/cel"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/apiserver/review"
)

// answers is how many answers are remembered.
const answers = 8192

// maxKey is the size of a question above which its answer is not remembered.
const maxKey = 10000

// Authorizer asks one server. It is safe for concurrent use.
type Authorizer struct {
	config     apiserver.WebhookConfiguration
	client     *review.Client
	conditions *authorizationcel.CELMatcher
	answers    *cache.LRUExpireCache
	onError    authorizer.Decision
	logger     *slog.Logger
}

var (
	_ authorizer.Authorizer   = (*Authorizer)(nil)
	_ authorizer.RuleResolver = (*Authorizer)(nil)
)

// New makes the authorizer of one webhook of an AuthorizationConfiguration,
// which has been validated.
func New(name string, config apiserver.WebhookConfiguration, now clock.PassiveClock, logger *slog.Logger) (*Authorizer, error) {
	if config.ConnectionInfo.Type != apiserver.AuthorizationWebhookConnectionInfoTypeKubeConfigFile {
		return nil, fmt.Errorf("connection type %s is not supported, use KubeConfigFile", config.ConnectionInfo.Type)
	}
	if config.SubjectAccessReviewVersion != "v1" {
		return nil, fmt.Errorf("subjectAccessReviewVersion %s is not supported, use v1", config.SubjectAccessReviewVersion)
	}
	client, err := review.New(*config.ConnectionInfo.KubeConfigFile, config.Timeout.Duration)
	if err != nil {
		return nil, err
	}
	matcher, errs := validation.ValidateAndCompileMatchConditions(authorizationcel.NewDefaultCompiler(), config.MatchConditions)
	if err := errs.ToAggregate(); err != nil {
		return nil, err
	}
	a := &Authorizer{
		config: config, client: client, conditions: matcher, answers: cache.NewLRUExpireCacheWithClock(answers, now),
		onError: authorizer.DecisionNoOpinion, logger: logger.With("authorizer", name),
	}
	if config.FailurePolicy == apiserver.FailurePolicyDeny {
		a.onError = authorizer.DecisionDeny
	}
	return a, nil
}

// Authorize implements authorizer.Authorizer.
func (a *Authorizer) Authorize(ctx context.Context, attributes authorizer.Attributes) (authorizer.Decision, string, error) {
	asked := &authorizationv1.SubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: authorizationv1.SchemeGroupVersion.String(), Kind: "SubjectAccessReview"},
		Spec:     question(attributes),
	}
	if a.conditions != nil {
		concerned, err := a.conditions.Eval(ctx, asked)
		if err != nil {
			return a.onError, "", err
		}
		if !concerned {
			return authorizer.DecisionNoOpinion, "", nil
		}
	}
	key, err := json.Marshal(asked.Spec)
	if err != nil {
		return a.onError, "", err
	}
	hash := sha256.Sum256(key)
	if known, ok := a.answers.Get(hash); ok {
		return decide(known.(authorizationv1.SubjectAccessReviewStatus))
	}
	if err := a.client.Ask(ctx, asked); err != nil {
		a.logger.Warn("authorization webhook could not be asked", "err", err)
		return a.onError, "", err
	}
	if ttl := a.remember(asked.Status.Allowed); ttl > 0 && len(key) < maxKey {
		a.answers.Add(hash, asked.Status, ttl)
	}
	return decide(asked.Status)
}

func (a *Authorizer) remember(allowed bool) time.Duration {
	switch {
	case allowed && a.config.CacheAuthorizedRequests:
		return a.config.AuthorizedTTL.Duration
	case !allowed && a.config.CacheUnauthorizedRequests:
		return a.config.UnauthorizedTTL.Duration
	}
	return 0
}

func decide(s authorizationv1.SubjectAccessReviewStatus) (authorizer.Decision, string, error) {
	switch {
	case s.Denied && s.Allowed:
		return authorizer.DecisionDeny, s.Reason, fmt.Errorf("webhook subject access review returned both allow and deny response")
	case s.Denied:
		return authorizer.DecisionDeny, s.Reason, nil
	case s.Allowed:
		return authorizer.DecisionAllow, s.Reason, nil
	}
	return authorizer.DecisionNoOpinion, s.Reason, nil
}

func question(a authorizer.Attributes) authorizationv1.SubjectAccessReviewSpec {
	spec := authorizationv1.SubjectAccessReviewSpec{}
	if info := a.GetUser(); info != nil {
		spec.User, spec.UID, spec.Groups = info.GetName(), info.GetUID(), info.GetGroups()
		for key, values := range info.GetExtra() {
			if spec.Extra == nil {
				spec.Extra = map[string]authorizationv1.ExtraValue{}
			}
			spec.Extra[key] = values
		}
	}
	if !a.IsResourceRequest() {
		spec.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Path: a.GetPath(), Verb: a.GetVerb()}
		return spec
	}
	spec.ResourceAttributes = &authorizationv1.ResourceAttributes{
		Namespace: a.GetNamespace(), Verb: a.GetVerb(), Group: a.GetAPIGroup(), Version: a.GetAPIVersion(),
		Resource: a.GetResource(), Subresource: a.GetSubresource(), Name: a.GetName(),
		FieldSelector: fieldSelector(a), LabelSelector: labelSelector(a),
	}
	return spec
}

// RulesFor implements authorizer.RuleResolver: what the server would allow is
// not known before it is asked.
func (a *Authorizer) RulesFor(context.Context, user.Info, string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	return nil, nil, true, errors.New("webhook authorizer does not support user rule resolution")
}

// ConditionsAwareAuthorize implements authorizer.Authorizer.
func (a *Authorizer) ConditionsAwareAuthorize(ctx context.Context, attributes authorizer.Attributes) authorizer.ConditionsAwareDecision {
	return authorizer.ConditionsAwareDecisionFromParts(a.Authorize(ctx, attributes))
}

// EvaluateConditions implements authorizer.Authorizer; there are none.
func (a *Authorizer) EvaluateConditions(context.Context, authorizer.ConditionsAwareDecision, authorizer.ConditionsData) (authorizer.Decision, string, error) {
	return authorizer.DecisionDeny, "", authorizer.ErrorConditionEvaluationNotSupported
}
