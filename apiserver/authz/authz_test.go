package authz_test

import (
	"context"
	"errors"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/yare-io/yare/apiserver/authz"
	"github.com/yare-io/yare/apiserver/authz/rbac"
)

func says(decision authorizer.Decision, reason string, err error) authorizer.Authorizer {
	return authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
		return decision, reason, err
	})
}

func request(name string, groups ...string) authorizer.Attributes {
	return authorizer.AttributesRecord{User: &user.DefaultInfo{Name: name, Groups: groups}, Verb: "get", Path: "/x"}
}

func TestTheFirstOpinionDecides(t *testing.T) {
	pass := says(authorizer.DecisionNoOpinion, "pass", nil)
	broken := says(authorizer.DecisionNoOpinion, "", errors.New("broken"))
	yes, no := says(authorizer.DecisionAllow, "yes", nil), says(authorizer.DecisionDeny, "no", nil)
	for name, test := range map[string]struct {
		first, second authorizer.Authorizer
		decision      authorizer.Decision
		reason        string
		failed        bool
	}{
		"second allows":        {pass, yes, authorizer.DecisionAllow, "yes", false},
		"first denies":         {no, yes, authorizer.DecisionDeny, "no", false},
		"nobody knows":         {pass, pass, authorizer.DecisionNoOpinion, "pass\npass", false},
		"an error is no yes":   {broken, pass, authorizer.DecisionNoOpinion, "pass", true},
		"a yes heals an error": {broken, yes, authorizer.DecisionAllow, "yes", false},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := authz.New(authz.Config{
				Modes:       []authz.Mode{"A", "B"},
				Authorizers: map[authz.Mode]authorizer.Authorizer{"A": test.first, "B": test.second},
			})
			if err != nil {
				t.Fatal(err)
			}
			decision, reason, err := a.Authorize(t.Context(), request("alice"))
			if decision != test.decision || reason != test.reason || (err != nil) != test.failed {
				t.Errorf("got %v %q %v", decision, reason, err)
			}
			if decision, _, _ := a.Authorize(t.Context(), request("root", "system:masters")); decision != authorizer.DecisionAllow {
				t.Errorf("system:masters got %v", decision)
			}
		})
	}
}

func TestModesAreChecked(t *testing.T) {
	for name, config := range map[string]authz.Config{
		"none":    {},
		"unknown": {Modes: []authz.Mode{"Magic"}},
		"twice":   {Modes: []authz.Mode{authz.AlwaysAllow, authz.AlwaysAllow}},
		"unbuilt": {Modes: []authz.Mode{authz.RBAC}},
	} {
		if _, err := authz.New(config); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestAlwaysModes(t *testing.T) {
	for mode, want := range map[authz.Mode]authorizer.Decision{authz.AlwaysAllow: authorizer.DecisionAllow, authz.AlwaysDeny: authorizer.DecisionNoOpinion} {
		a, err := authz.New(authz.Config{Modes: []authz.Mode{mode}})
		if err != nil {
			t.Fatal(err)
		}
		if decision, _, _ := a.Authorize(t.Context(), request("alice")); decision != want {
			t.Errorf("%s: %v", mode, decision)
		}
	}
}

func TestRulesAreTheSumAndSayWhenTheyAreNotAll(t *testing.T) {
	roles := rbac.New()
	roles.SetRole("", "r", []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}})
	roles.SetBinding("", "b", rbacv1.RoleRef{Kind: "ClusterRole", Name: "r"}, []rbacv1.Subject{{Kind: "User", Name: "alice"}})
	a, err := authz.New(authz.Config{
		Modes:       []authz.Mode{authz.RBAC, "Webhook"},
		Authorizers: map[authz.Mode]authorizer.Authorizer{authz.RBAC: roles, "Webhook": says(authorizer.DecisionNoOpinion, "", nil)},
	})
	if err != nil {
		t.Fatal(err)
	}
	resources, _, incomplete, err := a.RulesFor(t.Context(), &user.DefaultInfo{Name: "alice"}, "team")
	if len(resources) != 1 || !incomplete || err == nil {
		t.Errorf("got %v %v %v", resources, incomplete, err)
	}
}
