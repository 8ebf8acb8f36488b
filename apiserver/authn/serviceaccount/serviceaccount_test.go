package serviceaccount_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/apiserver/authn/serviceaccount"
)

const issuerURL = "https://kubernetes.default.svc.cluster.local"

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// objects is a Getter over a map from kind/namespace/name.
type objects map[string]metav1.Object

func (o objects) find(key string) (metav1.Object, error) {
	object, ok := o[key]
	if !ok {
		return nil, apierrors.NewNotFound(corev1.Resource("objects"), key)
	}
	return object, nil
}

func (o objects) ServiceAccount(_ context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	object, err := o.find("sa/" + namespace + "/" + name)
	if err != nil {
		return nil, err
	}
	return object.(*corev1.ServiceAccount), nil
}

func (o objects) Pod(_ context.Context, namespace, name string) (*corev1.Pod, error) {
	object, err := o.find("pod/" + namespace + "/" + name)
	if err != nil {
		return nil, err
	}
	return object.(*corev1.Pod), nil
}

func (o objects) Secret(_ context.Context, namespace, name string) (*corev1.Secret, error) {
	object, err := o.find("secret/" + namespace + "/" + name)
	if err != nil {
		return nil, err
	}
	return object.(*corev1.Secret), nil
}

func (o objects) Node(_ context.Context, name string) (*corev1.Node, error) {
	object, err := o.find("node//" + name)
	if err != nil {
		return nil, err
	}
	return object.(*corev1.Node), nil
}

func meta(namespace, name, uid string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(uid)}
}

