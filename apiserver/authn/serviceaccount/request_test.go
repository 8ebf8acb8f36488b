package serviceaccount_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/yare-io/yare/apiserver/authn/serviceaccount"
	"github.com/yare-io/yare/apiserver/registry"
)

// server is the server's hand on the objects of a test's world; only Get is
// needed.
type server struct {
	registry.Objects
	objects
}

func (s server) Get(_ context.Context, resource schema.GroupResource, namespace, name string) (runtime.Object, error) {
	kinds := map[string]string{"serviceaccounts": "sa", "pods": "pod", "secrets": "secret", "nodes": "node"}
	object, err := s.find(kinds[resource.Resource] + "/" + namespace + "/" + name)
	if err != nil {
		return nil, err
	}
	return object.(runtime.Object), nil
}

type asking struct {
	t        *testing.T
	requests *serviceaccount.Requests
	verifier *serviceaccount.Verifier
	objects  objects
}

func ask(t *testing.T) *asking {
	t.Helper()
	all := world()
	pod := all["pod/team/web"].(*corev1.Pod)
	pod.Spec.ServiceAccountName, pod.Spec.NodeName = "robot", "n1"
	issuer, verifier := pair(t, ecKey(t), all, clocktesting.NewFakeClock(now))
	return &asking{t, &serviceaccount.Requests{Issuer: issuer, Audiences: []string{"api"}, Extend: true}, verifier, all}
}

func (a *asking) create(spec authenticationv1.TokenRequestSpec) (*authenticationv1.TokenRequest, error) {
	object, err := a.requests.Create(a.t.Context(), registry.Call{
		Object: &authenticationv1.TokenRequest{Spec: spec}, Resource: corev1.Resource("serviceaccounts"),
		Namespace: "team", Name: "robot", Objects: server{objects: a.objects},
	})
	if err != nil {
		return nil, err
	}
	return object.(*authenticationv1.TokenRequest), nil
}

func toPod() *authenticationv1.BoundObjectReference {
	return &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "web", UID: "pod-1"}
}

// lifetime reads a token's claims.
func lifetime(t *testing.T, token string) time.Duration {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	must(t, err)
	var claims jwt.Claims
	must(t, parsed.UnsafeClaimsWithoutVerification(&claims))
	return claims.Expiry.Time().Sub(claims.IssuedAt.Time())
}

func TestATokenRequestIsAnsweredWithATokenForThisServer(t *testing.T) {
	a := ask(t)
	answer, err := a.create(authenticationv1.TokenRequestSpec{})
	must(t, err)
	if answer.Namespace != "team" || answer.Name != "robot" || len(answer.Spec.Audiences) != 1 || *answer.Spec.ExpirationSeconds != 3600 {
		t.Errorf("answer %+v", answer)
	}
	if !answer.Status.ExpirationTimestamp.Time.Equal(now.Add(time.Hour)) {
		t.Errorf("expires %s", answer.Status.ExpirationTimestamp)
	}
	response, ok, err := a.verifier.AuthenticateToken(t.Context(), answer.Status.Token)
	if !ok || response.User.GetUID() != "sa-1" {
		t.Errorf("token is not good: %v", err)
	}
}

func TestATokenForAPodSaysWhereThePodIs(t *testing.T) {
	a := ask(t)
	answer, err := a.create(authenticationv1.TokenRequestSpec{BoundObjectRef: toPod()})
	must(t, err)
	response, ok, err := a.verifier.AuthenticateToken(t.Context(), answer.Status.Token)
	if !ok {
		t.Fatal(err)
	}
	extra := response.User.GetExtra()
	if extra["authentication.kubernetes.io/pod-uid"][0] != "pod-1" || extra["authentication.kubernetes.io/node-uid"][0] != "node-1" {
		t.Errorf("extra %v", extra)
	}
}

