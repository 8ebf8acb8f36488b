package authorization

import (
	"context"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/yare-io/yare/apiserver/api/rowtest"
	"github.com/yare-io/yare/apiserver/registry"
)

// joReads lets jo get pods, and denies deleting to everyone.
func joReads(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	switch {
	case a.GetVerb() == "delete":
		return authorizer.DecisionDeny, "never", nil
	case a.GetUser().GetName() == "jo" && a.GetResource() == "pods" && a.GetVerb() == "get":
		return authorizer.DecisionAllow, "jo reads", nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

type decider func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error)

func (d decider) Authorize(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	return d(ctx, a)
}

func deps() Deps {
	return Deps{
		User:       func(context.Context) (user.Info, bool) { return &user.DefaultInfo{Name: "jo"}, true },
		Authorizer: decider(joReads),
	}
}

func ask(t *testing.T, name, body string) (registry.Call, *registry.Resource) {
	r := rowtest.Row(t, Resources(deps()), name)
	return registry.Call{Object: rowtest.Object(t, r, body, ""), Namespace: "default"}, r
}

func TestAccessReviews(t *testing.T) {
	for name, c := range map[string]struct {
		body            string
		allowed, denied bool
	}{
		"jo may":          {"spec: {user: jo, resourceAttributes: {verb: get, resource: pods}}", true, false},
		"nobody else may": {"spec: {user: mo, resourceAttributes: {verb: get, resource: pods}}", false, false},
		"nobody deletes":  {"spec: {user: jo, resourceAttributes: {verb: delete, resource: pods}}", false, true},
		"a path":          {"spec: {groups: [x], nonResourceAttributes: {verb: get, path: /}}", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			call, r := ask(t, "subjectaccessreviews", c.body)
			o, err := r.Creator(t.Context(), call)
			if err != nil {
				t.Fatal(err)
			}
			if s := o.(*authorizationv1.SubjectAccessReview).Status; s.Allowed != c.allowed || s.Denied != c.denied {
				t.Errorf("got %+v", s)
			}
		})
	}
	call, r := ask(t, "selfsubjectaccessreviews", "spec: {resourceAttributes: {verb: get, resource: pods}}")
	o, err := r.Creator(t.Context(), call)
	if err != nil || !o.(*authorizationv1.SelfSubjectAccessReview).Status.Allowed {
		t.Errorf("jo may, but got %+v (%v)", o, err)
	}
	call, r = ask(t, "localsubjectaccessreviews", "spec: {user: jo, resourceAttributes: {namespace: default, verb: get, resource: pods}}")
	o, err = r.Creator(t.Context(), call)
	if err != nil || !o.(*authorizationv1.LocalSubjectAccessReview).Status.Allowed {
		t.Errorf("jo may, but got %+v (%v)", o, err)
	}
}

func TestQuestionsThatAreNone(t *testing.T) {
	for name, body := range map[string]string{
		"subjectaccessreviews":      "spec: {resourceAttributes: {verb: get}}",
		"selfsubjectaccessreviews":  "spec: {}",
		"localsubjectaccessreviews": "spec: {user: jo, resourceAttributes: {namespace: other, verb: get}}",
	} {
		call, r := ask(t, name, body)
		if _, err := r.Creator(t.Context(), call); !apierrors.IsInvalid(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSelectorsReachTheAuthorizer(t *testing.T) {
	a := attributesOf(&authorizationv1.SubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
		FieldSelector: &authorizationv1.FieldSelectorAttributes{RawSelector: "spec.nodeName=n"},
		LabelSelector: &authorizationv1.LabelSelectorAttributes{RawSelector: "a in (b)"},
	}})
	fields, err := a.GetFieldSelector()
	if err != nil || len(fields) != 1 || fields[0].Value != "n" {
		t.Errorf("fields %v (%v)", fields, err)
	}
	labels, err := a.GetLabelSelector()
	if err != nil || len(labels) != 1 || labels[0].Key() != "a" {
		t.Errorf("labels %v (%v)", labels, err)
	}
}

func TestWithoutAnAuthorizerNobodyMay(t *testing.T) {
	for _, r := range Resources(Deps{User: deps().User}) {
		body := "spec: {resourceAttributes: {namespace: default, verb: get}}"
		switch r.Name {
		case "selfsubjectrulesreviews":
			body = "spec: {namespace: default}"
		case "subjectaccessreviews", "localsubjectaccessreviews":
			body = "spec: {user: jo, resourceAttributes: {namespace: default, verb: get}}"
		}
		_, err := r.Creator(t.Context(), registry.Call{Object: rowtest.Object(t, r, body, ""), Namespace: "default"})
		if !apierrors.IsInternalError(err) {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
}
