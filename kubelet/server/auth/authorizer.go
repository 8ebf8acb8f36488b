package auth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/utils/clock"
)

// AccessReviewer asks the API server whether somebody may do something.
// client-go's AuthorizationV1().SubjectAccessReviews() is one.
type AccessReviewer interface {
	Create(ctx context.Context, review *authorizationv1.SubjectAccessReview, options metav1.CreateOptions) (*authorizationv1.SubjectAccessReview, error)
}

// Authorizers says how the API server's answers are remembered.
type Authorizers struct {
	// Reviews is asked for every access whose answer is not remembered.
	Reviews AccessReviewer
	// AllowedTTL and DeniedTTL are how long answers are remembered. Zero: 5m
	// and 30s.
	AllowedTTL, DeniedTTL time.Duration
	// Clock is the clock of both. Nil: the real one.
	Clock clock.Clock
}

// NewAuthorizer returns an authorizer of resources and of paths. What it cannot
// ask about, it denies. It is safe for concurrent use.
func NewAuthorizer(a Authorizers) authorizer.Authorizer {
	r := &reviews{
		reviewer:   a.Reviews,
		allowedTTL: orDefault(a.AllowedTTL, 5*time.Minute),
		deniedTTL:  orDefault(a.DeniedTTL, 30*time.Second),
		known:      cache.NewLRUExpireCacheWithClock(maxRemembered, orRealClock(a.Clock)),
	}
	return authorizer.AuthorizerFunc(r.authorize)
}

type reviews struct {
	reviewer              AccessReviewer
	allowedTTL, deniedTTL time.Duration
	// known holds statuses by the hash of what was asked.
	known *cache.LRUExpireCache
}

func (r *reviews) authorize(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	spec := specOf(a)
	question, err := json.Marshal(spec)
	if err != nil {
		return authorizer.DecisionDeny, "", fmt.Errorf("encode an access review: %w", err)
	}
	hash := sha256.Sum256(question)
	if known, ok := r.known.Get(hash); ok {
		decision, reason := decide(known.(authorizationv1.SubjectAccessReviewStatus))
		return decision, reason, nil
	}
	review, err := r.reviewer.Create(ctx, &authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		return authorizer.DecisionDeny, "", fmt.Errorf("review access: %w", err)
	}
	ttl := r.deniedTTL
	if review.Status.Allowed {
		ttl = r.allowedTTL
	}
	r.known.Add(hash, review.Status, ttl)
	decision, reason := decide(review.Status)
	return decision, reason, nil
}

func decide(status authorizationv1.SubjectAccessReviewStatus) (authorizer.Decision, string) {
	switch {
	case status.Denied:
		return authorizer.DecisionDeny, status.Reason
	case status.Allowed:
		return authorizer.DecisionAllow, status.Reason
	default:
		return authorizer.DecisionNoOpinion, status.Reason
	}
}

func specOf(a authorizer.Attributes) authorizationv1.SubjectAccessReviewSpec {
	who := a.GetUser()
	spec := authorizationv1.SubjectAccessReviewSpec{User: who.GetName(), UID: who.GetUID(), Groups: who.GetGroups()}
	if a.IsResourceRequest() {
		spec.ResourceAttributes = &authorizationv1.ResourceAttributes{
			Verb: a.GetVerb(), Group: a.GetAPIGroup(), Version: a.GetAPIVersion(), Resource: a.GetResource(),
			Subresource: a.GetSubresource(), Namespace: a.GetNamespace(), Name: a.GetName(),
		}
	} else {
		spec.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Path: a.GetPath(), Verb: a.GetVerb()}
	}
	if extra := who.GetExtra(); len(extra) > 0 {
		spec.Extra = make(map[string]authorizationv1.ExtraValue, len(extra))
		for key, values := range extra {
			spec.Extra[key] = values
		}
	}
	return spec
}
