package jwt

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
	"k8s.io/utils/clock"
	kjson "sigs.k8s.io/json"
)

// algorithms are the signatures an AuthenticationConfiguration accepts.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512, jose.PS256, jose.PS384, jose.PS512,
}

// issuer authenticates the tokens of one issuer.
type issuer struct {
	config     apiserver.JWTAuthenticator
	mapper     authenticationcel.CELMapper
	algorithms []jose.SignatureAlgorithm
	keys       *keys
	clock      clock.PassiveClock
}

func newIssuer(config apiserver.JWTAuthenticator, algs []jose.SignatureAlgorithm, now clock.PassiveClock) (*issuer, error) {
	if config.Issuer.EgressSelectorType != "" {
		return nil, errors.New("egressSelectorType is not supported")
	}
	mapper, errs := validation.CompileAndValidateJWTAuthenticator(authenticationcel.NewDefaultCompiler(), config, nil)
	if err := errs.ToAggregate(); err != nil {
		return nil, err
	}
	k, err := newKeys(config.Issuer.URL, config.Issuer.DiscoveryURL, config.Issuer.CertificateAuthority, now)
	return &issuer{config: config, mapper: mapper, algorithms: algs, keys: k, clock: now}, err
}

// claimed is the issuer that a token says it is from, unverified.
func claimed(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return claims.Issuer
}

// AuthenticateToken implements authenticator.Token for tokens that are claimed
// to be this issuer's.
func (i *issuer) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	all, err := i.verify(ctx, token)
	if err != nil {
		return nil, false, fmt.Errorf("oidc: verify token: %w", err)
	}
	info, err := i.identify(ctx, all)
	if err != nil {
		return nil, false, fmt.Errorf("oidc: %w", err)
	}
	return &authenticator.Response{User: info}, true, nil
}

// leeway is how far the clocks of issuer and server may differ for nbf.
const leeway = 5 * time.Minute

// verify checks signature, issuer, audience and times, and returns the claims.
func (i *issuer) verify(ctx context.Context, token string) (claims, error) {
	parsed, err := josejwt.ParseSigned(token, i.algorithms)
	if err != nil {
		return nil, err
	}
	candidates, err := i.keys.find(ctx, parsed.Headers[0].KeyID)
	if err != nil {
		return nil, err
	}
	var standard josejwt.Claims
	var raw json.RawMessage
	err = errors.New("failed to verify signature")
	for _, key := range candidates {
		if err = parsed.Claims(key.Key, &standard, &raw); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	if err := i.checkStandard(standard); err != nil {
		return nil, err
	}
	all := claims{}
	return all, kjson.UnmarshalCaseSensitivePreserveInts(raw, &all)
}

func (i *issuer) checkStandard(c josejwt.Claims) error {
	now := i.clock.Now()
	switch {
	case c.Issuer != i.config.Issuer.URL:
		return errors.New("the token is of another issuer")
	case !slices.ContainsFunc(i.config.Issuer.Audiences, func(a string) bool { return slices.Contains(c.Audience, a) }):
		return fmt.Errorf("expected audience in %q got %q", i.config.Issuer.Audiences, []string(c.Audience))
	case c.Expiry == nil:
		return errors.New("the token has no expiry")
	case now.After(c.Expiry.Time()):
		return fmt.Errorf("token is expired (Token Expiry: %v)", c.Expiry.Time())
	case c.NotBefore != nil && now.Add(leeway).Before(c.NotBefore.Time()):
		return errors.New("the token is not valid yet")
	}
	return nil
}
