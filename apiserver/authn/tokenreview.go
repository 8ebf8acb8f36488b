package authn

import (
	"context"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
)

// ReviewToken fills a review's status with whose token it holds. audiences
// are this server's own, for a review that names none. tokens may be nil. A
// bad token is no error; the status says so.
func ReviewToken(ctx context.Context, tokens authenticator.Token, audiences authenticator.Audiences, review *authenticationv1.TokenReview) error {
	if review.Spec.Token == "" {
		return apierrors.NewBadRequest("token is required for TokenReview in authentication")
	}
	wanted := authenticator.Audiences(review.Spec.Audiences)
	if len(wanted) == 0 {
		wanted = audiences
	}
	if len(wanted) > 0 {
		ctx = authenticator.WithAudiences(ctx, wanted)
	}
	review.Status = authenticationv1.TokenReviewStatus{}
	if tokens == nil {
		return nil
	}
	response, ok, err := tokens.AuthenticateToken(ctx, review.Spec.Token)
	if err != nil {
		review.Status.Error = err.Error()
		return nil
	}
	if !ok {
		return nil
	}
	granted := response.Audiences
	if len(granted) == 0 { // a token that knows no audiences is this server's
		if granted = audiences.Intersect(wanted); len(granted) == 0 && len(wanted) > 0 {
			return nil
		}
	}
	review.Status.Authenticated = true
	review.Status.User = UserInfo(response.User)
	if len(review.Spec.Audiences) > 0 {
		review.Status.Audiences = granted
	}
	return nil
}

// UserInfo is an identity as the API shows it, in reviews, admission and audit.
func UserInfo(info user.Info) authenticationv1.UserInfo {
	out := authenticationv1.UserInfo{Username: info.GetName(), UID: info.GetUID(), Groups: info.GetGroups()}
	for key, values := range info.GetExtra() {
		if out.Extra == nil {
			out.Extra = map[string]authenticationv1.ExtraValue{}
		}
		out.Extra[key] = values
	}
	return out
}
