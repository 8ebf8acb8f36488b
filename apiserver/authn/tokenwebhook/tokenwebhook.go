// Package tokenwebhook authenticates bearer tokens by asking a server outside of
// the cluster, with a TokenReview.
package tokenwebhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/yare-io/yare/apiserver/review"
)

const timeout = 30 * time.Second

// Authenticator asks about tokens. It is safe for concurrent use.
type Authenticator struct {
	client *review.Client
	// audiences are this server's own.
	audiences authenticator.Audiences
}

var _ authenticator.Token = (*Authenticator)(nil)

// New reads where to ask from a kubeconfig. audiences are those of this server,
// for requests that name none.
func New(kubeconfig string, audiences []string) (*Authenticator, error) {
	client, err := review.New(kubeconfig, timeout)
	if err != nil {
		return nil, err
	}
	return &Authenticator{client, audiences}, nil
}

// AuthenticateToken implements authenticator.Token.
func (a *Authenticator) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	wanted, ok := authenticator.AudiencesFrom(ctx)
	if !ok {
		wanted = a.audiences
	}
	asked := &authenticationv1.TokenReview{
		TypeMeta: metav1.TypeMeta{APIVersion: authenticationv1.SchemeGroupVersion.String(), Kind: "TokenReview"},
		Spec:     authenticationv1.TokenReviewSpec{Token: token, Audiences: wanted},
	}
	if err := a.client.Ask(ctx, asked); err != nil {
		return nil, false, fmt.Errorf("token webhook: %w", err)
	}
	status := asked.Status
	if !status.Authenticated {
		if status.Error != "" {
			return nil, false, errors.New(status.Error)
		}
		return nil, false, nil
	}
	granted := authenticator.Audiences(status.Audiences)
	if len(granted) == 0 { // a server that knows no audiences speaks for this one
		granted = a.audiences
	}
	if granted = granted.Intersect(wanted); len(wanted) > 0 && len(granted) == 0 {
		return nil, false, nil
	}
	return &authenticator.Response{Audiences: granted, User: identity(status.User)}, true, nil
}

func identity(u authenticationv1.UserInfo) user.Info {
	info := &user.DefaultInfo{Name: u.Username, UID: u.UID, Groups: slices.Clone(u.Groups)}
	for key, values := range u.Extra {
		if info.Extra == nil {
			info.Extra = map[string][]string{}
		}
		info.Extra[key] = values
	}
	return info
}
