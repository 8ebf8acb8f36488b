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

func TestEachPartOfAnIdentityMustBeAllowed(t *testing.T) {
	all := allowing{"/users///bob", "/groups///dev", "authentication.k8s.io/uids///u1", "authentication.k8s.io/userextras/scope//x"}
	asked := headers("Impersonate-User", "bob", "Impersonate-Group", "dev", "Impersonate-Uid", "u1", "Impersonate-Extra-Scope", "x")
	info, err := impersonation.User(t.Context(), asked, alice, all)
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
			if info, err := impersonation.User(t.Context(), asked, alice, less); !apierrors.IsForbidden(err) {
				t.Errorf("got %v, %v", info, err)
			}
		})
	}
}

func TestServiceAccountsAndAnonymousGetTheirGroups(t *testing.T) {
	info, err := impersonation.User(t.Context(), headers("Impersonate-User", "system:serviceaccount:team:robot"), alice, allowing{"/serviceaccounts//team/robot"})
	if err != nil || !slices.Equal(info.GetGroups(), []string{"system:serviceaccounts", "system:serviceaccounts:team", user.AllAuthenticated}) {
		t.Errorf("got %v, %v", info, err)
	}
	info, err = impersonation.User(t.Context(), headers("Impersonate-User", user.Anonymous), alice, allowing{"/users///" + user.Anonymous})
	if err != nil || !slices.Equal(info.GetGroups(), []string{user.AllUnauthenticated}) {
		t.Errorf("got %v, %v", info, err)
	}
}

func TestNoUserNoImpersonation(t *testing.T) {
	if info, err := impersonation.User(t.Context(), headers("Accept", "x"), alice, allowing{}); info != nil || err != nil {
		t.Errorf("got %v, %v", info, err)
	}
	for _, header := range []string{"Impersonate-Group", "Impersonate-Uid", "Impersonate-Extra-A"} {
		if _, err := impersonation.User(t.Context(), headers(header, "x"), alice, allowing{}); !apierrors.IsBadRequest(err) {
			t.Errorf("%s alone: %v", header, err)
		}
	}
}

func TestTheRefusalSaysWhatIsMissing(t *testing.T) {
	_, err := impersonation.User(t.Context(), headers("Impersonate-User", "bob"), alice, allowing{})
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