func world() objects {
	return objects{
		"sa/team/robot":     &corev1.ServiceAccount{ObjectMeta: meta("team", "robot", "sa-1")},
		"pod/team/web":      &corev1.Pod{ObjectMeta: meta("team", "web", "pod-1")},
		"secret/team/token": &corev1.Secret{ObjectMeta: meta("team", "token", "secret-1")},
		"node//n1":          &corev1.Node{ObjectMeta: meta("", "n1", "node-1")},
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	return key
}

func keys(t testing.TB, signers ...crypto.Signer) *serviceaccount.Keys {
	t.Helper()
	var public []crypto.PublicKey
	for _, signer := range signers {
		public = append(public, signer.Public())
	}
	k, err := serviceaccount.NewKeys(public...)
	must(t, err)
	return k
}

func pair(t testing.TB, key crypto.Signer, getter serviceaccount.Getter, clock *clocktesting.FakeClock) (*serviceaccount.Issuer, *serviceaccount.Verifier) {
	t.Helper()
	issuer, err := serviceaccount.NewIssuer(issuerURL, key, clock)
	must(t, err)
	verifier, err := serviceaccount.NewVerifier(serviceaccount.VerifierConfig{
		Issuers: []string{issuerURL}, Keys: keys(t, key), Audiences: []string{"api"}, Getter: getter, Clock: clock,
	})
	must(t, err)
	return issuer, verifier
}

var robot = serviceaccount.Binding{Namespace: "team", ServiceAccount: serviceaccount.Ref{Name: "robot", UID: "sa-1"}}

func TestTokensOfEveryKindOfKeyAreVerified(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	for name, key := range map[string]crypto.Signer{"RS256": rsaKey(t), "ES256": ecKey(t), "ES384": p384} {
		t.Run(name, func(t *testing.T) {
			issuer, verifier := pair(t, key, world(), clocktesting.NewFakeClock(now))
			b := robot
			b.Pod, b.Node = &serviceaccount.Ref{Name: "web", UID: "pod-1"}, &serviceaccount.Ref{Name: "n1", UID: "node-1"}
			token, err := issuer.Issue(b, []string{"api"}, time.Hour, 0)
			must(t, err)
			response, ok, err := verifier.AuthenticateToken(t.Context(), token.Value)
			if !ok || err != nil {
				t.Fatalf("ok=%v err=%v", ok, err)
			}
			info := response.User
			if info.GetName() != "system:serviceaccount:team:robot" || info.GetUID() != "sa-1" ||
				!slices.Equal(info.GetGroups(), []string{"system:serviceaccounts", "system:serviceaccounts:team"}) {
				t.Errorf("user is %v", info)
			}
			for key, want := range map[string]string{
				"authentication.kubernetes.io/pod-name": "web", "authentication.kubernetes.io/pod-uid": "pod-1",
				"authentication.kubernetes.io/node-name": "n1", "authentication.kubernetes.io/node-uid": "node-1",
				"authentication.kubernetes.io/credential-id": "JTI=" + token.CredentialID,
			} {
				if got := info.GetExtra()[key]; !slices.Equal(got, []string{want}) {
					t.Errorf("%s is %q, want %q", key, got, want)
				}
			}
		})
	}
}

func TestATokenDiesWithWhatItIsBoundTo(t *testing.T) {
	ref := func(name, uid string) *serviceaccount.Ref { return &serviceaccount.Ref{Name: name, UID: uid} }
	long, short := metav1.NewTime(now.Add(-2*time.Minute)), metav1.NewTime(now.Add(-10*time.Second))
	for name, test := range map[string]struct {
		bind   func(*serviceaccount.Binding)
		change func(objects)
		ok     bool
	}{
		"all there":                {ok: true},
		"account gone":             {change: func(o objects) { delete(o, "sa/team/robot") }},
		"account made anew":        {change: func(o objects) { o["sa/team/robot"].SetUID("sa-2") }},
		"account long dying":       {change: func(o objects) { o["sa/team/robot"].SetDeletionTimestamp(&long) }},
		"account just dying":       {change: func(o objects) { o["sa/team/robot"].SetDeletionTimestamp(&short) }, ok: true},
		"pod there":                {bind: func(b *serviceaccount.Binding) { b.Pod = ref("web", "pod-1") }, ok: true},
		"pod gone":                 {bind: func(b *serviceaccount.Binding) { b.Pod = ref("web", "pod-1") }, change: func(o objects) { delete(o, "pod/team/web") }},
		"pod made anew":            {bind: func(b *serviceaccount.Binding) { b.Pod = ref("web", "pod-0") }},
		"secret there":             {bind: func(b *serviceaccount.Binding) { b.Secret = ref("token", "secret-1") }, ok: true},
		"secret made anew":         {bind: func(b *serviceaccount.Binding) { b.Secret = ref("token", "secret-0") }},
		"node there":               {bind: func(b *serviceaccount.Binding) { b.Node = ref("n1", "node-1") }, ok: true},
		"node gone":                {bind: func(b *serviceaccount.Binding) { b.Node = ref("n1", "node-1") }, change: func(o objects) { delete(o, "node//n1") }},
		"node gone, but pod lives": {bind: func(b *serviceaccount.Binding) { b.Pod, b.Node = ref("web", "pod-1"), ref("n0", "") }, ok: true},
	} {
		t.Run(name, func(t *testing.T) {
			all := world()
			issuer, verifier := pair(t, ecKey(t), all, clocktesting.NewFakeClock(now))
			b := robot
			if test.bind != nil {
				test.bind(&b)
			}
			token, err := issuer.Issue(b, []string{"api"}, time.Hour, 0)
			must(t, err)
			if test.change != nil {
				test.change(all)
			}
			_, ok, err := verifier.AuthenticateToken(t.Context(), token.Value)
			if ok != test.ok || (err == nil) != test.ok {
				t.Errorf("ok=%v err=%v", ok, err)
			}
		})
	}
}

func TestTokensOutOfTimeOrPlaceAreRefused(t *testing.T) {
	clock := clocktesting.NewFakeClock(now)
	key := ecKey(t)
	issuer, verifier := pair(t, key, world(), clock)
	token, err := issuer.Issue(robot, []string{"vault"}, time.Hour, 0)
	must(t, err)
	if _, ok, err := verifier.AuthenticateToken(t.Context(), token.Value); ok || err == nil {
		t.Error("a token for another audience was taken")
	}
	vault := authenticator.WithAudiences(t.Context(), authenticator.Audiences{"vault", "x"})
	response, ok, err := verifier.AuthenticateToken(vault, token.Value)
	if !ok || err != nil || !slices.Equal(response.Audiences, []string{"vault"}) {
		t.Errorf("review for the token's audience: ok=%v err=%v", ok, err)
	}
	clock.Step(time.Hour + 2*time.Minute)
	if _, ok, _ := verifier.AuthenticateToken(vault, token.Value); ok {
		t.Error("an expired token was taken")
	}
	clock.SetTime(now.Add(-time.Hour))
	if _, ok, _ := verifier.AuthenticateToken(vault, token.Value); ok {
		t.Error("a token of the future was taken")
	}
}

// TestIssuersMayChange: tokens in an issuer's old name are good as long as the
// name is listed.
func TestIssuersMayChange(t *testing.T) {
	key := ecKey(t)
	keys, err := serviceaccount.NewKeys(key.Public())
	must(t, err)
	old, err := serviceaccount.NewIssuer("https://old.example.com", key, clocktesting.NewFakeClock(now))
	must(t, err)
	token, err := old.Issue(robot, []string{"api"}, time.Hour, 0)
	must(t, err)
	for _, c := range []struct {
		issuers []string
		ok      bool
	}{{[]string{issuerURL, "https://old.example.com"}, true}, {[]string{issuerURL}, false}} {
		verifier, err := serviceaccount.NewVerifier(serviceaccount.VerifierConfig{
			Issuers: c.issuers, Keys: keys, Audiences: []string{"api"}, Getter: world(), Clock: clocktesting.NewFakeClock(now),
		})
		must(t, err)
		if _, ok, err := verifier.AuthenticateToken(t.Context(), token.Value); ok != c.ok || err != nil {
			t.Errorf("%v: %v, %v", c.issuers, ok, err)
		}
	}
}

func TestForgedTokensAreRefused(t *testing.T) {
	key, stranger := rsaKey(t), rsaKey(t)
	clock := clocktesting.NewFakeClock(now)
	issuer, verifier := pair(t, key, world(), clock)
	good, err := issuer.Issue(robot, []string{"api"}, time.Hour, 0)
	must(t, err)
	forger, err := serviceaccount.NewIssuer(issuerURL, stranger, clock)
	must(t, err)
	forged, err := forger.Issue(robot, []string{"api"}, time.Hour, 0)
	must(t, err)
	parts := strings.Split(good.Value, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	must(t, err)
	admin := base64.RawURLEncoding.EncodeToString([]byte(strings.ReplaceAll(string(payload), "robot", "admin")))
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	must(t, err)
	hmacSigner, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})}, nil)
	must(t, err)
	var claims map[string]any
	must(t, json.Unmarshal(payload, &claims))
	confused, err := jwt.Signed(hmacSigner).Claims(claims).Serialize()
	must(t, err)
	for name, token := range map[string]string{
		"another key":          forged.Value,
		"changed claims":       parts[0] + "." + admin + "." + parts[2],
		"no algorithm":         none + "." + parts[1] + ".",
		"public key as secret": confused,
		"cut":                  parts[0] + "." + parts[1] + "." + parts[2][:10],
	} {
		if _, ok, err := verifier.AuthenticateToken(t.Context(), token); ok || err == nil {
			t.Errorf("%s: ok=%v err=%v", name, ok, err)
		}
	}
	for name, token := range map[string]string{"empty": "", "static": "abc", "dots": "..", "other issuer": func() string {
		other, err := serviceaccount.NewIssuer("https://elsewhere", key, clock)
		must(t, err)
		token, err := other.Issue(robot, []string{"api"}, time.Hour, 0)
		must(t, err)
		return token.Value
	}()} {
		if _, ok, err := verifier.AuthenticateToken(t.Context(), token); ok || err != nil {
			t.Errorf("%s is not ours to judge: ok=%v err=%v", name, ok, err)
		}
	}
}

