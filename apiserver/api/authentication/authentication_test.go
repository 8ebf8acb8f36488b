package authentication

import (
	"context"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	testclock "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/apiserver/api/rowtest"
	"github.com/yare-io/yare/apiserver/registry"
)

func TestSelfSubjectReview(t *testing.T) {
	known := Deps{
		User: func(context.Context) (user.Info, bool) {
			return &user.DefaultInfo{Name: "jo", UID: "u", Groups: []string{"g"}, Extra: map[string][]string{"k": {"v"}}}, true
		},
		Clock: testclock.NewFakePassiveClock(time.Unix(0, 0)),
	}
	r := rowtest.Row(t, Resources(known), "selfsubjectreviews")
	o, err := r.Creator(t.Context(), registry.Call{Object: r.New()})
	if err != nil {
		t.Fatal(err)
	}
	if who := o.(*authenticationv1.SelfSubjectReview).Status.UserInfo; who.Username != "jo" || who.UID != "u" || who.Groups[0] != "g" || who.Extra["k"][0] != "v" {
		t.Errorf("got %+v", who)
	}
	unknown := Deps{User: func(context.Context) (user.Info, bool) { return nil, false }}
	if _, err := rowtest.Row(t, Resources(unknown), "selfsubjectreviews").Creator(t.Context(), registry.Call{}); !apierrors.IsBadRequest(err) {
		t.Errorf("got %v", err)
	}
}

func TestTokenReview(t *testing.T) {
	r := rowtest.Row(t, Resources(Deps{}), "tokenreviews")
	if _, err := r.Creator(t.Context(), registry.Call{Object: r.New()}); !apierrors.IsInternalError(err) {
		t.Errorf("without an authenticator: %v", err)
	}
	r = rowtest.Row(t, Resources(Deps{ReviewToken: func(_ context.Context, review *authenticationv1.TokenReview) error {
		review.Status.Authenticated = review.Spec.Token == "good"
		return nil
	}}), "tokenreviews")
	asked := rowtest.Object(t, r, "spec: {token: good}", "").(*authenticationv1.TokenReview)
	o, err := r.Creator(t.Context(), registry.Call{Object: asked})
	if err != nil || !o.(*authenticationv1.TokenReview).Status.Authenticated {
		t.Errorf("got %+v (%v)", o, err)
	}
	if asked.Status.Authenticated {
		t.Error("the request was changed")
	}
}
