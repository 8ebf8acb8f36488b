package jwt_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/apiserver/authn/jwt"
)

// provider is an issuer of tokens.
type provider struct {
	*httptest.Server
	t       testing.TB
	key     *ecdsa.PrivateKey
	keyID   string
	fetches atomic.Int32
	// speaksFor replaces the issuer in the discovery document.
	speaksFor string
}

func newProvider(t testing.TB) *provider {
	t.Helper()
	p := &provider{t: t}
	p.rotate("one")
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		issuer := p.URL
		if p.speaksFor != "" {
			issuer = p.speaksFor
		}
		fmt.Fprintf(w, `{"issuer": %q, "jwks_uri": %q}`, issuer, p.URL+"/keys")
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		p.fetches.Add(1)
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), KeyID: p.keyID, Use: "sig", Algorithm: "ES256"}}})
	})
	p.Server = httptest.NewTLSServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) rotate(id string) {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	p.key, p.keyID = key, id
}

// token signs claims; those of every good token are there already.
func (p *provider) token(changes map[string]any) string {
	p.t.Helper()
	claims := map[string]any{"iss": p.URL, "aud": []string{"yare"}, "sub": "ann", "exp": time.Now().Add(time.Hour).Unix()}
	for name, value := range changes {
		if value == nil {
			delete(claims, name)
			continue
		}
		claims[name] = value
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.key, KeyID: p.keyID}}, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	token, err := josejwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		p.t.Fatal(err)
	}
	return token
}

// configuration is a file with this issuer alone.
func (p *provider) configuration(more string) string {
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw})
	return "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer:\n    url: " + p.URL +
		"\n    audiences: [yare]\n    certificateAuthority: |\n      " + strings.ReplaceAll(strings.TrimSpace(string(authority)), "\n", "\n      ") + "\n" + more
}

const bySubject = "  claimMappings:\n    username: {claim: sub, prefix: 'x:'}\n"

