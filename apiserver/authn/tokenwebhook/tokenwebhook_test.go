package tokenwebhook_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/yare-io/yare/apiserver/authn/tokenwebhook"
)

func TestAnOutsideServerKnowsTokens(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		review := &authenticationv1.TokenReview{}
		_ = json.NewDecoder(r.Body).Decode(review)
		switch review.Spec.Token {
		case "good":
			review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{
				Username: "ann", UID: "1", Groups: []string{"g"}, Extra: map[string]authenticationv1.ExtraValue{"k": {"v"}},
			}}
		case "elsewhere":
			review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: []string{"other"}, User: authenticationv1.UserInfo{Username: "ann"}}
		case "bad":
			review.Status.Error = "it is stolen"
		}
		_ = json.NewEncoder(w).Encode(review)
	}))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: %s}}]\nusers: [{name: a, user: {}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\ncurrent-context: a\n", s.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := tokenwebhook.New(file, []string{"yare"})
	if err != nil {
		t.Fatal(err)
	}
	response, ok, err := a.AuthenticateToken(t.Context(), "good")
	if err != nil || !ok || response.User.GetName() != "ann" || response.User.GetGroups()[0] != "g" || response.User.GetExtra()["k"][0] != "v" {
		t.Errorf("%v %v %v", response, ok, err)
	}
	for token, wantError := range map[string]bool{"elsewhere": false, "bad": true, "unknown": false} {
		if _, ok, err := a.AuthenticateToken(t.Context(), token); ok || (err != nil) != wantError {
			t.Errorf("%s: %v, %v", token, ok, err)
		}
	}
}
