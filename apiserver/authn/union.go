package authn

import (
	"context"
	"net/http"
	"slices"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
)

// requestUnion asks each in turn; the first who knows the request wins, and
// errors count only if nobody does.
type requestUnion []authenticator.Request

func (u requestUnion) AuthenticateRequest(request *http.Request) (*authenticator.Response, bool, error) {
	var errs []error
	for _, kind := range u {
		response, ok, err := kind.AuthenticateRequest(request)
		if ok && err == nil {
			return response, true, nil
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return nil, false, utilerrors.NewAggregate(errs)
}

// tokenUnion is the same for bearer tokens.
type tokenUnion []authenticator.Token

func (u tokenUnion) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	var errs []error
	for _, kind := range u {
		response, ok, err := kind.AuthenticateToken(ctx, token)
		if ok && err == nil {
			return response, true, nil
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return nil, false, utilerrors.NewAggregate(errs)
}

// withAuthenticatedGroup adds the group of everybody who is known.
type withAuthenticatedGroup struct{ next authenticator.Request }

func (g withAuthenticatedGroup) AuthenticateRequest(request *http.Request) (*authenticator.Response, bool, error) {
	response, ok, err := g.next.AuthenticateRequest(request)
	if !ok || err != nil {
		return nil, false, err
	}
	groups := response.User.GetGroups()
	if response.User.GetName() == user.Anonymous || slices.Contains(groups, user.AllAuthenticated) || slices.Contains(groups, user.AllUnauthenticated) {
		return response, true, nil
	}
	return &authenticator.Response{Audiences: response.Audiences, User: &user.DefaultInfo{
		Name:   response.User.GetName(),
		UID:    response.User.GetUID(),
		Groups: append(slices.Clip(slices.Clone(groups)), user.AllAuthenticated),
		Extra:  response.User.GetExtra(),
	}}, true, nil
}
