// Package authentication holds the rows of the authentication.k8s.io group:
// questions about whose a token or a request is. They are answered, not
// stored. How tokens are checked is for somebody else to know.
package authentication

import (
	"context"
	"errors"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

// Deps is what the rows of this group need.
type Deps struct {
	// User says who a request is from.
	User func(context.Context) (user.Info, bool)
	// ReviewToken fills the status of a review that holds a token. Without it
	// reviews answer with an error.
	ReviewToken func(context.Context, *authenticationv1.TokenReview) error
	// Clock dates answers.
	Clock clock.PassiveClock
}

// Resources returns the rows of the group.
func Resources(d Deps) []*registry.Resource {
	return []*registry.Resource{
		{
			Kind: kind("SelfSubjectReview"), Name: "selfsubjectreviews", Singular: "selfsubjectreview", Verbs: row.CreateOnly(),
			New: row.New[authenticationv1.SelfSubjectReview], Creator: reviewSelf(d),
		},
		{
			Kind: kind("TokenReview"), Name: "tokenreviews", Singular: "tokenreview", Verbs: row.CreateOnly(),
			New: row.New[authenticationv1.TokenReview], Creator: reviewToken(d),
		},
	}
}

func kind(name string) schema.GroupVersionKind {
	return authenticationv1.SchemeGroupVersion.WithKind(name)
}

func reviewSelf(d Deps) registry.Action {
	return func(ctx context.Context, _ registry.Call) (runtime.Object, error) {
		who, ok := d.User(ctx)
		if !ok {
			return nil, apierrors.NewBadRequest("no user present on request")
		}
		review := &authenticationv1.SelfSubjectReview{}
		review.CreationTimestamp = metav1.NewTime(d.Clock.Now())
		info := &review.Status.UserInfo
		info.Username, info.UID, info.Groups = who.GetName(), who.GetUID(), who.GetGroups()
		for key, values := range who.GetExtra() {
			if info.Extra == nil {
				info.Extra = map[string]authenticationv1.ExtraValue{}
			}
			info.Extra[key] = values
		}
		return review, nil
	}
}

func reviewToken(d Deps) registry.Action {
	return func(ctx context.Context, call registry.Call) (runtime.Object, error) {
		if d.ReviewToken == nil {
			return nil, apierrors.NewInternalError(errors.New("no token authenticator is configured"))
		}
		review := call.Object.(*authenticationv1.TokenReview).DeepCopy()
		if review.Namespace != "" {
			return nil, apierrors.NewBadRequest("namespace is not allowed on this type: " + review.Namespace)
		}
		if err := d.ReviewToken(ctx, review); err != nil {
			return nil, err
		}
		return review, nil
	}
}
