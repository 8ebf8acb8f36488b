package authn_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/apiserver/authn"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	must(t, err)
	a.certificate, err = x509.ParseCertificate(der)
	must(t, err)
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

func (a *authority) issue(t *testing.T, subject pkix.Name, usage x509.ExtKeyUsage) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: subject, ExtKeyUsage: []x509.ExtKeyUsage{usage},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, newKey(t).Public(), a.key)
	must(t, err)
	certificate, err := x509.ParseCertificate(der)
	must(t, err)
	return certificate
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func bundle(t *testing.T, a *authority) *authn.CABundle {
	t.Helper()
	b, err := authn.NewCABundle(a.pem)
	must(t, err)
	return b
}

func build(t *testing.T, config authn.Config) *authn.Authenticator {
	t.Helper()
	if config.Clock == nil {
		config.Clock = clocktesting.NewFakeClock(now)
	}
	a, err := authn.New(config)
	must(t, err)
	return a
}

func get(path string, certificates ...*x509.Certificate) *http.Request {
	request := httptest.NewRequest(http.MethodGet, path, nil)
	if len(certificates) > 0 {
		request.TLS = &tls.ConnectionState{PeerCertificates: certificates}
	}
	return request
}

func who(t *testing.T, a authenticator.Request, request *http.Request) user.Info {
	t.Helper()
	response, ok, err := a.AuthenticateRequest(request)
	if err != nil || !ok {
		t.Fatalf("not authenticated: ok=%v err=%v", ok, err)
	}
	return response.User
}

func refused(t *testing.T, a authenticator.Request, request *http.Request) {
	t.Helper()
	if response, ok, _ := a.AuthenticateRequest(request); ok {
		t.Fatalf("authenticated as %v", response.User)
	}
}

func TestClientCertificate(t *testing.T) {
	ca, other := newAuthority(t, "clients"), newAuthority(t, "others")
	clock := clocktesting.NewFakeClock(now)
	cas := bundle(t, ca)
	a := build(t, authn.Config{ClientCA: cas, Clock: clock})
	alice := ca.issue(t, pkix.Name{CommonName: "alice", Organization: []string{"dev", "ops"}}, x509.ExtKeyUsageClientAuth)

	info := who(t, a, get("/", alice))
	if info.GetName() != "alice" || !slices.Equal(info.GetGroups(), []string{"dev", "ops", user.AllAuthenticated}) {
		t.Errorf("got %v", info)
	}
	if id := info.GetExtra()[user.CredentialIDKey]; len(id) != 1 || !strings.HasPrefix(id[0], "X509SHA256=") {
		t.Errorf("credential id is %q", id)
	}
	refused(t, a, get("/"))
	refused(t, a, get("/", other.issue(t, pkix.Name{CommonName: "alice"}, x509.ExtKeyUsageClientAuth)))
	refused(t, a, get("/", ca.issue(t, pkix.Name{CommonName: "alice"}, x509.ExtKeyUsageServerAuth)))
	refused(t, a, get("/", ca.issue(t, pkix.Name{Organization: []string{"system:masters"}}, x509.ExtKeyUsageClientAuth)))

	must(t, cas.Set(other.pem))
	refused(t, a, get("/", alice))
	must(t, cas.Set(ca.pem))
	who(t, a, get("/", alice))
	clock.Step(2 * time.Hour)
	refused(t, a, get("/", alice))
}

