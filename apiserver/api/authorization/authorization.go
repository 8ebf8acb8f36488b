// Package authorization holds the rows of the authorization.k8s.io group:
// questions about who may do what. They are answered by the server's
// authorizer, not stored.
package authorization

import (
	"context"
	"errors"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

// Authorizer decides.
type Authorizer interface {
	Authorize(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error)
}

// Deps is what the rows of this group need. Without an authorizer or resolver
// the questions to it are answered with an error.
type Deps struct {
	User       func(context.Context) (user.Info, bool)
	Authorizer Authorizer
	Rules      authorizer.RuleResolver
}

var (
	errNoAuthorizer = errors.New("no authorizer is configured")
	errNoRules      = errors.New("no rule resolver is configured")
)

// Resources returns the rows of the group.
func Resources(d Deps) []*registry.Resource {
	return []*registry.Resource{
		{
			Kind: kind("LocalSubjectAccessReview"), Name: "localsubjectaccessreviews", Singular: "localsubjectaccessreview", Namespaced: true,
			Verbs: row.CreateOnly(), New: row.New[authorizationv1.LocalSubjectAccessReview], Creator: reviewLocal(d),
		},
		{
			Kind: kind("SelfSubjectAccessReview"), Name: "selfsubjectaccessreviews", Singular: "selfsubjectaccessreview",
			Verbs: row.CreateOnly(), New: row.New[authorizationv1.SelfSubjectAccessReview], Creator: reviewSelf(d),
		},
		{
			Kind: kind("SelfSubjectRulesReview"), Name: "selfsubjectrulesreviews", Singular: "selfsubjectrulesreview",
			Verbs: row.CreateOnly(), New: row.New[authorizationv1.SelfSubjectRulesReview], Creator: reviewRules(d),
		},
		{
			Kind: kind("SubjectAccessReview"), Name: "subjectaccessreviews", Singular: "subjectaccessreview",
			Verbs: row.CreateOnly(), New: row.New[authorizationv1.SubjectAccessReview], Creator: reviewSubject(d),
		},
	}
}

func kind(name string) schema.GroupVersionKind {
	return authorizationv1.SchemeGroupVersion.WithKind(name)
}

func reviewSubject(d Deps) registry.Action {
	return func(ctx context.Context, call registry.Call) (runtime.Object, error) {
		review := call.Object.(*authorizationv1.SubjectAccessReview).DeepCopy()
		if errs := validateSubject(&review.Spec); len(errs) > 0 {
			return nil, apierrors.NewInvalid(kind("SubjectAccessReview").GroupKind(), "", errs)
		}
		var err error
		review.Status, err = decide(ctx, d.Authorizer, attributesOf(&review.Spec))
		return review, err
	}
}

func reviewLocal(d Deps) registry.Action {
	return func(ctx context.Context, call registry.Call) (runtime.Object, error) {
		review := call.Object.(*authorizationv1.LocalSubjectAccessReview).DeepCopy()
		if review.Namespace == "" {
			review.Namespace = call.Namespace
		}
		if errs := validateLocal(review); len(errs) > 0 {
			return nil, apierrors.NewInvalid(kind("LocalSubjectAccessReview").GroupKind(), "", errs)
		}
		if review.Namespace != call.Namespace {
			return nil, apierrors.NewBadRequest("spec.resourceAttributes.namespace must match namespace: " + call.Namespace)
		}
		var err error
		review.Status, err = decide(ctx, d.Authorizer, attributesOf(&review.Spec))
		return review, err
	}
}

func reviewSelf(d Deps) registry.Action {
	return func(ctx context.Context, call registry.Call) (runtime.Object, error) {
		review := call.Object.(*authorizationv1.SelfSubjectAccessReview).DeepCopy()
		if errs := validateSelf(&review.Spec); len(errs) > 0 {
			return nil, apierrors.NewInvalid(kind("SelfSubjectAccessReview").GroupKind(), "", errs)
		}
		who, ok := d.User(ctx)
		if !ok {
			return nil, apierrors.NewBadRequest("no user present on request")
		}
		var err error
		review.Status, err = decide(ctx, d.Authorizer, attributes(who, review.Spec.ResourceAttributes, review.Spec.NonResourceAttributes))
		return review, err
	}
}

func decide(ctx context.Context, by Authorizer, a authorizer.Attributes) (authorizationv1.SubjectAccessReviewStatus, error) {
	if by == nil {
		return authorizationv1.SubjectAccessReviewStatus{}, apierrors.NewInternalError(errNoAuthorizer)
	}
	decision, reason, err := by.Authorize(ctx, a)
	status := authorizationv1.SubjectAccessReviewStatus{
		Allowed: decision == authorizer.DecisionAllow,
		Denied:  decision == authorizer.DecisionDeny,
		Reason:  reason,
	}
	if err != nil {
		status.EvaluationError = err.Error()
	}
	return status, nil
}

func reviewRules(d Deps) registry.Action {
	return func(ctx context.Context, call registry.Call) (runtime.Object, error) {
		review := call.Object.(*authorizationv1.SelfSubjectRulesReview).DeepCopy()
		who, ok := d.User(ctx)
		if !ok {
			return nil, apierrors.NewBadRequest("no user present on request")
		}
		if review.Spec.Namespace == "" {
			return nil, apierrors.NewBadRequest("no namespace on request")
		}
		if d.Rules == nil {
			return nil, apierrors.NewInternalError(errNoRules)
		}
		resources, paths, incomplete, err := d.Rules.RulesFor(ctx, who, review.Spec.Namespace)
		review.Status = authorizationv1.SubjectRulesReviewStatus{
			ResourceRules: resourceRules(resources), NonResourceRules: nonResourceRules(paths), Incomplete: incomplete,
		}
		if err != nil {
			review.Status.EvaluationError = err.Error()
		}
		return review, nil
	}
}

func resourceRules(in []authorizer.ResourceRuleInfo) []authorizationv1.ResourceRule {
	out := []authorizationv1.ResourceRule{}
	for _, r := range in {
		out = append(out, authorizationv1.ResourceRule{
			Verbs: r.GetVerbs(), APIGroups: r.GetAPIGroups(), Resources: r.GetResources(), ResourceNames: r.GetResourceNames(),
		})
	}
	return out
}

func nonResourceRules(in []authorizer.NonResourceRuleInfo) []authorizationv1.NonResourceRule {
	out := []authorizationv1.NonResourceRule{}
	for _, r := range in {
		out = append(out, authorizationv1.NonResourceRule{Verbs: r.GetVerbs(), NonResourceURLs: r.GetNonResourceURLs()})
	}
	return out
}
