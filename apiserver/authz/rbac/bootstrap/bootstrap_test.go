package bootstrap_test

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/yare-io/yare/apiserver/authz/rbac"
	"github.com/yare-io/yare/apiserver/authz/rbac/bootstrap"
)

func load(t testing.TB) *bootstrap.Policy {
	t.Helper()
	policy, err := bootstrap.Load(bootstrap.DefaultGates)
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

// The index counts what the published tables of Kubernetes list.
func TestWithEveryGateOnThePolicyIsWhole(t *testing.T) {
	policy, err := bootstrap.Load(func(string) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	var list rbacv1.ClusterRoleList
	for _, file := range []string{"cluster-roles.json", "controller-roles.json"} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var part rbacv1.ClusterRoleList
		if err := json.Unmarshal(data, &part); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		list.Items = append(list.Items, part.Items...)
	}
	if len(policy.ClusterRoles) != len(list.Items) || len(list.Items) != 76 {
		t.Errorf("%d of %d cluster roles", len(policy.ClusterRoles), len(list.Items))
	}
	for i, role := range policy.ClusterRoles {
		if want := list.Items[i]; role.Name != "system:monitoring" && !equality.Semantic.DeepEqual(role, want) {
			t.Errorf("%s differs from the data", role.Name)
		}
		if role.Annotations[rbacv1.AutoUpdateAnnotationKey] != "true" || role.Labels["kubernetes.io/bootstrapping"] != "rbac-defaults" {
			t.Errorf("%s is not marked as bootstrap policy", role.Name)
		}
	}
	if len(policy.Roles) != 7 || len(policy.RoleBindings) != 7 {
		t.Errorf("%d roles, %d bindings in namespaces", len(policy.Roles), len(policy.RoleBindings))
	}
}

func TestGatesDropRulesRolesAndTheirBindings(t *testing.T) {
	none, err := bootstrap.Load(func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	rules := func(p *bootstrap.Policy, name string) int {
		for _, role := range p.ClusterRoles {
			if role.Name == name {
				return len(role.Rules)
			}
		}
		return -1
	}
	for name, want := range map[string]int{
		"system:kube-scheduler": 20, "system:node": 22, "system:monitoring": 2, "system:aggregate-to-edit": 14,
		"system:cluster-trust-bundle-discovery": -1, "system:controller:resource-claim-controller": -1, "cluster-admin": 2,
	} {
		if got := rules(none, name); got != want {
			t.Errorf("%s has %d rules, want %d", name, got, want)
		}
	}
	for _, binding := range none.ClusterRoleBindings {
		if rules(none, binding.RoleRef.Name) < 0 {
			t.Errorf("binding %s is left without its role", binding.Name)
		}
	}
	byDefault := load(t)
	for _, role := range byDefault.ClusterRoles {
		if role.Name == "system:monitoring" && !slices.Contains(role.Rules[0].NonResourceURLs, "/flagz") {
			t.Errorf("appended paths are missing: %v", role.Rules[0])
		}
	}
	if rules(byDefault, "system:aggregate-to-edit") != 15 || len(byDefault.NodeRules()) != 27 {
		t.Errorf("defaults: edit %d, node %d", rules(byDefault, "system:aggregate-to-edit"), len(byDefault.NodeRules()))
	}
}

func reconcile(t *testing.T, client kubernetes.Interface) {
	t.Helper()
	if err := load(t).Reconcile(t.Context(), client); err != nil {
		t.Fatal(err)
	}
}

func writes(client *fake.Clientset) (verbs []string) {
	for _, action := range client.Actions() {
		if !slices.Contains([]string{"get", "list", "watch"}, action.GetVerb()) {
			verbs = append(verbs, action.GetVerb()+" "+action.GetResource().Resource)
		}
	}
	return verbs
}

func TestReconcileFillsAnEmptyClusterAndThenWritesNothing(t *testing.T) {
	client := fake.NewClientset()
	reconcile(t, client)
	policy := load(t)
	roles, err := client.RbacV1().ClusterRoles().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(roles.Items) != len(policy.ClusterRoles) {
		t.Errorf("%d cluster roles, want %d", len(roles.Items), len(policy.ClusterRoles))
	}
	for _, role := range roles.Items {
		if role.AggregationRule != nil && len(role.Rules) == 0 {
			t.Errorf("%s is empty", role.Name)
		}
	}
	bindings, err := client.RbacV1().RoleBindings("").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(bindings.Items) != len(policy.RoleBindings) {
		t.Errorf("%d role bindings, %v", len(bindings.Items), err)
	}
	client.ClearActions()
	reconcile(t, client)
	if w := writes(client); len(w) > 0 {
		t.Errorf("a second run wrote %v", w)
	}
	if lists := len(client.Actions()); lists > 9 {
		t.Errorf("a second run made %d requests", lists)
	}
}

func TestReconcileAddsAndNeverRemoves(t *testing.T) {
	client := fake.NewClientset()
	reconcile(t, client)
	ctx := t.Context()
	roles := client.RbacV1().ClusterRoles()
	extra := rbacv1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{"example.com"}, Resources: []string{"things"}}
	edit := func(name string, change func(*rbacv1.ClusterRole)) {
		role, err := roles.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		change(role)
		if _, err := roles.Update(ctx, role, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	edit("system:kube-dns", func(r *rbacv1.ClusterRole) { r.Rules = []rbacv1.PolicyRule{extra}; r.Labels = nil })
	edit("system:heapster", func(r *rbacv1.ClusterRole) {
		r.Rules, r.Annotations = nil, map[string]string{rbacv1.AutoUpdateAnnotationKey: "false"}
	})
	bindings := client.RbacV1().ClusterRoleBindings()
	binding, err := bindings.Get(ctx, "cluster-admin", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	binding.Subjects = []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "root"}}
	if _, err := bindings.Update(ctx, binding, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	reconcile(t, client)

	dns, _ := roles.Get(ctx, "system:kube-dns", metav1.GetOptions{})
	if len(dns.Rules) != 2 || !equality.Semantic.DeepEqual(dns.Rules[0], extra) || dns.Labels["kubernetes.io/bootstrapping"] == "" {
		t.Errorf("kube-dns: %v %v", dns.Labels, dns.Rules)
	}
	if heapster, _ := roles.Get(ctx, "system:heapster", metav1.GetOptions{}); len(heapster.Rules) != 0 {
		t.Errorf("a role taken out of our hands was changed: %v", heapster.Rules)
	}
	binding, _ = bindings.Get(ctx, "cluster-admin", metav1.GetOptions{})
	if len(binding.Subjects) != 2 {
		t.Errorf("subjects: %v", binding.Subjects)
	}
}

func TestReconcileMakesABindingOfAnotherRoleAnew(t *testing.T) {
	client := fake.NewClientset(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "cluster-admin"}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "view"},
	})
	reconcile(t, client)
	binding, err := client.RbacV1().ClusterRoleBindings().Get(t.Context(), "cluster-admin", metav1.GetOptions{})
	if err != nil || binding.RoleRef.Name != "cluster-admin" {
		t.Errorf("got %v, %v", binding.RoleRef, err)
	}
	if !slices.ContainsFunc(client.Actions(), func(a clienttesting.Action) bool { return a.GetVerb() == "delete" }) {
		t.Error("a role reference cannot be updated in place")
	}
}

