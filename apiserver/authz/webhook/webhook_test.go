package webhook_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/apiserver/authz"
	"github.com/yare-io/yare/apiserver/authz/webhook"
)

// decider is a server that is asked; answer decides.
type decider struct {
	*httptest.Server
	asked  atomic.Int32
	answer func(*authorizationv1.SubjectAccessReview)
}

func newDecider(t testing.TB, answer func(*authorizationv1.SubjectAccessReview)) *decider {
	d := &decider{answer: answer}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.asked.Add(1)
		review := &authorizationv1.SubjectAccessReview{}
		if err := json.NewDecoder(r.Body).Decode(review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		d.answer(review)
		_ = json.NewEncoder(w).Encode(review)
	}))
	t.Cleanup(d.Close)
	return d
}

func kubeconfig(t testing.TB, server string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: %s/authorize}}]\nusers: [{name: a, user: {}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\ncurrent-context: a\n", server)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func configuration(kubeconfig, more string) string {
	return `
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- type: Webhook
  name: outside
  webhook:
    timeout: 2s
    authorizedTTL: 5m
    unauthorizedTTL: 30s
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: ` + kubeconfig + "}\n" + more
}

func parse(t testing.TB, text string, now *clocktesting.FakeClock) *authz.Authorizer {
	t.Helper()
	config, err := webhook.Parse([]byte(text), nil, now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	a, err := authz.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func ask(t testing.TB, a *authz.Authorizer, name, verb string) authorizer.Decision {
	t.Helper()
	decision, _, _ := a.Authorize(t.Context(), authorizer.AttributesRecord{
		User: &user.DefaultInfo{Name: name, Groups: []string{"g"}}, Verb: verb, Resource: "pods", APIVersion: "v1", Namespace: "a", ResourceRequest: true,
	})
	return decision
}

func TestAnOutsideServerDecides(t *testing.T) {
	d := newDecider(t, func(r *authorizationv1.SubjectAccessReview) {
		switch {
		case r.Spec.ResourceAttributes.Verb == "get" && r.Spec.ResourceAttributes.Resource == "pods" && r.Spec.Groups[0] == "g":
			r.Status.Allowed = true
		case r.Spec.ResourceAttributes.Verb == "delete":
			r.Status.Denied = true
		}
	})
	now := clocktesting.NewFakeClock(time.Now())
	a := parse(t, configuration(kubeconfig(t, d.URL), "    failurePolicy: NoOpinion\n- {type: AlwaysAllow, name: rest}\n"), now)
	if ask(t, a, "ann", "get") != authorizer.DecisionAllow || ask(t, a, "ann", "delete") != authorizer.DecisionDeny || ask(t, a, "ann", "list") != authorizer.DecisionAllow {
		t.Error("not as the server says")
	}
	before := d.asked.Load()
	ask(t, a, "ann", "get")
	if d.asked.Load() != before {
		t.Error("an answer was forgotten")
	}
	now.Step(10 * time.Minute)
	ask(t, a, "ann", "get")
	if d.asked.Load() != before+1 {
		t.Error("an answer was kept for too long")
	}
}

func TestAServerThatCannotBeAsked(t *testing.T) {
	elsewhere := newDecider(t, func(r *authorizationv1.SubjectAccessReview) { r.Status.Allowed = true })
	redirect := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}))
	defer redirect.Close()
	for policy, want := range map[string]authorizer.Decision{"NoOpinion": authorizer.DecisionAllow, "Deny": authorizer.DecisionDeny} {
		a := parse(t, configuration(kubeconfig(t, redirect.URL), "    failurePolicy: "+policy+"\n- {type: AlwaysAllow, name: rest}\n"), clocktesting.NewFakeClock(time.Now()))
		if got := ask(t, a, "ann", "get"); got != want {
			t.Errorf("%s: %v", policy, got)
		}
	}
	if elsewhere.asked.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

func TestMatchConditionsSaveTheQuestion(t *testing.T) {
	d := newDecider(t, func(r *authorizationv1.SubjectAccessReview) { r.Status.Denied = true })
	a := parse(t, configuration(kubeconfig(t, d.URL), `    failurePolicy: Deny
    matchConditions: [{expression: 'request.user == "mallory"'}, {expression: 'has(request.resourceAttributes)'}]
- {type: AlwaysAllow, name: rest}
`), clocktesting.NewFakeClock(time.Now()))
	if ask(t, a, "ann", "get") != authorizer.DecisionAllow || d.asked.Load() != 0 {
		t.Error("asked about somebody else")
	}
	if ask(t, a, "mallory", "get") != authorizer.DecisionDeny {
		t.Error("not asked")
	}
}

// TestSelectorsAreAskedAbout: a server may let somebody list what they select
// and nothing else, and so may a match condition.
func TestSelectorsAreAskedAbout(t *testing.T) {
	var got *authorizationv1.ResourceAttributes
	d := newDecider(t, func(r *authorizationv1.SubjectAccessReview) { got, r.Status.Allowed = r.Spec.ResourceAttributes, true })
	a := parse(t, configuration(kubeconfig(t, d.URL), `    failurePolicy: Deny
    matchConditions: [{expression: 'has(request.resourceAttributes) && has(request.resourceAttributes.fieldSelector) && request.resourceAttributes.fieldSelector.requirements[0].key == "spec.nodeName"'}]
`), clocktesting.NewFakeClock(time.Now()))
	list := func(field, label string) authorizer.Decision {
		t.Helper()
		requirements, err := labels.ParseToRequirements(label)
		if err != nil {
			t.Fatal(err)
		}
		decision, _, _ := a.Authorize(t.Context(), authorizer.AttributesRecord{
			User: &user.DefaultInfo{Name: "ann"}, Verb: "list", Resource: "pods", APIVersion: "v1", ResourceRequest: true,
			FieldSelectorRequirements: fields.ParseSelectorOrDie(field).Requirements(), LabelSelectorRequirements: requirements,
		})
		return decision
	}
	if list("metadata.name=x", "") == authorizer.DecisionAllow || got != nil {
		t.Errorf("another selector was asked about: %v", got)
	}
	if list("spec.nodeName=n1,status.phase!=Failed", "app in (a,b),!old") != authorizer.DecisionAllow {
		t.Fatal("refused")
	}
	want := &authorizationv1.ResourceAttributes{
		Verb: "list", Version: "v1", Resource: "pods",
		FieldSelector: &authorizationv1.FieldSelectorAttributes{Requirements: []metav1.FieldSelectorRequirement{
			{Key: "spec.nodeName", Operator: metav1.FieldSelectorOpIn, Values: []string{"n1"}},
			{Key: "status.phase", Operator: metav1.FieldSelectorOpNotIn, Values: []string{"Failed"}},
		}},
		LabelSelector: &authorizationv1.LabelSelectorAttributes{Requirements: []metav1.LabelSelectorRequirement{
			{Key: "app", Operator: metav1.LabelSelectorOpIn, Values: []string{"a", "b"}},
			{Key: "old", Operator: metav1.LabelSelectorOpDoesNotExist},
		}},
	}
	if !apiequality.Semantic.DeepEqual(got, want) {
		t.Errorf("asked about %+v", got)
	}
}

func TestBadConfigurations(t *testing.T) {
	good := configuration(kubeconfig(t, "http://localhost:1"), "    failurePolicy: Deny\n")
	for name, text := range map[string]string{
		"no authorizers": "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers: []\n",
		"unknown type":   "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers: [{type: ABAC, name: a}]\n",
		"bad condition":  good + "    matchConditions: [{expression: 'request.nope'}]\n",
		"unknown field":  good + "    nonsense: 1\n",
		"no policy":      configuration(kubeconfig(t, "http://localhost:1"), ""),
	} {
		if _, err := webhook.Parse([]byte(text), nil, clocktesting.NewFakeClock(time.Now()), slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