func TestCABundleKeepsTheLastGoodContent(t *testing.T) {
	b := bundle(t, newAuthority(t, "ca"))
	before := b.Pool()
	for _, bad := range []string{"", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if err := b.Set([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if !b.Pool().Equal(before) {
		t.Error("a bad bundle replaced a good one")
	}
}

func TestCABundleFollowsItsFile(t *testing.T) {
	first, second := newAuthority(t, "first"), newAuthority(t, "second")
	file := filepath.Join(t.TempDir(), "ca.crt")
	must(t, os.WriteFile(file, first.pem, 0o600))
	b, err := authn.LoadCABundle(file)
	must(t, err)
	clock := clocktesting.NewFakeClock(now)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx, time.Minute, clock, discard()) }()
	must(t, os.WriteFile(file, second.pem, 0o600))
	eventually(t, func() bool {
		if clock.HasWaiters() {
			clock.Step(time.Minute)
		}
		return string(b.PEM()) == string(second.pem)
	})
	cancel()
	<-done
}

func TestFrontProxy(t *testing.T) {
	proxies, clients := newAuthority(t, "proxies"), newAuthority(t, "clients")
	a := build(t, authn.Config{
		ClientCA:      bundle(t, clients),
		RequestHeader: &authn.RequestHeader{CA: bundle(t, proxies), AllowedNames: []string{"front"}},
	})
	front := proxies.issue(t, pkix.Name{CommonName: "front"}, x509.ExtKeyUsageClientAuth)
	identity := func(certificate *x509.Certificate) *http.Request {
		request := get("/", certificate)
		request.Header.Set("X-Remote-User", "bob")
		request.Header.Add("X-Remote-Group", "a")
		request.Header.Add("X-Remote-Group", "b")
		request.Header.Set("X-Remote-Extra-Example.com%2fscope", "x")
		return request
	}
	request := identity(front)
	info := who(t, a, request)
	if info.GetName() != "bob" || !slices.Equal(info.GetGroups(), []string{"a", "b", user.AllAuthenticated}) || !slices.Equal(info.GetExtra()["example.com/scope"], []string{"x"}) {
		t.Errorf("got %v", info)
	}
	for name := range request.Header {
		if strings.HasPrefix(name, "X-Remote") {
			t.Errorf("%s went further", name)
		}
	}
	refused(t, a, identity(proxies.issue(t, pkix.Name{CommonName: "stranger"}, x509.ExtKeyUsageClientAuth)))
	if info := who(t, a, identity(clients.issue(t, pkix.Name{CommonName: "mallory"}, x509.ExtKeyUsageClientAuth))); info.GetName() != "mallory" {
		t.Errorf("an ordinary client passed for %s", info.GetName())
	}
}

func TestAnonymousOnlyWhereAllowedAndNeverForBadCredentials(t *testing.T) {
	ca := newAuthority(t, "ca")
	a := build(t, authn.Config{
		ClientCA: bundle(t, ca), TokenFile: tokenFile(t, "good,alice,1\n"),
		Anonymous: &authn.Anonymous{Paths: []string{"/healthz"}},
	})
	info := who(t, a, get("/healthz"))
	if info.GetName() != user.Anonymous || !slices.Equal(info.GetGroups(), []string{user.AllUnauthenticated}) {
		t.Errorf("got %v", info)
	}
	refused(t, a, get("/healthz/etcd"))
	refused(t, a, get("/api"))
	bad := get("/healthz")
	bad.Header.Set("Authorization", "Bearer wrong")
	refused(t, a, bad)
	refused(t, a, get("/healthz", newAuthority(t, "x").issue(t, pkix.Name{CommonName: "a"}, x509.ExtKeyUsageClientAuth)))
}

func tokenFile(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tokens.csv")
	must(t, os.WriteFile(file, []byte(content), 0o600))
	return file
}

func TestTokenFile(t *testing.T) {
	a := build(t, authn.Config{TokenFile: tokenFile(t, "one,alice,1,\"dev,ops\"\ntwo,bob,2\n")})
	for _, header := range []string{"Bearer one", "bearer  one", " BEARER one "} {
		request := get("/")
		request.Header.Set("Authorization", header)
		info := who(t, a, request)
		if info.GetName() != "alice" || info.GetUID() != "1" || !slices.Equal(info.GetGroups(), []string{"dev", "ops", user.AllAuthenticated}) {
			t.Errorf("%q: got %v", header, info)
		}
		if request.Header.Get("Authorization") != "" {
			t.Errorf("%q: the token went further", header)
		}
	}
	for _, header := range []string{"", "Bearer", "Bearer ", "Basic one", "Bearer three", "one", "Bearer on"} {
		request := get("/")
		request.Header.Set("Authorization", header)
		refused(t, a, request)
	}
	for _, content := range []string{"a,b\n", ",name,uid\n", "\"a\n"} {
		if _, err := authn.New(authn.Config{TokenFile: tokenFile(t, content)}); err == nil {
			t.Errorf("token file %q was taken", content)
		}
	}
}

func TestWebSocketToken(t *testing.T) {
	a := build(t, authn.Config{TokenFile: tokenFile(t, "one,alice,1\n")})
	carry := func(protocols ...string) *http.Request {
		request := get("/")
		request.Header.Set("Connection", "Upgrade")
		request.Header.Set("Upgrade", "websocket")
		request.Header.Set("Sec-WebSocket-Protocol", strings.Join(protocols, ", "))
		return request
	}
	token := "base64url.bearer.authorization.k8s.io." + base64.RawURLEncoding.EncodeToString([]byte("one"))
	request := carry(token, "v5.channel.k8s.io")
	who(t, a, request)
	if got := request.Header.Get("Sec-WebSocket-Protocol"); got != "v5.channel.k8s.io" {
		t.Errorf("protocols left: %q", got)
	}
	refused(t, a, carry(token))
	refused(t, a, carry(token, token, "v5.channel.k8s.io"))
	refused(t, a, carry(token+"!", "v5.channel.k8s.io"))
	plain := carry(token, "v5.channel.k8s.io")
	plain.Header.Del("Upgrade")
	refused(t, a, plain)
}

func TestBootstrapToken(t *testing.T) {
	good := func() *corev1.Secret {
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "bootstrap-token-abcdef"},
			Type:       corev1.SecretTypeBootstrapToken,
			Data: map[string][]byte{
				"token-id": []byte("abcdef"), "token-secret": []byte("0123456789abcdef"),
				"usage-bootstrap-authentication": []byte("true"), "auth-extra-groups": []byte("system:bootstrappers:node"),
				"expiration": []byte(now.Add(time.Minute).Format(time.RFC3339)),
			},
		}
	}
	data := func(key, value string) func(*corev1.Secret) {
		return func(s *corev1.Secret) { s.Data[key] = []byte(value) }
	}
	deleted := metav1.NewTime(now)
	for name, test := range map[string]struct {
		change func(*corev1.Secret)
		token  string
		ok     bool
	}{
		"good":                 {ok: true},
		"without expiration":   {change: func(s *corev1.Secret) { delete(s.Data, "expiration") }, ok: true},
		"expired":              {change: data("expiration", now.Format(time.RFC3339))},
		"unreadable end":       {change: data("expiration", "tomorrow")},
		"another use":          {change: data("usage-bootstrap-authentication", "false")},
		"another id":           {change: data("token-id", "fedcba")},
		"group out of bounds":  {change: data("auth-extra-groups", "system:masters")},
		"another type":         {change: func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque }},
		"being deleted":        {change: func(s *corev1.Secret) { s.DeletionTimestamp = &deleted }},
		"wrong secret":         {token: "abcdef.0123456789abcdeX"},
		"wrong secret, lower":  {token: "abcdef.0123456789abcde0"},
		"unknown id":           {token: "zzzzzz.0123456789abcdef"},
		"not a token's form":   {token: "abcdef.0123456789abcdef\n"},
		"path in place of ids": {token: "../../.0123456789abcdef"},
	} {
		t.Run(name, func(t *testing.T) {
			secret := good()
			if test.change != nil {
				test.change(secret)
			}
			a := build(t, authn.Config{BootstrapSecrets: func(_ context.Context, namespace, name string) (*corev1.Secret, error) {
				if namespace != secret.Namespace || name != secret.Name {
					return nil, apierrors.NewNotFound(corev1.Resource("secrets"), name)
				}
				return secret, nil
			}})
			token := test.token
			if token == "" {
				token = "abcdef.0123456789abcdef"
			}
			response, ok, _ := a.Tokens().AuthenticateToken(t.Context(), token)
			if ok != test.ok {
				t.Fatalf("authenticated: %v", ok)
			}
			if ok && (response.User.GetName() != "system:bootstrap:abcdef" || !slices.Equal(response.User.GetGroups(), []string{"system:bootstrappers", "system:bootstrappers:node"})) {
				t.Errorf("got %v", response.User)
			}
		})
	}
}

