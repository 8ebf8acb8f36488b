// Package auth says who may use a kubelet: clients with a certificate of the
// cluster's client authority, or with a token that the API server knows; and
// those may do what the API server says they may.
//
// Answers of the API server are remembered for a while, a bounded number of
// them. The package knows nothing of what is asked for.
package auth

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	x509request "k8s.io/apiserver/pkg/authentication/request/x509"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/clock"
)

const (
	// maxRemembered bounds each of the caches.
	maxRemembered = 4096
	// maxToken is far longer than any token the API server issues.
	maxToken = 64 << 10
)

// TokenReviewer asks the API server whose a token is. client-go's
// AuthenticationV1().TokenReviews() is one.
type TokenReviewer interface {
	Create(ctx context.Context, review *authenticationv1.TokenReview, options metav1.CreateOptions) (*authenticationv1.TokenReview, error)
}

// Authenticators says how clients may show who they are. The zero value knows
// nobody.
type Authenticators struct {
	// ClientCAs returns the authorities of client certificates at this moment;
	// nil, or a nil pool: certificates are not accepted.
	ClientCAs func() *x509.CertPool
	// Tokens reviews bearer tokens; nil: tokens are not accepted.
	Tokens TokenReviewer
	// TokenTTL is how long a good token is not asked for again. Zero: 2m.
	TokenTTL time.Duration
	// Clock is the clock of TokenTTL. Nil: the real one.
	Clock clock.Clock
}

// NewAuthenticator returns an authenticator that takes certificates first. It
// is safe for concurrent use.
func NewAuthenticator(a Authenticators) authenticator.Request {
	var all chain
	if a.ClientCAs != nil {
		all = append(all, x509request.NewDynamic(func() (x509.VerifyOptions, bool) {
			roots := a.ClientCAs()
			return x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, roots != nil
		}, x509request.CommonNameUserConversion))
	}
	if a.Tokens != nil {
		all = append(all, &tokens{
			reviewer: a.Tokens,
			ttl:      orDefault(a.TokenTTL, 2*time.Minute),
			known:    cache.NewLRUExpireCacheWithClock(maxRemembered, orRealClock(a.Clock)),
		})
	}
	return all
}

// chain asks one authenticator after the other until one knows the client.
type chain []authenticator.Request

// AuthenticateRequest implements authenticator.Request.
func (c chain) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	var errs []error
	for _, one := range c {
		response, ok, err := one.AuthenticateRequest(r)
		if ok {
			return response, true, nil
		}
		errs = append(errs, err)
	}
	return nil, false, errors.Join(errs...)
}

// tokens knows clients by their bearer token.
type tokens struct {
	reviewer TokenReviewer
	ttl      time.Duration
	// known holds the users of good tokens by the token's hash.
	known *cache.LRUExpireCache
}

// AuthenticateRequest implements authenticator.Request.
func (t *tokens) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	token := bearerToken(r.Header.Get("Authorization"))
	if token == "" || len(token) > maxToken {
		return nil, false, nil
	}
	hash := sha256.Sum256([]byte(token))
	if known, ok := t.known.Get(hash); ok {
		return &authenticator.Response{User: known.(user.Info)}, true, nil
	}
	review, err := t.reviewer.Create(r.Context(), &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, false, fmt.Errorf("review a token: %w", err)
	}
	if !review.Status.Authenticated {
		if review.Status.Error != "" {
			return nil, false, fmt.Errorf("token is not good: %s", review.Status.Error)
		}
		return nil, false, nil
	}
	who := userOf(review.Status.User)
	t.known.Add(hash, who, t.ttl)
	return &authenticator.Response{User: who}, true, nil
}

func bearerToken(header string) string {
	scheme, token, ok := strings.Cut(strings.TrimSpace(header), " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

func userOf(u authenticationv1.UserInfo) user.Info {
	who := &user.DefaultInfo{Name: u.Username, UID: u.UID, Groups: u.Groups}
	if len(u.Extra) > 0 {
		who.Extra = make(map[string][]string, len(u.Extra))
		for key, values := range u.Extra {
			who.Extra[key] = values
		}
	}
	return who
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

func orRealClock(c clock.Clock) clock.Clock {
	if c == nil {
		return clock.RealClock{}
	}
	return c
}
