package impersonation_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/yare-io/yare/apiserver/authn/impersonation"
)

// allowing is an authorizer for what it lists as group/resource/subresource/namespace/name.
type allowing []string

func (a allowing) Authorize(_ context.Context, r authorizer.Attributes) (authorizer.Decision, string, error) {
	key := strings.Join([]string{r.GetAPIGroup(), r.GetResource(), r.GetSubresource(), r.GetNamespace(), r.GetName()}, "/")
	if r.GetVerb() == "impersonate" && r.GetUser().GetName() == "alice" && slices.Contains(a, key) {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "no", nil
}

func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

var alice = &user.DefaultInfo{Name: "alice"}

// by is a list of pods.
func by(who user.Info) authorizer.Attributes {
	return authorizer.AttributesRecord{User: who, Verb: "list", APIVersion: "v1", Resource: "pods", Namespace: "team", ResourceRequest: true}
}

// verbs is an authorizer for what it lists as verb group/resource/name.
type verbs []string

func (v verbs) Authorize(_ context.Context, r authorizer.Attributes) (authorizer.Decision, string, error) {
	if slices.Contains(v, r.GetVerb()+" "+r.GetAPIGroup()+"/"+r.GetResource()+"/"+r.GetName()) {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

func TestConstrainedModes(t *testing.T) {
	agent := &user.DefaultInfo{Name: "system:serviceaccount:kube-system:agent", Extra: map[string][]string{"authentication.kubernetes.io/node-name": {"n1"}}}
	const group = "authentication.k8s.io"
	for name, c := range map[string]struct {
		who    user.Info
		asked  []string
		allow  verbs
		groups []string
	}{
		"the own node": {agent, []string{"Impersonate-User", "system:node:n1"},
			verbs{"impersonate:associated-node " + group + "/nodes/*", "impersonate-on:associated-node:list /pods/"}, []string{user.NodesGroup, user.AllAuthenticated}},
		"another node by the right to the own": {agent, []string{"Impersonate-User", "system:node:n2"},
			verbs{"impersonate:associated-node " + group + "/nodes/*", "impersonate-on:associated-node:list /pods/"}, nil},
		"the own node by nobody's token": {alice, []string{"Impersonate-User", "system:node:n1"},
			verbs{"impersonate:associated-node " + group + "/nodes/*", "impersonate-on:associated-node:list /pods/"}, nil},
		"any node": {alice, []string{"Impersonate-User", "system:node:n2"},
			verbs{"impersonate:arbitrary-node " + group + "/nodes/n2", "impersonate-on:arbitrary-node:list /pods/"}, []string{user.NodesGroup, user.AllAuthenticated}},
		"a node with groups": {alice, []string{"Impersonate-User", "system:node:n2", "Impersonate-Group", "dev"},
			verbs{"impersonate:arbitrary-node " + group + "/nodes/n2", "impersonate-on:arbitrary-node:list /pods/", "impersonate:arbitrary-node " + group + "/groups/dev"}, nil},
		"an account": {alice, []string{"Impersonate-User", "system:serviceaccount:team:robot"},
			verbs{"impersonate:serviceaccount " + group + "/serviceaccounts/robot", "impersonate-on:serviceaccount:list /pods/"},
			[]string{"system:serviceaccounts", "system:serviceaccounts:team", user.AllAuthenticated}},
		"a user for this request": {alice, []string{"Impersonate-User", "bob", "Impersonate-Group", "dev"},
			verbs{"impersonate:user-info " + group + "/users/bob", "impersonate:user-info " + group + "/groups/dev", "impersonate-on:user-info:list /pods/"}, []string{"dev", user.AllAuthenticated}},
		"a user for another request": {alice, []string{"Impersonate-User", "bob"},
			verbs{"impersonate:user-info " + group + "/users/bob", "impersonate-on:user-info:get /pods/"}, nil},
		"a user who is not allowed": {alice, []string{"Impersonate-User", "bob"}, verbs{"impersonate-on:user-info:list /pods/"}, nil},
		"the masters": {alice, []string{"Impersonate-User", "bob", "Impersonate-Group", "system:masters"},
			verbs{"impersonate:user-info " + group + "/users/bob", "impersonate:user-info " + group + "/groups/system:masters", "impersonate-on:user-info:list /pods/"}, nil},
	} {
		info, err := impersonation.User(t.Context(), headers(c.asked...), by(c.who), c.allow)
		switch {
		case c.groups == nil:
			if !apierrors.IsForbidden(err) {
				t.Errorf("%s: %v, %v", name, info, err)
			}
		case err != nil || info.GetName() != c.asked[1] || !slices.Equal(info.GetGroups(), c.groups) || !strings.HasPrefix(c.allow[0], info.Constraint+" ") || info.Constraint == "":
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
}

func TestEachPartOfAnIdentityMustBeAllowed(t *testing.T) {
	all := allowing{"/users///bob", "/groups///dev", "authentication.k8s.io/uids///u1", "authentication.k8s.io/userextras/scope//x"}
	asked := headers("Impersonate-User", "bob", "Impersonate-Group", "dev", "Impersonate-Uid", "u1", "Impersonate-Extra-Scope", "x")
	info, err := impersonation.User(t.Context(), asked, by(alice), all)
	if err != nil {
		t.Fatal(err)
	}
	if info.GetName() != "bob" || info.GetUID() != "u1" || !slices.Equal(info.GetGroups(), []string{"dev", user.AllAuthenticated}) ||
		!slices.Equal(info.GetExtra()["scope"], []string{"x"}) {
		t.Errorf("got %v", info)
	}
	for i := range all {
		t.Run(fmt.Sprintf("without %s", all[i]), func(t *testing.T) {
			less := slices.Delete(slices.Clone(all), i, i+1)
			if info, err := impersonation.User(t.Context(), asked, by(alice), less); !apierrors.IsForbidden(err) {
				t.Errorf("got %v, %v", info, err)
			}
		})
	}
}

func TestServiceAccountsAndAnonymousGetTheirGroups(t *testing.T) {
	info, err := impersonation.User(t.Context(), headers("Impersonate-User", "system:serviceaccount:team:robot"), by(alice), allowing{"/serviceaccounts//team/robot"})
	if err != nil || !slices.Equal(info.GetGroups(), []string{"system:serviceaccounts", "system:serviceaccounts:team", user.AllAuthenticated}) {
		t.Errorf("got %v, %v", info, err)
	}
	info, err = impersonation.User(t.Context(), headers("Impersonate-User", user.Anonymous), by(alice), allowing{"/users///" + user.Anonymous})
	if err != nil || !slices.Equal(info.GetGroups(), []string{user.AllUnauthenticated}) {
		t.Errorf("got %v, %v", info, err)
	}
}

func TestNoUserNoImpersonation(t *testing.T) {
	if info, err := impersonation.User(t.Context(), headers("Accept", "x"), by(alice), allowing{}); info != nil || err != nil {
		t.Errorf("got %v, %v", info, err)
	}
	for _, header := range []string{"Impersonate-Group", "Impersonate-Uid", "Impersonate-Extra-A"} {
		if _, err := impersonation.User(t.Context(), headers(header, "x"), by(alice), allowing{}); !apierrors.IsBadRequest(err) {
			t.Errorf("%s alone: %v", header, err)
		}
	}
}

func TestTheRefusalSaysWhatIsMissing(t *testing.T) {
	_, err := impersonation.User(t.Context(), headers("Impersonate-User", "bob"), by(alice), allowing{})
	want := `users "bob" is forbidden: User "alice" cannot impersonate resource "users" in API group "" at the cluster scope: no`
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestStrip(t *testing.T) {
	h := headers("Impersonate-User", "a", "Impersonate-Extra-B", "c", "Accept", "x")
	impersonation.Strip(h)
	if len(h) != 1 || h.Get("Accept") != "x" {
		t.Errorf("left %v", h)
	}
}