func (p *provider) authenticator(more string, ticks clock.WithTicker) *jwt.Authenticator {
	p.t.Helper()
	config, err := jwt.Parse([]byte(p.configuration(more)), []string{"https://kubernetes.default.svc"})
	if err != nil {
		p.t.Fatal(err)
	}
	a, err := jwt.New(config, nil, ticks)
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

func TestClaimsBecomeUsers(t *testing.T) {
	p := newProvider(t)
	claims := map[string]any{"sub": "ann", "roles": []string{"dev", "ops"}, "team": "blue", "level": 3, "email": "ann@example.com", "email_verified": true}
	for name, c := range map[string]struct {
		mapping string
		want    user.DefaultInfo
	}{
		"claims": {"  claimMappings:\n    username: {claim: sub, prefix: 'x:'}\n    groups: {claim: roles, prefix: 'g:'}\n    uid: {claim: team}\n",
			user.DefaultInfo{Name: "x:ann", Groups: []string{"g:dev", "g:ops"}, UID: "blue"}},
		"one group": {"  claimMappings:\n    username: {claim: email, prefix: ''}\n    groups: {claim: team, prefix: ''}\n",
			user.DefaultInfo{Name: "ann@example.com", Groups: []string{"blue"}}},
		"expressions": {"  claimMappings:\n    username: {expression: '\"x-\" + claims.sub'}\n    groups: {expression: 'claims.roles'}\n" +
			"    extra: [{key: 'example.com/level', valueExpression: 'string(claims.level)'}]\n" +
			"  claimValidationRules: [{expression: 'claims.level > 2', message: too low}]\n" +
			"  userValidationRules: [{expression: '!user.username.startsWith(\"system:\")', message: reserved}]\n",
			user.DefaultInfo{Name: "x-ann", Groups: []string{"dev", "ops"}, Extra: map[string][]string{"example.com/level": {"3"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			response, ok, err := p.authenticator(c.mapping, clock.RealClock{}).AuthenticateToken(t.Context(), p.token(claims))
			if err != nil || !ok {
				t.Fatalf("%v %v", ok, err)
			}
			got := response.User
			if got.GetName() != c.want.Name || got.GetUID() != c.want.UID || !slices.Equal(got.GetGroups(), c.want.Groups) || len(got.GetExtra()) != len(c.want.Extra) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestBadTokensAreRefused(t *testing.T) {
	p, other := newProvider(t), newProvider(t)
	a := p.authenticator(bySubject+"  claimValidationRules: [{claim: tenant, requiredValue: a}]\n  userValidationRules: [{expression: 'user.username != \"x:root\"', message: refused}]\n", clock.RealClock{})
	good := map[string]any{"tenant": "a"}
	with := func(name string, value any) map[string]any { return map[string]any{"tenant": "a", name: value} }
	if _, ok, err := a.AuthenticateToken(t.Context(), p.token(good)); !ok || err != nil {
		t.Fatalf("a good token: %v %v", ok, err)
	}
	forged := p.token(good)
	forged = forged[:len(forged)-4] + "AAAA"
	none := strings.Split(p.token(good), ".")
	none[0] = "eyJhbGciOiJub25lIn0"
	other.keyID = p.keyID
	for name, token := range map[string]string{
		"expired":            p.token(with("exp", time.Now().Add(-time.Minute).Unix())),
		"without an end":     p.token(with("exp", nil)),
		"not yet valid":      p.token(with("nbf", time.Now().Add(time.Hour).Unix())),
		"for others":         p.token(with("aud", []string{"elsewhere"})),
		"forged":             forged,
		"signed by nobody":   none[0] + "." + none[1] + ".",
		"signed by another":  other.token(map[string]any{"iss": p.URL, "tenant": "a"}),
		"without a claim":    p.token(nil),
		"with another claim": p.token(with("tenant", "b")),
		"of no user":         p.token(with("sub", nil)),
		"of a refused user":  p.token(with("sub", "root")),
	} {
		if _, ok, err := a.AuthenticateToken(t.Context(), token); ok || err == nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	grouped := p.authenticator(bySubject+"    groups: {claim: groups, prefix: ''}\n", clock.RealClock{})
	sources := map[string]any{"_claim_names": map[string]any{"groups": "src1"}, "_claim_sources": map[string]any{"src1": map[string]any{"endpoint": p.URL}}}
	if _, ok, err := grouped.AuthenticateToken(t.Context(), p.token(sources)); ok || err == nil || !strings.Contains(err.Error(), "distributed") {
		t.Errorf("groups that are elsewhere: %v, %v", ok, err)
	}
	for name, token := range map[string]string{"of another issuer": other.token(nil), "no token": "abc", "empty": "..", "nothing": ""} {
		if _, ok, err := a.AuthenticateToken(t.Context(), token); ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
}

func TestKeysAreFetchedWhenNeededAndNotMoreOften(t *testing.T) {
	p := newProvider(t)
	now := clocktesting.NewFakeClock(time.Now())
	a := p.authenticator(bySubject, now)
	for range 3 {
		if _, ok, err := a.AuthenticateToken(t.Context(), p.token(nil)); !ok {
			t.Fatal(err)
		}
	}
	p.rotate("two")
	for range 3 {
		if _, ok, _ := a.AuthenticateToken(t.Context(), p.token(nil)); ok {
			t.Fatal("a key nobody fetched")
		}
	}
	if n := p.fetches.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
	now.Step(time.Minute)
	if _, ok, err := a.AuthenticateToken(t.Context(), p.token(nil)); !ok {
		t.Error(err)
	}
}

func TestAProviderSpeaksForItself(t *testing.T) {
	p := newProvider(t)
	p.speaksFor = "https://somebody.example.com"
	if _, ok, err := p.authenticator(bySubject, clock.RealClock{}).AuthenticateToken(t.Context(), p.token(nil)); ok || err == nil {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestBadConfigurations(t *testing.T) {
	p := newProvider(t)
	for name, text := range map[string]string{
		"another kind":         "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers: []\n",
		"unknown field":        p.configuration(bySubject + "  nonsense: 1\n"),
		"no user name":         p.configuration(""),
		"bad expression":       p.configuration("  claimMappings:\n    username: {expression: 'claims.'}\n"),
		"plain http":           strings.Replace(p.configuration(bySubject), "https://", "http://", 1),
		"issuer given twice":   p.configuration(bySubject) + strings.SplitN(p.configuration(bySubject), "jwt:\n", 2)[1],
		"the server's issuer":  strings.Replace(p.configuration(bySubject), p.URL, "https://own.example.com", 1),
		"anonymous conditions": p.configuration(bySubject) + "anonymous: {enabled: false, conditions: [{path: /healthz}]}\n",
	} {
		if _, err := jwt.Parse([]byte(text), []string{"https://own.example.com"}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
