package rbac_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"pgregory.net/rapid"

	"github.com/yare-io/yare/apiserver/authz/rbac"
)

// model decides by reading every binding and every rule, as the documentation
// of RBAC tells it.
type model struct {
	roles    map[string][]rbacv1.PolicyRule // "namespace/name", the namespace empty for cluster roles
	bindings map[string]modelBinding
}

type modelBinding struct {
	namespace string
	ref       rbacv1.RoleRef
	subjects  []rbacv1.Subject
}

func (m *model) allows(a authorizer.Attributes) bool {
	for _, b := range m.bindings {
		if b.namespace != "" && (!a.IsResourceRequest() || a.GetNamespace() != b.namespace) {
			continue
		}
		if !slices.ContainsFunc(b.subjects, func(s rbacv1.Subject) bool { return isSubject(s, b.namespace, a.GetUser()) }) {
			continue
		}
		role := "/" + b.ref.Name
		if b.ref.Kind == "Role" {
			role = b.namespace + "/" + b.ref.Name
		}
		if slices.ContainsFunc(m.roles[role], func(r rbacv1.PolicyRule) bool { return ruleAllows(r, a) }) {
			return true
		}
	}
	return false
}

func isSubject(s rbacv1.Subject, namespace string, info user.Info) bool {
	switch s.Kind {
	case "User":
		return s.Name == info.GetName()
	case "Group":
		return slices.Contains(info.GetGroups(), s.Name)
	case "ServiceAccount":
		if s.Namespace != "" {
			namespace = s.Namespace
		}
		return namespace != "" && info.GetName() == "system:serviceaccount:"+namespace+":"+s.Name
	}
	return false
}

func ruleAllows(r rbacv1.PolicyRule, a authorizer.Attributes) bool {
	has := func(list []string, item string) bool {
		return slices.Contains(list, item) || slices.Contains(list, "*")
	}
	if !has(r.Verbs, a.GetVerb()) {
		return false
	}
	if !a.IsResourceRequest() {
		for _, path := range r.NonResourceURLs {
			if path == a.GetPath() || strings.HasSuffix(path, "*") && strings.HasPrefix(a.GetPath(), path[:len(path)-1]) {
				return true
			}
		}
		return false
	}
	resource := a.GetResource()
	if a.GetSubresource() != "" {
		resource += "/" + a.GetSubresource()
	}
	return has(r.APIGroups, a.GetAPIGroup()) &&
		(has(r.Resources, resource) || a.GetSubresource() != "" && slices.Contains(r.Resources, "*/"+a.GetSubresource())) &&
		(len(r.ResourceNames) == 0 || slices.Contains(r.ResourceNames, a.GetName()))
}

var (
	namespaces = []string{"", "a", "b"}
	roleNames  = []string{"r1", "r2", "r3"}
	names      = []string{"x", "y", "system:serviceaccount:a:x"}
)

func some(values ...string) *rapid.Generator[[]string] {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(values), 0, 3, rapid.ID[string])
}

var rules = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{
		Verbs:           some("get", "list", "use", "bind", "*").Draw(t, "verbs"),
		APIGroups:       some("", "apps", "*").Draw(t, "groups"),
		Resources:       some("pods", "pods/log", "*/log", "*/scale", "*", "deployments").Draw(t, "resources"),
		ResourceNames:   some("one", "two").Draw(t, "names"),
		NonResourceURLs: some("/healthz", "/healthz/*", "/h*", "*").Draw(t, "paths"),
	}
}), 0, 3)

var requests = rapid.Custom(func(t *rapid.T) authorizer.AttributesRecord {
	info := &user.DefaultInfo{Name: rapid.SampledFrom(names).Draw(t, "user"), Groups: some("x", "y", "g").Draw(t, "groups")}
	verb := rapid.SampledFrom([]string{"get", "list", "use", "bind", "escalate"}).Draw(t, "verb")
	if rapid.Bool().Draw(t, "path?") {
		return authorizer.AttributesRecord{User: info, Verb: verb, Path: rapid.SampledFrom([]string{"/healthz", "/healthz/etcd", "/home", "/api"}).Draw(t, "path")}
	}
	return authorizer.AttributesRecord{
		User: info, Verb: verb, ResourceRequest: true,
		Namespace:   rapid.SampledFrom(namespaces).Draw(t, "namespace"),
		APIGroup:    rapid.SampledFrom([]string{"", "apps", "batch"}).Draw(t, "group"),
		Resource:    rapid.SampledFrom([]string{"pods", "deployments"}).Draw(t, "resource"),
		Subresource: rapid.SampledFrom([]string{"", "log", "scale"}).Draw(t, "subresource"),
		Name:        rapid.SampledFrom([]string{"", "one", "two", "three"}).Draw(t, "name"),
	}
})

