// Package authn says who a request is from. It owns the order in which the
// kinds of credentials are tried and how each is checked; it refuses to know
// what anybody may do, and takes the objects it needs (secrets, service
// accounts) through small functions and interfaces.
package authn

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/apiserver/authn/serviceaccount"
)

// Config chooses the kinds of credentials. What is nil or empty is off; with
// all of it off every request is refused.
type Config struct {
	// ClientCA verifies client certificates: common name → user, organizations
	// → groups.
	ClientCA *CABundle
	// RequestHeader trusts the identity that an authenticating proxy sends.
	RequestHeader *RequestHeader
	// TokenFile is the path of a CSV file with static tokens: token, user
	// name, user UID, and optionally a quoted list of groups.
	TokenFile string
	// ServiceAccounts verifies service account tokens.
	ServiceAccounts *serviceaccount.Verifier
	// BootstrapSecrets turns bootstrap tokens on; it reads their secrets.
	BootstrapSecrets SecretGetter
	// Tokens are further kinds of bearer tokens, tried after the ones above.
	Tokens []authenticator.Token
	// Anonymous lets requests without credentials in, on the paths it names.
	Anonymous *Anonymous
	// TokenCacheTTL is how long a good bearer token is not looked at again;
	// zero means 10 s, less than zero no cache.
	TokenCacheTTL time.Duration
	// Clock is for tests; nil means the real one.
	Clock clock.WithTicker
}

// Authenticator tries the configured kinds in Kubernetes' order. It is safe
// for concurrent use.
type Authenticator struct {
	request authenticator.Request
	tokens  authenticator.Token
}

var _ authenticator.Request = (*Authenticator)(nil)

// New builds the authenticator. It fails on an unreadable token file.
func New(config Config) (*Authenticator, error) {
	if config.Clock == nil {
		config.Clock = clock.RealClock{}
	}
	tokens, err := tokenAuthenticator(config)
	if err != nil {
		return nil, err
	}
	var kinds requestUnion
	if config.RequestHeader != nil {
		proxy, err := newRequestHeader(*config.RequestHeader, config.Clock)
		if err != nil {
			return nil, err
		}
		kinds = append(kinds, proxy)
	}
	if config.ClientCA != nil {
		kinds = append(kinds, &clientCertificate{ca: config.ClientCA, clock: config.Clock})
	}
	if tokens != nil {
		kinds = append(kinds, &bearer{tokens: tokens}, &webSocketBearer{tokens: tokens})
	}
	a := &Authenticator{tokens: tokens, request: withAuthenticatedGroup{kinds}}
	if config.Anonymous != nil {
		a.request = &anonymousFallback{first: a.request, anonymous: *config.Anonymous}
	}
	return a, nil
}

// AuthenticateRequest implements authenticator.Request. An error means that
// credentials were shown and are bad; no error and false, that there were none
// that anybody knows. Both are answered with 401.
func (a *Authenticator) AuthenticateRequest(request *http.Request) (*authenticator.Response, bool, error) {
	return a.request.AuthenticateRequest(request)
}

// Tokens authenticates bare bearer tokens, for TokenReview. It is nil when no
// kind of token is configured.
func (a *Authenticator) Tokens() authenticator.Token { return a.tokens }

func tokenAuthenticator(config Config) (authenticator.Token, error) {
	var kinds tokenUnion
	if config.TokenFile != "" {
		file, err := loadTokenFile(config.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("token file: %w", err)
		}
		kinds = append(kinds, file)
	}
	if config.ServiceAccounts != nil {
		kinds = append(kinds, config.ServiceAccounts)
	}
	if config.BootstrapSecrets != nil {
		kinds = append(kinds, &bootstrapTokens{secrets: config.BootstrapSecrets, clock: config.Clock})
	}
	kinds = append(kinds, config.Tokens...)
	switch {
	case len(kinds) == 0:
		return nil, nil
	case config.TokenCacheTTL < 0:
		return kinds, nil
	case config.TokenCacheTTL == 0:
		config.TokenCacheTTL = defaultTokenTTL
	}
	cached, err := newTokenCache(kinds, config.TokenCacheTTL, config.Clock)
	if err != nil {
		return nil, errors.New("no randomness for the token cache")
	}
	return cached, nil
}