// The example of the documentation: who may do what in a fresh cluster.
func TestTheBootstrapPolicyDecidesAsDocumented(t *testing.T) {
	a, policy := rbac.New(), load(t)
	for _, r := range policy.ClusterRoles {
		a.SetRole("", r.Name, r.Rules)
	}
	for _, b := range policy.ClusterRoleBindings {
		a.SetBinding("", b.Name, b.RoleRef, b.Subjects)
	}
	for _, r := range policy.Roles {
		a.SetRole(r.Namespace, r.Name, r.Rules)
	}
	for _, b := range policy.RoleBindings {
		a.SetBinding(b.Namespace, b.Name, b.RoleRef, b.Subjects)
	}
	admin := &user.DefaultInfo{Name: "root", Groups: []string{"system:masters", "system:authenticated"}}
	anyone := &user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}}
	stranger := &user.DefaultInfo{Name: "system:anonymous", Groups: []string{"system:unauthenticated"}}
	scheduler := &user.DefaultInfo{Name: "system:kube-scheduler", Groups: []string{"system:authenticated"}}
	deployments := &user.DefaultInfo{Name: "system:serviceaccount:kube-system:deployment-controller"}
	nodes := &user.DefaultInfo{Name: "system:node:n1", Groups: []string{"system:nodes", "system:authenticated"}}
	resource := func(u user.Info, verb, namespace, group, resource, sub, name string) authorizer.AttributesRecord {
		return authorizer.AttributesRecord{User: u, Verb: verb, Namespace: namespace, APIGroup: group, Resource: resource, Subresource: sub, Name: name, ResourceRequest: true}
	}
	path := func(u user.Info, path string) authorizer.AttributesRecord {
		return authorizer.AttributesRecord{User: u, Verb: "get", Path: path}
	}
	for _, test := range []struct {
		request authorizer.AttributesRecord
		allowed bool
	}{
		{resource(admin, "delete", "x", "example.com", "things", "", "y"), true},
		{path(admin, "/metrics"), true},
		{path(anyone, "/apis"), true},
		{path(anyone, "/metrics"), false},
		{resource(anyone, "create", "", "authorization.k8s.io", "selfsubjectaccessreviews", "", ""), true},
		{resource(anyone, "get", "x", "", "pods", "", "y"), false},
		{path(stranger, "/version"), true},
		{path(stranger, "/healthz"), true},
		{path(stranger, "/apis"), false},
		{resource(scheduler, "create", "x", "", "pods", "binding", "y"), true},
		{resource(scheduler, "update", "kube-system", "coordination.k8s.io", "leases", "", "kube-scheduler"), true},
		{resource(scheduler, "update", "kube-node-lease", "coordination.k8s.io", "leases", "", "n1"), false},
		{resource(deployments, "create", "x", "apps", "replicasets", "", ""), true},
		{resource(deployments, "create", "x", "", "pods", "", ""), false},
		{resource(nodes, "get", "x", "", "secrets", "", "y"), false},
	} {
		decision, reason, _ := a.Authorize(t.Context(), test.request)
		if (decision == authorizer.DecisionAllow) != test.allowed {
			shown, _ := json.Marshal(test.request)
			t.Errorf("%s: %v %s", shown, decision, reason)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		load(b)
	}
}