var subjectLists = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) rbacv1.Subject {
	return rbacv1.Subject{
		Kind:      rapid.SampledFrom([]string{"User", "Group", "ServiceAccount"}).Draw(t, "kind"),
		Name:      rapid.SampledFrom([]string{"x", "y", "g", "system:serviceaccount:a:x"}).Draw(t, "name"),
		Namespace: rapid.SampledFrom([]string{"", "a"}).Draw(t, "namespace"),
	}
}), 0, 3)

func TestDecisionsEqualTheModelThroughAnyHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, m := rbac.New(), &model{roles: map[string][]rbacv1.PolicyRule{}, bindings: map[string]modelBinding{}}
		t.Repeat(map[string]func(*rapid.T){
			"set role": func(t *rapid.T) {
				namespace, name := rapid.SampledFrom(namespaces).Draw(t, "ns"), rapid.SampledFrom(roleNames).Draw(t, "role")
				r := rules.Draw(t, "rules")
				a.SetRole(namespace, name, r)
				m.roles[namespace+"/"+name] = r
			},
			"delete role": func(t *rapid.T) {
				namespace, name := rapid.SampledFrom(namespaces).Draw(t, "ns"), rapid.SampledFrom(roleNames).Draw(t, "role")
				a.DeleteRole(namespace, name)
				delete(m.roles, namespace+"/"+name)
			},
			"set binding": func(t *rapid.T) {
				namespace, name := rapid.SampledFrom(namespaces).Draw(t, "ns"), rapid.SampledFrom([]string{"b1", "b2", "b3"}).Draw(t, "binding")
				ref := rbacv1.RoleRef{Kind: "ClusterRole", Name: rapid.SampledFrom(roleNames).Draw(t, "role")}
				if namespace != "" && rapid.Bool().Draw(t, "role of the namespace?") {
					ref.Kind = "Role"
				}
				subjects := subjectLists.Draw(t, "subjects")
				a.SetBinding(namespace, name, ref, subjects)
				m.bindings[namespace+"/"+name] = modelBinding{namespace, ref, subjects}
			},
			"delete binding": func(t *rapid.T) {
				namespace, name := rapid.SampledFrom(namespaces).Draw(t, "ns"), rapid.SampledFrom([]string{"b1", "b2", "b3"}).Draw(t, "binding")
				a.DeleteBinding(namespace, name)
				delete(m.bindings, namespace+"/"+name)
			},
			"": func(t *rapid.T) {
				for range 4 {
					request := requests.Draw(t, "request")
					decision, reason, err := a.Authorize(t.Context(), request)
					want := m.allows(request)
					if err != nil || (decision == authorizer.DecisionAllow) != want || decision == authorizer.DecisionDeny {
						t.Fatalf("%+v: %v %q %v, want allowed=%v", request, decision, reason, err, want)
					}
					if want != strings.HasPrefix(reason, "RBAC: allowed by ") {
						t.Fatalf("reason %q", reason)
					}
				}
			},
		})
	})
}

func BenchmarkAuthorizeAmongBindingsOfOthers(b *testing.B) {
	for _, bindings := range []int{100, 10_000} {
		b.Run(fmt.Sprint(bindings), func(b *testing.B) {
			a := rbac.New()
			a.SetRole("", "view", []rbacv1.PolicyRule{
				{Verbs: []string{"get", "list", "watch"}, APIGroups: []string{""}, Resources: []string{"services", "endpoints"}},
				{Verbs: []string{"get", "list", "watch"}, APIGroups: []string{"apps"}, Resources: []string{"deployments", "replicasets"}},
				{Verbs: []string{"get", "list", "watch"}, APIGroups: []string{""}, Resources: []string{"pods", "pods/log"}},
			})
			for i := range bindings {
				who := []rbacv1.Subject{{Kind: "User", Name: fmt.Sprint("user", i)}, {Kind: "Group", Name: fmt.Sprint("group", i)}}
				a.SetBinding(fmt.Sprint("ns", i%500), fmt.Sprint("b", i), rbacv1.RoleRef{Kind: "ClusterRole", Name: "view"}, who)
			}
			var request authorizer.Attributes = authorizer.AttributesRecord{
				User: &user.DefaultInfo{Name: "user42", Groups: []string{"group7", "system:authenticated"}},
				Verb: "get", Namespace: "ns42", Resource: "pods", Name: "x", ResourceRequest: true,
			}
			b.ReportAllocs()
			for b.Loop() {
				if decision, _, _ := a.Authorize(b.Context(), request); decision != authorizer.DecisionAllow {
					b.Fatal(decision)
				}
			}
		})
	}
}
