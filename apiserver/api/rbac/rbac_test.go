package rbac

import (
	"context"
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/apiserver/api/rowtest"
)

func TestRoles(t *testing.T) {
	rows := Resources(nil)
	role := "{metadata: {name: a, namespace: b}, rules: [{verbs: [get], apiGroups: [''], resources: [pods]}]}"
	rowtest.Creates(t, rowtest.Row(t, rows, "roles"), role, rowtest.Cases{
		{"no verb", "rules: [{apiGroups: [''], resources: [pods]}]", []string{"Required rules[0].verbs"}},
		{"no group", "rules: [{verbs: [get], resources: [pods]}]", []string{"Required rules[0].apiGroups"}},
		{"no resource", "rules: [{verbs: [get], apiGroups: ['']}]", []string{"Required rules[0].resources"}},
		{"paths in a namespace", "rules: [{verbs: [get], nonResourceURLs: [/healthz]}]", []string{"Invalid rules[0].nonResourceURLs"}},
	})
	rowtest.Creates(t, rowtest.Row(t, rows, "clusterroles"), role, rowtest.Cases{
		{"paths", "{metadata: {name: 'system:x'}, rules: [{verbs: [get], nonResourceURLs: [/healthz]}]}", nil},
		{"paths and resources", "rules: [{verbs: [get], apiGroups: [''], nonResourceURLs: [/healthz]}]", []string{"Invalid rules[0].nonResourceURLs"}},
		{"aggregate of nothing", "aggregationRule: {}", []string{"Required aggregationRule.clusterRoleSelectors"}},
	})
}

func TestBindings(t *testing.T) {
	rows := Resources(nil)
	base := "{metadata: {name: a, namespace: b}, roleRef: {kind: ClusterRole, name: view}, subjects: [{kind: User, name: jo}]}"
	common := rowtest.Cases{
		{"unknown kind", "roleRef: {kind: Rank}", []string{"NotSupported roleRef.kind"}},
		{"no name", "roleRef: {name: ''}", []string{"Required roleRef.name"}},
		{"other group", "roleRef: {apiGroup: x}", []string{"NotSupported roleRef.apiGroup"}},
		{"nobody", "subjects: [{kind: User}]", []string{"Required subjects[0].name"}},
		{"unknown subject", "subjects: [{kind: Robot, name: x}]", []string{"NotSupported subjects[0].kind"}},
	}
	rowtest.Creates(t, rowtest.Row(t, rows, "rolebindings"), base, append(common, rowtest.Cases{
		{"account of this namespace", "subjects: [{kind: ServiceAccount, name: x}]", nil},
	}...))
	rowtest.Creates(t, rowtest.Row(t, rows, "clusterrolebindings"), base, append(common, rowtest.Cases{
		{"account of nowhere", "subjects: [{kind: ServiceAccount, name: x}]", []string{"Required subjects[0].namespace"}},
		{"role", "roleRef: {kind: Role}", []string{"NotSupported roleRef.kind"}},
	}...))
	r := rowtest.Row(t, rows, "rolebindings")
	rowtest.Updates(t, r, &r.Strategy, base, rowtest.Cases{
		{"another role", "roleRef: {name: edit}", []string{"Invalid roleRef"}},
		{"another subject", "subjects: [{kind: Group, name: all}]", nil},
	})
}

func TestNamesMayHaveColons(t *testing.T) {
	valid := rowtest.Row(t, Resources(nil), "roles").Strategy.ValidName
	if m := valid("system:controller:x", false); len(m) > 0 {
		t.Error(m)
	}
	if m := valid("a/b", false); len(m) == 0 {
		t.Error("a name with a slash")
	}
}

func TestGrantsAreAskedFor(t *testing.T) {
	refused := errors.New("no")
	for _, r := range Resources(func(context.Context, runtime.Object, runtime.Object) error { return refused }) {
		if _, err := r.Strategy.Allocate(t.Context(), r.New(), nil, false); !errors.Is(err, refused) {
			t.Errorf("%s: %v", r.Name, err)
		}
		if _, err := r.Strategy.Allocate(t.Context(), nil, r.New(), false); err != nil {
			t.Errorf("%s: deletion: %v", r.Name, err)
		}
	}
}
