package escalation_test

import (
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/apiserver/authz/rbac"
	"github.com/yare-io/yare/apiserver/authz/rbac/escalation"
)

func rule(verbs, resources []string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: verbs, APIGroups: []string{""}, Resources: resources}
}

func list(items ...string) []string { return items }

var (
	readPods  = rule(list("get", "list"), list("pods"))
	writePods = rule(list("get", "delete", "create"), list("pods"))
)

// world: alice reads pods everywhere, bob may bind "writer" and escalate roles
// in team, root is a member of system:masters.
func world() *escalation.Check {
	a := rbac.New()
	a.SetRole("", "reader", []rbacv1.PolicyRule{readPods})
	a.SetRole("", "writer", []rbacv1.PolicyRule{writePods})
	a.SetRole("team", "lead", []rbacv1.PolicyRule{
		{Verbs: list("bind"), APIGroups: list(rbacv1.GroupName), Resources: list("clusterroles"), ResourceNames: list("writer")},
		{Verbs: list("escalate"), APIGroups: list(rbacv1.GroupName), Resources: list("roles")},
	})
	a.SetBinding("", "r", rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "reader"}, []rbacv1.Subject{{Kind: "User", Name: "alice"}})
	a.SetBinding("team", "l", rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "lead"}, []rbacv1.Subject{{Kind: "User", Name: "bob"}})
	return escalation.New(a, a)
}

func create(who, resource, namespace string, object runtime.Object) *admission.Attributes {
	info := &user.DefaultInfo{Name: who, Groups: []string{"system:authenticated"}}
	if who == "root" {
		info.Groups = append(info.Groups, "system:masters")
	}
	return &admission.Attributes{
		Operation: admission.Create, Resource: rbacv1.SchemeGroupVersion.WithResource(resource),
		Namespace: namespace, Name: "x", Object: object, User: info,
	}
}

func role(rules ...rbacv1.PolicyRule) *rbacv1.Role { return &rbacv1.Role{Rules: rules} }

func binding(name string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}}
}

func TestNobodyGivesWhatTheyDoNotHold(t *testing.T) {
	aggregate := &rbacv1.ClusterRole{AggregationRule: &rbacv1.AggregationRule{}}
	for name, test := range map[string]struct {
		a  *admission.Attributes
		ok bool
	}{
		"role with rules held":              {create("alice", "roles", "team", role(readPods)), true},
		"role with fewer rules":             {create("alice", "roles", "team", role(rule(list("get"), list("pods")))), true},
		"role with a verb more":             {create("alice", "roles", "team", role(writePods)), false},
		"role with a wildcard":              {create("alice", "roles", "team", role(rule(list("*"), list("pods")))), false},
		"binding to a role held":            {create("alice", "rolebindings", "team", binding("reader")), true},
		"binding to more":                   {create("alice", "rolebindings", "team", binding("writer")), false},
		"cluster binding to more":           {create("alice", "clusterrolebindings", "", &rbacv1.ClusterRoleBinding{RoleRef: binding("writer").RoleRef}), false},
		"aggregation gathers anything":      {create("alice", "clusterroles", "", aggregate), false},
		"allowed to bind":                   {create("bob", "rolebindings", "team", binding("writer")), true},
		"allowed to bind, another role":     {create("bob", "rolebindings", "team", binding("reader")), false},
		"allowed to bind, another place":    {create("bob", "rolebindings", "other", binding("writer")), false},
		"allowed to escalate":               {create("bob", "roles", "team", role(writePods)), true},
		"allowed to escalate, other place":  {create("bob", "roles", "other", role(writePods)), false},
		"master writes any role":            {create("root", "clusterroles", "", aggregate), true},
		"master binds any role":             {create("root", "rolebindings", "team", binding("nowhere")), true},
		"objects of other kinds are passed": {create("alice", "things", "team", &metav1.Status{}), true},
	} {
		t.Run(name, func(t *testing.T) {
			if err := world().Validate(t.Context(), test.a); (err == nil) != test.ok || err != nil && !apierrors.IsForbidden(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestBindingToARoleThatIsNotThere(t *testing.T) {
	if err := world().Validate(t.Context(), create("alice", "rolebindings", "team", binding("nowhere"))); !apierrors.IsNotFound(err) {
		t.Errorf("got %v", err)
	}
}

func TestTheCollectorMayLetARoleGo(t *testing.T) {
	old := role(writePods)
	old.Finalizers = []string{"example.com/x"}
	a := create("alice", "roles", "team", role(writePods))
	a.Operation, a.OldObject = admission.Update, old
	if err := world().Validate(t.Context(), a); err != nil {
		t.Errorf("removing a finalizer: %v", err)
	}
	changed := role(writePods, readPods)
	a.Object = changed
	if err := world().Validate(t.Context(), a); err == nil {
		t.Error("a finalizer's removal carried new rules")
	}
}

func TestTheRefusalListsWhatIsMissing(t *testing.T) {
	err := world().Validate(t.Context(), create("alice", "roles", "team", role(writePods)))
	want := `roles.rbac.authorization.k8s.io "x" is forbidden: user "alice" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:
{APIGroups:[""], Resources:["pods"], Verbs:["delete" "create"]}`
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}