func TestGoodTokensAreCachedForTheirTTLAndBadOnesNever(t *testing.T) {
	clock := clocktesting.NewFakeClock(now)
	asked := map[string]int{}
	a := build(t, authn.Config{Clock: clock, TokenCacheTTL: 10 * time.Second, Tokens: []authenticator.Token{
		authenticator.TokenFunc(func(_ context.Context, token string) (*authenticator.Response, bool, error) {
			asked[token]++
			return &authenticator.Response{User: &user.DefaultInfo{Name: "x"}}, token == "good", nil
		}),
	}})
	ask := func(ctx context.Context, token string) { a.Tokens().AuthenticateToken(ctx, token) }
	ask(t.Context(), "good")
	ask(t.Context(), "good")
	ask(t.Context(), "bad")
	ask(t.Context(), "bad")
	if asked["good"] != 1 || asked["bad"] != 2 {
		t.Errorf("asked %v", asked)
	}
	ask(authenticator.WithAudiences(t.Context(), authenticator.Audiences{"other"}), "good")
	if asked["good"] != 2 {
		t.Error("the answer for one audience was given for another")
	}
	clock.Step(11 * time.Second)
	ask(t.Context(), "good")
	if asked["good"] != 3 {
		t.Error("the answer outlived its time")
	}
}