func TestKeysRotate(t *testing.T) {
	old, next := ecKey(t), rsaKey(t)
	clock := clocktesting.NewFakeClock(now)
	issuer, verifier := pair(t, old, world(), clock)
	token, err := issuer.Issue(robot, []string{"api"}, time.Hour, 0)
	must(t, err)
	verifier.SetKeys(keys(t, next, old))
	if _, ok, _ := verifier.AuthenticateToken(t.Context(), token.Value); !ok {
		t.Error("the old key must still verify")
	}
	verifier.SetKeys(keys(t, next))
	if _, ok, _ := verifier.AuthenticateToken(t.Context(), token.Value); ok {
		t.Error("the removed key must not verify")
	}
}

func TestDiscoveryLetsOthersVerify(t *testing.T) {
	key := ecKey(t)
	clock := clocktesting.NewFakeClock(now)
	issuer, _ := pair(t, key, world(), clock)
	discovery, err := serviceaccount.NewDiscovery(issuerURL, "", keys(t, key, rsaKey(t)))
	must(t, err)
	recorder := httptest.NewRecorder()
	discovery.ServeConfiguration(recorder, nil)
	var configuration struct {
		Issuer     string   `json:"issuer"`
		KeysURL    string   `json:"jwks_uri"`
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
	}
	must(t, json.Unmarshal(recorder.Body.Bytes(), &configuration))
	if configuration.Issuer != issuerURL || configuration.KeysURL != issuerURL+"/openid/v1/jwks" || !slices.Equal(configuration.Algorithms, []string{"ES256", "RS256"}) {
		t.Errorf("configuration: %+v", configuration)
	}
	recorder = httptest.NewRecorder()
	discovery.ServeKeys(recorder, nil)
	if got := recorder.Header().Get("Content-Type"); got != "application/jwk-set+json" {
		t.Errorf("content type %q", got)
	}
	var set jose.JSONWebKeySet
	must(t, json.Unmarshal(recorder.Body.Bytes(), &set))
	token, err := issuer.Issue(robot, []string{"elsewhere"}, time.Hour, 0)
	must(t, err)
	parsed, err := jwt.ParseSigned(token.Value, []jose.SignatureAlgorithm{jose.ES256})
	must(t, err)
	var claims jwt.Claims
	must(t, parsed.Claims(set, &claims))
	if claims.Subject != "system:serviceaccount:team:robot" {
		t.Errorf("subject %q", claims.Subject)
	}
}

func TestKeysAreReadFromPEM(t *testing.T) {
	key := ecKey(t)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	public, err := x509.MarshalPKIXPublicKey(rsaKey(t).Public())
	must(t, err)
	file := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})...)
	read, err := serviceaccount.ParsePublicKeys(file)
	must(t, err)
	if len(read) != 2 || !key.PublicKey.Equal(read[0]) {
		t.Errorf("read %d keys", len(read))
	}
	signer, err := serviceaccount.ParsePrivateKey(file)
	must(t, err)
	if !key.PublicKey.Equal(signer.Public()) {
		t.Error("read another key")
	}
	for _, bad := range []string{"", "x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"} {
		if _, err := serviceaccount.ParsePublicKeys([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzAuthenticateToken(f *testing.F) {
	issuer, verifier := pair(f, ecKey(f), world(), clocktesting.NewFakeClock(now))
	token, err := issuer.Issue(robot, []string{"api"}, time.Hour, 0)
	must(f, err)
	f.Add(token.Value)
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, value string) {
		response, ok, _ := verifier.AuthenticateToken(t.Context(), value)
		if ok && response.User.GetName() != "system:serviceaccount:team:robot" {
			t.Errorf("%q passed for %v", value, response.User)
		}
	})
}
