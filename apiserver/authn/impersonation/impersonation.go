// Package impersonation lets a user act as another one, where authorization
// allows it. It owns the Impersonate-* headers and refuses to know how users
// are authenticated or who is allowed.
package impersonation

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// Identity is whom a request is made as.
type Identity struct {
	user.Info
	// Constraint is the verb that allowed it, such as
	// "impersonate:associated-node"; empty when it is the unconstrained
	// "impersonate".
	Constraint string
}

// User returns whom the headers of a request ask to be, or nil if they do not
// ask. The requestor, who is the user of attributes, must hold a right on each
// part asked for: the user or service account, each group, the uid and each
// extra value. Constrained rights hold for some requests only, which is why the
// request itself counts too. Errors are API statuses.
//
// See https://kep.k8s.io/5284.
func User(ctx context.Context, headers http.Header, request authorizer.Attributes, authz authorizer.UnconditionalAuthorizer) (*Identity, error) {
	asked, err := parse(headers)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if asked == nil {
		return nil, nil
	}
	var nearly error
	for _, m := range constrained {
		if !m.applies(asked, request.GetUser()) || authorize(ctx, authz, m.request(request)) != nil {
			continue
		}
		if err := m.allowed(ctx, asked, request, authz); err != nil {
			nearly = err
			continue
		}
		return &Identity{m.complete(asked), m.verb()}, nil
	}
	for _, part := range parts(asked, "") {
		part.User, part.Verb, part.ResourceRequest = request.GetUser(), "impersonate", true
		if err := authorize(ctx, authz, part); err != nil {
			if nearly != nil {
				err = nearly
			}
			return nil, err
		}
	}
	return &Identity{Info: complete(asked)}, nil
}

// Strip removes the headers, once they have been honoured or refused.
func Strip(headers http.Header) {
	for name := range headers {
		if strings.HasPrefix(strings.ToLower(name), "impersonate-") {
			delete(headers, name)
		}
	}
}

func parse(headers http.Header) (*user.DefaultInfo, error) {
	asked := &user.DefaultInfo{
		Name:   headers.Get(authenticationv1.ImpersonateUserHeader),
		UID:    headers.Get(authenticationv1.ImpersonateUIDHeader),
		Groups: slices.Clone(headers[authenticationv1.ImpersonateGroupHeader]),
	}
	for name, values := range headers {
		key, ok := extraKey(name)
		if !ok {
			continue
		}
		if asked.Extra == nil {
			asked.Extra = map[string][]string{}
		}
		asked.Extra[key] = append(asked.Extra[key], values...)
	}
	if asked.Name != "" {
		return asked, nil
	}
	if asked.UID != "" || len(asked.Groups) > 0 || len(asked.Extra) > 0 {
		return nil, errors.New("requested groups, uid or extra without impersonating a user")
	}
	return nil, nil
}

func extraKey(name string) (string, bool) {
	prefix := authenticationv1.ImpersonateUserExtraHeaderPrefix
	if len(name) <= len(prefix) || !strings.EqualFold(name[:len(prefix)], prefix) {
		return "", false
	}
	key := strings.ToLower(name[len(prefix):])
	if unescaped, err := url.PathUnescape(key); err == nil {
		key = unescaped
	}
	return key, true
}

// parts are what must be allowed, one by one. Users and groups are resources of
// different groups in the constrained modes and without.
func parts(asked *user.DefaultInfo, group string) []authorizer.AttributesRecord {
	account := authorizer.AttributesRecord{APIGroup: group, APIVersion: "v1", Resource: "users", Name: asked.Name}
	if namespace, name, err := serviceaccount.SplitUsername(asked.Name); err == nil {
		account.Resource, account.Namespace, account.Name = "serviceaccounts", namespace, name
	}
	all := []authorizer.AttributesRecord{account}
	for _, name := range asked.Groups {
		all = append(all, authorizer.AttributesRecord{APIGroup: group, APIVersion: "v1", Resource: "groups", Name: name})
	}
	authentication := authorizer.AttributesRecord{APIGroup: authenticationv1.GroupName, APIVersion: "v1"}
	for key, values := range asked.Extra {
		for _, value := range values {
			part := authentication
			part.Resource, part.Subresource, part.Name = "userextras", key, value
			all = append(all, part)
		}
	}
	if asked.UID != "" {
		part := authentication
		part.Resource, part.Name = "uids", asked.UID
		all = append(all, part)
	}
	return all
}

func authorize(ctx context.Context, authz authorizer.UnconditionalAuthorizer, part authorizer.Attributes) error {
	decision, reason, err := authz.Authorize(ctx, part)
	if decision == authorizer.DecisionAllow {
		return nil
	}
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("authorizing impersonation: %w", err))
	}
	resource := part.GetResource()
	if part.GetSubresource() != "" {
		resource += "/" + part.GetSubresource()
	}
	scope := "at the cluster scope"
	if part.GetNamespace() != "" {
		scope = fmt.Sprintf("in the namespace %q", part.GetNamespace())
	}
	message := fmt.Sprintf("User %q cannot %s resource %q in API group %q %s", part.GetUser().GetName(), part.GetVerb(), resource, part.GetAPIGroup(), scope)
	if reason != "" {
		message += ": " + reason
	}
	return apierrors.NewForbidden(schema.GroupResource{Group: part.GetAPIGroup(), Resource: part.GetResource()}, part.GetName(), errors.New(message))
}

// complete adds the groups that the user would have had when logging in.
func complete(given *user.DefaultInfo) user.Info {
	asked := *given
	asked.Groups = slices.Clone(given.Groups)
	if namespace, _, err := serviceaccount.SplitUsername(asked.Name); err == nil && len(asked.Groups) == 0 {
		asked.Groups = serviceaccount.MakeGroupNames(namespace)
	}
	everybody := user.AllAuthenticated
	if asked.Name == user.Anonymous {
		everybody = user.AllUnauthenticated
	}
	if !slices.Contains(asked.Groups, user.AllAuthenticated) && !slices.Contains(asked.Groups, user.AllUnauthenticated) {
		asked.Groups = append(asked.Groups, everybody)
	}
	return &asked
}
