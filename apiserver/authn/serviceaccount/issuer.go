package serviceaccount

import (
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"
	apiserviceaccount "k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/utils/clock"
)

// Issuer signs tokens. It is safe for concurrent use.
type Issuer struct {
	url    string
	signer jose.Signer
	clock  clock.PassiveClock
}

// NewIssuer signs in the name of url (the iss claim) with an RSA or ECDSA key.
// A nil clock means the real one.
func NewIssuer(url string, key crypto.Signer, now clock.PassiveClock) (*Issuer, error) {
	if url == "" {
		return nil, errors.New("service account issuer needs a URL")
	}
	if now == nil {
		now = clock.RealClock{}
	}
	public, err := publicJWK(key.Public())
	if err != nil {
		return nil, fmt.Errorf("service account signing key: %w", err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{
		Algorithm: jose.SignatureAlgorithm(public.Algorithm),
		Key:       jose.JSONWebKey{Key: key, KeyID: public.KeyID, Algorithm: public.Algorithm},
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("service account signer: %w", err)
	}
	return &Issuer{url: url, signer: signer, clock: now}, nil
}

// URL is the issuer's name.
func (i *Issuer) URL() string { return i.url }

// Token is a signed token, and the id that audit logs know it by.
type Token struct {
	Value        string
	CredentialID string
	Expires      time.Time
}

// Issue signs a token for the audiences. It is valid from now for lifetime;
// a warnAfter above zero marks use after that span as stale.
func (i *Issuer) Issue(b Binding, audiences []string, lifetime, warnAfter time.Duration) (Token, error) {
	now := i.clock.Now()
	token := Token{CredentialID: uuid.NewString(), Expires: now.Add(lifetime)}
	registered := jwt.Claims{
		Issuer:    i.url,
		Subject:   apiserviceaccount.MakeUsername(b.Namespace, b.ServiceAccount.Name),
		Audience:  jwt.Audience(audiences),
		IssuedAt:  jwt.NewNumericDate(now),
		NotBefore: jwt.NewNumericDate(now),
		Expiry:    jwt.NewNumericDate(token.Expires),
		ID:        token.CredentialID,
	}
	private := privateClaims{Kubernetes: kubernetesClaims{
		Namespace: b.Namespace, ServiceAccount: b.ServiceAccount, Pod: b.Pod, Secret: b.Secret, Node: b.Node,
	}}
	if warnAfter > 0 {
		private.Kubernetes.WarnAfter = jwt.NewNumericDate(now.Add(warnAfter))
	}
	value, err := jwt.Signed(i.signer).Claims(registered).Claims(private).Serialize()
	if err != nil {
		return Token{}, fmt.Errorf("signing service account token: %w", err)
	}
	token.Value = value
	return token, nil
}
