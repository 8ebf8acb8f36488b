package scope_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/opa/scope"
)

func request(operation admission.Operation, resource, subresource, namespace string) *admission.Attributes {
	return &admission.Attributes{
		Operation: operation, Resource: corev1.SchemeGroupVersion.WithResource(resource), Subresource: subresource,
		Namespace: namespace, User: &user.DefaultInfo{Name: "ann", Groups: []string{"devs"}},
	}
}

func completed(t *testing.T, s scope.Scope) scope.Scope {
	t.Helper()
	if err := s.Complete(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheDefaultScope(t *testing.T) {
	s := completed(t, scope.Scope{})
	for _, test := range []struct {
		a    *admission.Attributes
		want bool
	}{
		{request(admission.Create, "pods", "", "shop"), true},
		{request(admission.Update, "pods", "ephemeralcontainers", "shop"), true},
		{request(admission.Update, "nodes", "", ""), true},
		{request(admission.Update, "pods", "status", "shop"), false},
		{request(admission.Delete, "pods", "", "shop"), false},
		{request(admission.Connect, "pods", "exec", "shop"), false},
		{request(admission.Create, "pods", "", "kube-system"), false},
	} {
		if got := s.Includes(test.a); got != test.want {
			t.Errorf("%s %s/%s in %q: %v", test.a.Operation, test.a.Resource.Resource, test.a.Subresource, test.a.Namespace, got)
		}
	}
	system := request(admission.Update, "namespaces", "", "")
	if system.Name = "kube-system"; s.Includes(system) {
		t.Error("an excluded namespace is itself in scope")
	}
	question := request(admission.Create, "subjectaccessreviews", "", "")
	question.Resource = schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "subjectaccessreviews"}
	if s.Includes(question) {
		t.Error("a question about rights is in scope")
	}
	own := request(admission.Create, "pods", "", "shop")
	if own.User = (&user.DefaultInfo{Name: user.APIServerUser}); s.Includes(own) {
		t.Error("the server itself is in scope")
	}
}

func TestExclusions(t *testing.T) {
	s := completed(t, scope.Scope{ExcludedNamespaces: []string{"dev-*"}, ExcludedUsers: []string{"bob"}, ExcludedGroups: []string{"admins"}})
	for name, change := range map[string]func(*admission.Attributes){
		"namespace": func(a *admission.Attributes) { a.Namespace = "dev-1" },
		"user":      func(a *admission.Attributes) { a.User = &user.DefaultInfo{Name: "bob"} },
		"group":     func(a *admission.Attributes) { a.User = &user.DefaultInfo{Name: "eve", Groups: []string{"admins"}} },
	} {
		a := request(admission.Create, "pods", "", "kube-system")
		if !s.Includes(a) {
			t.Fatal("not in scope at first")
		}
		if change(a); s.Includes(a) {
			t.Errorf("%s: still in scope", name)
		}
	}
}

func TestIncompleteRulesAreRefused(t *testing.T) {
	for name, rule := range map[string]scope.Rule{
		"no operations":     {APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
		"unknown operation": {Operations: []admission.Operation{"PATCH"}, APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
	} {
		if err := (&scope.Scope{Rules: []scope.Rule{rule}}).Complete(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPatternsOfNames(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"a*", "ab", true}, {"*b", "ab", true}, {"*-x-*", "a-x-b", true}, {"*", "a", true}, {"*", "", false}, {"b*", "ab", false},
	} {
		if got := scope.Matches([]string{test.pattern}, test.name); got != test.want {
			t.Errorf("%s on %s: %v", test.pattern, test.name, got)
		}
	}
}