// TestWhatIsSaidOfTokensIsRemembered: of good and bad ones, not of those of which
// nothing is known.
func TestWhatIsSaidOfTokensIsRemembered(t *testing.T) {
	clock := clocktesting.NewFakeClock(now)
	asked := map[string]int{}
	remembered, err := authn.Remember(authenticator.TokenFunc(func(_ context.Context, token string) (*authenticator.Response, bool, error) {
		asked[token]++
		if token == "down" {
			return nil, false, errors.New("nobody answers")
		}
		return &authenticator.Response{User: &user.DefaultInfo{Name: token}}, token == "good", nil
	}), time.Minute, clock)
	must(t, err)
	ask := func() {
		t.Helper()
		for token, want := range map[string]bool{"good": true, "bad": false, "down": false} {
			response, ok, err := remembered.AuthenticateToken(t.Context(), token)
			if ok != want || (err != nil) != (token == "down") || ok && response.User.GetName() != token {
				t.Errorf("%s: %v, %v, %v", token, response, ok, err)
			}
		}
	}
	ask()
	ask()
	if asked["good"] != 1 || asked["bad"] != 1 || asked["down"] != 2 {
		t.Errorf("asked %v", asked)
	}
	clock.Step(61 * time.Second)
	ask()
	if asked["good"] != 2 || asked["bad"] != 2 {
		t.Errorf("after a minute asked %v", asked)
	}
}

func TestReviewToken(t *testing.T) {
	a := build(t, authn.Config{TokenFile: tokenFile(t, "one,alice,1,dev\n")})
	review := func(token string, audiences ...string) authenticationv1.TokenReviewStatus {
		r := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences}}
		must(t, authn.ReviewToken(t.Context(), a.Tokens(), authenticator.Audiences{"api"}, r))
		return r.Status
	}
	if s := review("one"); !s.Authenticated || s.User.Username != "alice" || s.Audiences != nil {
		t.Errorf("got %+v", s)
	}
	if s := review("one", "api", "other"); !s.Authenticated || !slices.Equal(s.Audiences, []string{"api"}) {
		t.Errorf("got %+v", s)
	}
	if s := review("one", "other"); s.Authenticated {
		t.Errorf("got %+v", s)
	}
	if s := review("two"); s.Authenticated || s.User.Username != "" {
		t.Errorf("got %+v", s)
	}
	if err := authn.ReviewToken(t.Context(), a.Tokens(), nil, &authenticationv1.TokenReview{}); !apierrors.IsBadRequest(err) {
		t.Errorf("empty token: %v", err)
	}
}