// The kubelet's 3607 seconds buy a year, but the kubelet comes back in time.
func TestTokensOfOldClientsAreExtended(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*asking, *authenticationv1.TokenRequestSpec)
		lives  time.Duration
	}{
		"as the kubelet asks":  {func(*asking, *authenticationv1.TokenRequestSpec) {}, 365 * 24 * time.Hour},
		"another span":         {func(_ *asking, s *authenticationv1.TokenRequestSpec) { s.ExpirationSeconds = ptr.To[int64](3600) }, time.Hour},
		"another audience":     {func(_ *asking, s *authenticationv1.TokenRequestSpec) { s.Audiences = []string{"vault"} }, 3607 * time.Second},
		"bound to nothing":     {func(_ *asking, s *authenticationv1.TokenRequestSpec) { s.BoundObjectRef = nil }, 3607 * time.Second},
		"extension turned off": {func(a *asking, _ *authenticationv1.TokenRequestSpec) { a.requests.Extend = false }, 3607 * time.Second},
		"capped":               {func(a *asking, _ *authenticationv1.TokenRequestSpec) { a.requests.MaxLifetime = 20 * time.Minute }, 20 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(t)
			spec := authenticationv1.TokenRequestSpec{Audiences: []string{"api"}, ExpirationSeconds: ptr.To[int64](3607), BoundObjectRef: toPod()}
			test.change(a, &spec)
			answer, err := a.create(spec)
			must(t, err)
			if got := lifetime(t, answer.Status.Token); got != test.lives {
				t.Errorf("lives %s, want %s", got, test.lives)
			}
			if shown := answer.Status.ExpirationTimestamp.Sub(now); shown > 3607*time.Second {
				t.Errorf("the client is told to come back after %s", shown)
			}
		})
	}
}

func TestTokenRequestsThatAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		spec   authenticationv1.TokenRequestSpec
		change func(*asking)
		is     func(error) bool
		words  string
	}{
		"too short":  {authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](599)}, nil, apierrors.IsInvalid, "may not specify a duration less than 10 minutes"},
		"too long":   {authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](1<<32 + 1)}, nil, apierrors.IsInvalid, "may not specify a duration larger than 2^32 seconds"},
		"no account": {authenticationv1.TokenRequestSpec{}, func(a *asking) { delete(a.objects, "sa/team/robot") }, apierrors.IsNotFound, "not found"},
		"no pod":     {authenticationv1.TokenRequestSpec{BoundObjectRef: toPod()}, func(a *asking) { delete(a.objects, "pod/team/web") }, apierrors.IsNotFound, "not found"},
		"pod of another account": {authenticationv1.TokenRequestSpec{BoundObjectRef: toPod()}, func(a *asking) {
			a.objects["pod/team/web"].(*corev1.Pod).Spec.ServiceAccountName = "other"
		}, apierrors.IsBadRequest, "cannot bind token for serviceaccount \"robot\" to pod running with different serviceaccount name."},
		"pod made anew": {authenticationv1.TokenRequestSpec{BoundObjectRef: toPod()}, func(a *asking) { a.objects["pod/team/web"].SetUID("pod-2") }, apierrors.IsConflict, "does not match the UID in record"},
		"bound to a config map": {authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "ConfigMap", Name: "x"}}, nil,
			apierrors.IsBadRequest, "cannot bind token to object of type /v1, Kind=ConfigMap"},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(t)
			if test.change != nil {
				test.change(a)
			}
			if _, err := a.create(test.spec); err == nil || !test.is(err) || !strings.Contains(err.Error(), test.words) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTokensBoundToSecretsAndNodes(t *testing.T) {
	a := ask(t)
	for kind, key := range map[string]string{"Secret": "secret/team/token", "Node": "node//n1"} {
		name := key[strings.LastIndex(key, "/")+1:]
		answer, err := a.create(authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: kind, Name: name}})
		must(t, err)
		if _, ok, err := a.verifier.AuthenticateToken(t.Context(), answer.Status.Token); !ok {
			t.Errorf("%s: %v", kind, err)
		}
		a.objects[key].SetUID("another")
		if _, ok, _ := a.verifier.AuthenticateToken(t.Context(), answer.Status.Token); ok {
			t.Errorf("%s: the token outlived what it is bound to", kind)
		}
	}
}
