package rbac_test

import (
	"context"
	"slices"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/apiserver/authz/rbac"
)

func get(name string, groups ...string) authorizer.AttributesRecord {
	return authorizer.AttributesRecord{
		User: &user.DefaultInfo{Name: name, Groups: groups},
		Verb: "get", Namespace: "team", Resource: "pods", ResourceRequest: true,
	}
}

var readPods = []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}}

func TestReasonsNameTheBinding(t *testing.T) {
	a := rbac.New()
	a.SetRole("", "reader", readPods)
	a.SetRole("team", "local", readPods)
	cluster := rbacv1.RoleRef{Kind: "ClusterRole", Name: "reader"}
	a.SetBinding("", "all", cluster, []rbacv1.Subject{{Kind: "User", Name: "alice"}, {Kind: "Group", Name: "dev"}})
	a.SetBinding("team", "here", rbacv1.RoleRef{Kind: "Role", Name: "local"}, []rbacv1.Subject{{Kind: "ServiceAccount", Name: "robot"}})
	a.SetBinding("team", "dangling", rbacv1.RoleRef{Kind: "Role", Name: "gone"}, []rbacv1.Subject{{Kind: "User", Name: "carol"}})
	a.SetBinding("team", "dangling2", rbacv1.RoleRef{Kind: "ClusterRole", Name: "lost"}, []rbacv1.Subject{{Kind: "User", Name: "carol"}})
	for _, test := range []struct {
		request authorizer.AttributesRecord
		allowed bool
		reason  string
	}{
		{get("alice"), true, `RBAC: allowed by ClusterRoleBinding "all" of ClusterRole "reader" to User "alice"`},
		{get("bob", "dev"), true, `RBAC: allowed by ClusterRoleBinding "all" of ClusterRole "reader" to Group "dev"`},
		{get("system:serviceaccount:team:robot"), true, `RBAC: allowed by RoleBinding "here/team" of Role "local" to ServiceAccount "robot/team"`},
		{get("bob"), false, ""},
		{get("carol"), false, `RBAC: [role.rbac.authorization.k8s.io "gone" not found, clusterrole.rbac.authorization.k8s.io "lost" not found]`},
	} {
		decision, reason, err := a.Authorize(t.Context(), test.request)
		if (decision == authorizer.DecisionAllow) != test.allowed || reason != test.reason || err != nil {
			t.Errorf("%s: %v %q %v", test.request.User.GetName(), decision, reason, err)
		}
	}
}

func TestRulesForListsWhatTheUserHolds(t *testing.T) {
	a := rbac.New()
	a.SetRole("", "reader", append(readPods, rbacv1.PolicyRule{Verbs: []string{"get"}, NonResourceURLs: []string{"/healthz"}}))
	a.SetRole("team", "local", []rbacv1.PolicyRule{{Verbs: []string{"list"}, APIGroups: []string{""}, Resources: []string{"pods"}}})
	alice := []rbacv1.Subject{{Kind: "User", Name: "alice"}}
	a.SetBinding("", "all", rbacv1.RoleRef{Kind: "ClusterRole", Name: "reader"}, alice)
	a.SetBinding("team", "here", rbacv1.RoleRef{Kind: "Role", Name: "local"}, alice)
	resources, paths, incomplete, err := a.RulesFor(t.Context(), &user.DefaultInfo{Name: "alice"}, "team")
	if len(resources) != 2 || len(paths) != 1 || incomplete || err != nil {
		t.Errorf("got %v %v %v %v", resources, paths, incomplete, err)
	}
	if resources, _, _, _ := a.RulesFor(t.Context(), &user.DefaultInfo{Name: "alice"}, "other"); len(resources) != 1 {
		t.Errorf("in another namespace: %v", resources)
	}
}

func TestFollowKeepsUpWithInformers(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	client := fake.NewClientset(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "reader"}, Rules: readPods})
	factory := informers.NewSharedInformerFactory(client, 0)
	a := rbac.New()
	synced, err := a.Follow(factory)
	if err != nil {
		t.Fatal(err)
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	defer cancel()
	if !cache.WaitForCacheSync(ctx.Done(), synced) {
		t.Fatal("never synced")
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "b"},
		RoleRef:    rbacv1.RoleRef{Kind: "ClusterRole", Name: "reader"}, Subjects: []rbacv1.Subject{{Kind: "User", Name: "alice"}},
	}
	bindings := client.RbacV1().RoleBindings("team")
	if _, err := bindings.Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	allowed := func() bool {
		decision, _, _ := a.Authorize(ctx, get("alice"))
		return decision == authorizer.DecisionAllow
	}
	until(t, allowed)
	if err := bindings.Delete(ctx, "b", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return !allowed() })
}

func until(t *testing.T, condition func() bool) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for range 10_000 {
		if condition() {
			return
		}
		<-ticker.C
	}
	t.Fatal("condition never held")
}

func TestAggregatedRules(t *testing.T) {
	role := func(name, label string, rules ...rbacv1.PolicyRule) *rbacv1.ClusterRole {
		return &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{label: "true"}}, Rules: rules}
	}
	verb := func(verb string) rbacv1.PolicyRule { return rbacv1.PolicyRule{Verbs: []string{verb}} }
	sum := role("sum", "part", verb("old"))
	sum.AggregationRule = &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"part": "true"}}}}
	all := []*rbacv1.ClusterRole{role("b", "part", verb("x"), verb("y")), sum, role("a", "part", verb("y"), verb("z")), role("c", "other", verb("no"))}
	rules, changed, err := rbac.AggregatedRules(sum, all)
	if err != nil || !changed {
		t.Fatalf("changed=%v err=%v", changed, err)
	}
	var verbs []string
	for _, rule := range rules {
		verbs = append(verbs, rule.Verbs...)
	}
	if !slices.Equal(verbs, []string{"y", "z", "x"}) {
		t.Errorf("got %v", verbs)
	}
	sum.Rules = rules
	if _, changed, _ := rbac.AggregatedRules(sum, all); changed {
		t.Error("a full role changed again")
	}
	if _, changed, _ := rbac.AggregatedRules(all[0], all); changed {
		t.Error("a plain role was changed")
	}
}
