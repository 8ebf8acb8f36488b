package serviceaccount

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	apiserviceaccount "k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/utils/clock"
)

// deletionGrace is how long a token outlives the start of its object's
// deletion, so that a pod can still work while it shuts down and caches lag.
const deletionGrace = 60 * time.Second

// Getter reads the objects that tokens are bound to. Absence is an error.
type Getter interface {
	ServiceAccount(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error)
	Pod(ctx context.Context, namespace, name string) (*corev1.Pod, error)
	Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
	Node(ctx context.Context, name string) (*corev1.Node, error)
}

// VerifierConfig says which tokens are good.
type VerifierConfig struct {
	// Issuers are the accepted iss claims; the first is the one that signs.
	Issuers []string
	// Keys verify signatures.
	Keys *Keys
	// Audiences name this server; a token must be for one of them unless the
	// request's context asks for others.
	Audiences []string
	// Getter looks up the objects a token names. Required.
	Getter Getter
	// NoteUse labels the secret of a legacy token when it is used on a new
	// day; nil: nobody wants to know.
	NoteUse func(ctx context.Context, secret *corev1.Secret, labels map[string]string) error
	// Clock is for tests; nil means the real one.
	Clock clock.PassiveClock
}

// Verifier is an authenticator for service account tokens, safe for concurrent
// use.
type Verifier struct {
	config VerifierConfig
	keys   atomic.Pointer[Keys]
}

var _ authenticator.Token = (*Verifier)(nil)

// NewVerifier checks the configuration.
func NewVerifier(config VerifierConfig) (*Verifier, error) {
	switch {
	case len(config.Issuers) == 0:
		return nil, errors.New("service account verifier needs an issuer")
	case config.Keys == nil:
		return nil, errors.New("service account verifier needs keys")
	case config.Getter == nil:
		return nil, errors.New("service account verifier needs a getter")
	}
	if config.Clock == nil {
		config.Clock = clock.RealClock{}
	}
	v := &Verifier{config: config}
	v.keys.Store(config.Keys)
	return v, nil
}

// SetKeys replaces the keys, for rotation.
func (v *Verifier) SetKeys(keys *Keys) { v.keys.Store(keys) }

// AuthenticateToken implements authenticator.Token. Tokens of other issuers
// are none of its business: they yield false and no error.
func (v *Verifier) AuthenticateToken(ctx context.Context, value string) (*authenticator.Response, bool, error) {
	switch issuer := ClaimedIssuer(value); {
	case issuer == LegacyIssuer:
		return v.authenticateLegacy(ctx, value)
	case !slices.Contains(v.config.Issuers, issuer):
		return nil, false, nil
	}
	var registered jwt.Claims
	var private privateClaims
	if err := v.verifySignature(value, &registered, &private); err != nil {
		return nil, false, err
	}
	audiences, err := v.checkRegistered(ctx, &registered)
	if err != nil {
		return nil, false, err
	}
	info, err := v.checkObjects(ctx, &registered, private.Kubernetes)
	if err != nil {
		return nil, false, err
	}
	return &authenticator.Response{User: info.UserInfo(), Audiences: audiences}, true, nil
}

// ClaimedIssuer reads the iss claim without any check, only to decide whose
// token this is.
func ClaimedIssuer(value string) string {
	parts := strings.Split(value, ".")
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

// verifySignature reads the claims of a token that one of the keys has signed.
func (v *Verifier) verifySignature(value string, claims ...any) error {
	token, err := jwt.ParseSigned(value, algorithms)
	if err != nil {
		return fmt.Errorf("malformed service account token: %w", err)
	}
	if len(token.Headers) != 1 {
		return errors.New("service account token has more than one signature")
	}
	for _, key := range v.keys.Load().candidates(token.Headers[0].KeyID) {
		if token.Headers[0].Algorithm != key.Algorithm {
			continue
		}
		if err := token.Claims(key, claims...); err == nil {
			return nil
		}
	}
	return errors.New("invalid signature of service account token")
}

func (v *Verifier) checkRegistered(ctx context.Context, claims *jwt.Claims) (authenticator.Audiences, error) {
	if !slices.Contains(v.config.Issuers, claims.Issuer) {
		return nil, errors.New("service account token is from another issuer")
	}
	if claims.Expiry == nil {
		return nil, errors.New("service account token never expires")
	}
	switch err := claims.Validate(jwt.Expected{Time: v.config.Clock.Now()}); {
	case errors.Is(err, jwt.ErrExpired):
		return nil, errors.New("service account token has expired")
	case err != nil:
		return nil, fmt.Errorf("service account token is not valid now: %w", err)
	}
	return v.checkAudiences(ctx, claims.Audience)
}

// checkAudiences returns those of a token that are wanted of it.
func (v *Verifier) checkAudiences(ctx context.Context, given []string) (authenticator.Audiences, error) {
	wanted, ok := authenticator.AudiencesFrom(ctx)
	if !ok {
		wanted = v.config.Audiences
	}
	audiences := authenticator.Audiences(given).Intersect(wanted)
	if len(audiences) == 0 && len(wanted) > 0 {
		return nil, fmt.Errorf("token audiences %q is invalid for the target audiences %q", given, wanted)
	}
	return audiences, nil
}

func (v *Verifier) checkObjects(ctx context.Context, registered *jwt.Claims, k kubernetesClaims) (*apiserviceaccount.ServiceAccountInfo, error) {
	if registered.Subject != apiserviceaccount.MakeUsername(k.Namespace, k.ServiceAccount.Name) {
		return nil, errors.New("service account token's subject and account differ")
	}
	account, err := v.config.Getter.ServiceAccount(ctx, k.Namespace, k.ServiceAccount.Name)
	if err := v.alive("service account", k.ServiceAccount, account, err); err != nil {
		return nil, err
	}
	info := &apiserviceaccount.ServiceAccountInfo{
		Namespace: k.Namespace, Name: k.ServiceAccount.Name, UID: k.ServiceAccount.UID,
	}
	if registered.ID != "" {
		info.CredentialID = "JTI=" + registered.ID
	}
	if k.Secret != nil {
		secret, err := v.config.Getter.Secret(ctx, k.Namespace, k.Secret.Name)
		if err := v.alive("secret", *k.Secret, secret, err); err != nil {
			return nil, err
		}
	}
	if k.Pod != nil {
		pod, err := v.config.Getter.Pod(ctx, k.Namespace, k.Pod.Name)
		if err := v.alive("pod", *k.Pod, pod, err); err != nil {
			return nil, err
		}
		info.PodName, info.PodUID = k.Pod.Name, k.Pod.UID
	}
	if k.Node != nil {
		info.NodeName, info.NodeUID = k.Node.Name, k.Node.UID
		if k.Pod == nil {
			node, err := v.config.Getter.Node(ctx, k.Node.Name)
			if err := v.alive("node", *k.Node, node, err); err != nil {
				return nil, err
			}
		}
	}
	return info, nil
}

// alive checks that an object a token is bound to is still the same one and
// not long dying.
func (v *Verifier) alive(kind string, want Ref, got metav1.Object, err error) error {
	if err != nil {
		return fmt.Errorf("%s of service account token: %w", kind, err)
	}
	if string(got.GetUID()) != want.UID {
		return fmt.Errorf("the %s UID (%s) does not match the claim (%s)", kind, got.GetUID(), want.UID)
	}
	if deleted := got.GetDeletionTimestamp(); deleted != nil && deleted.Add(deletionGrace).Before(v.config.Clock.Now()) {
		return fmt.Errorf("service account token has been invalidated: %s is deleted", kind)
	}
	return nil
}
