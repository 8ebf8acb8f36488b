package auth_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/kubelet/server/auth"
)

type tokenReviews struct {
	users map[string]string
	asked int
	err   error
}

func (f *tokenReviews) Create(_ context.Context, r *authenticationv1.TokenReview, _ metav1.CreateOptions) (*authenticationv1.TokenReview, error) {
	f.asked++
	r.Status.User.Username, r.Status.Authenticated = f.users[r.Spec.Token], f.users[r.Spec.Token] != ""
	return r, f.err
}

func withToken(header string) *http.Request {
	r, _ := http.NewRequest(http.MethodGet, "/pods", nil)
	r.Header.Set("Authorization", header)
	return r
}

func TestTokensAreReviewedAndGoodOnesRemembered(t *testing.T) {
	reviews := &tokenReviews{users: map[string]string{"good": "ada"}}
	clock := clocktesting.NewFakeClock(time.Now())
	a := auth.NewAuthenticator(auth.Authenticators{Tokens: reviews, Clock: clock})
	for range 2 {
		response, ok, err := a.AuthenticateRequest(withToken("Bearer good"))
		if !ok || err != nil || response.User.GetName() != "ada" {
			t.Fatalf("%v, %v, %v", response, ok, err)
		}
	}
	if reviews.asked != 1 {
		t.Errorf("asked %d times for one token", reviews.asked)
	}
	clock.Step(3 * time.Minute)
	reviews.users = nil
	if _, ok, _ := a.AuthenticateRequest(withToken("Bearer good")); ok {
		t.Error("a token that was withdrawn is still good after its time")
	}
	for _, header := range []string{"", "Bearer", "Bearer bad", "Basic good", "good"} {
		if _, ok, _ := a.AuthenticateRequest(withToken(header)); ok {
			t.Errorf("%q is let in", header)
		}
	}
}

func TestNobodyIsLetInWhenTheAPIServerIsAway(t *testing.T) {
	tokens := &tokenReviews{users: map[string]string{"good": "ada"}, err: errors.New("away")}
	if _, ok, err := auth.NewAuthenticator(auth.Authenticators{Tokens: tokens}).AuthenticateRequest(withToken("Bearer good")); ok || err == nil {
		t.Errorf("token: %v, %v", ok, err)
	}
	access := &accessReviews{err: errors.New("away")}
	if decision, _, err := auth.NewAuthorizer(auth.Authorizers{Reviews: access}).Authorize(t.Context(), attributes("ada")); decision == authorizer.DecisionAllow || err == nil {
		t.Errorf("access: %v, %v", decision, err)
	}
	if _, ok, _ := auth.NewAuthenticator(auth.Authenticators{}).AuthenticateRequest(withToken("Bearer good")); ok {
		t.Error("let in without any authenticator")
	}
}

type accessReviews struct {
	allowed map[string]bool
	asked   int
	err     error
}

func (f *accessReviews) Create(_ context.Context, r *authorizationv1.SubjectAccessReview, _ metav1.CreateOptions) (*authorizationv1.SubjectAccessReview, error) {
	f.asked++
	r.Status.Allowed = f.allowed[r.Spec.User+" "+r.Spec.ResourceAttributes.Subresource]
	return r, f.err
}

func attributes(who string) authorizer.AttributesRecord {
	return authorizer.AttributesRecord{
		User: &user.DefaultInfo{Name: who}, Verb: "get", APIVersion: "v1", Resource: "nodes", Subresource: "proxy", Name: "n", ResourceRequest: true,
	}
}

func TestAccessIsReviewedAndAnswersRemembered(t *testing.T) {
	reviews := &accessReviews{allowed: map[string]bool{"ada proxy": true}}
	clock := clocktesting.NewFakeClock(time.Now())
	a := auth.NewAuthorizer(auth.Authorizers{Reviews: reviews, Clock: clock})
	ask := func(who string) authorizer.Decision {
		decision, _, err := a.Authorize(t.Context(), attributes(who))
		if err != nil {
			t.Fatal(err)
		}
		return decision
	}
	for range 3 {
		if ask("ada") != authorizer.DecisionAllow || ask("eve") == authorizer.DecisionAllow {
			t.Fatal("wrong decision")
		}
	}
	if reviews.asked != 2 {
		t.Errorf("asked %d times for two questions", reviews.asked)
	}
	reviews.allowed = map[string]bool{"eve proxy": true}
	clock.Step(time.Minute)
	if ask("eve") != authorizer.DecisionAllow {
		t.Error("a denial is remembered for longer than 30s")
	}
	if ask("ada") != authorizer.DecisionAllow {
		t.Error("an allowance is forgotten within 5m")
	}
	clock.Step(5 * time.Minute)
	if ask("ada") == authorizer.DecisionAllow {
		t.Error("an allowance is remembered for longer than 5m")
	}
}
