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

// User returns whom the headers ask to be, or nil if they do not ask. The
// requestor must hold the verb impersonate on each part asked for: the user or
// service account, each group, the uid and each extra value. Errors are API
// statuses.
func User(ctx context.Context, headers http.Header, requestor user.Info, authz authorizer.UnconditionalAuthorizer) (user.Info, error) {
	asked, err := parse(headers)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if asked == nil {
		return nil, nil
	}
	for _, part := range parts(asked) {
		part.User, part.Verb, part.ResourceRequest = requestor, "impersonate", true
		if err := authorize(ctx, authz, part); err != nil {
			return nil, err
		}
	}
	return complete(asked), nil
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

// parts are what must be allowed, one by one.
func parts(asked *user.DefaultInfo) []authorizer.AttributesRecord {
	account := authorizer.AttributesRecord{APIVersion: "v1", Resource: "users", Name: asked.Name}
	if namespace, name, err := serviceaccount.SplitUsername(asked.Name); err == nil {
		account.Resource, account.Namespace, account.Name = "serviceaccounts", namespace, name
	}
	all := []authorizer.AttributesRecord{account}
	for _, group := range asked.Groups {
		all = append(all, authorizer.AttributesRecord{APIVersion: "v1", Resource: "groups", Name: group})
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

func authorize(ctx context.Context, authz authorizer.UnconditionalAuthorizer, part authorizer.AttributesRecord) error {
	decision, reason, err := authz.Authorize(ctx, part)
	if decision == authorizer.DecisionAllow {
		return nil
	}
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("authorizing impersonation: %w", err))
	}
	resource := part.Resource
	if part.Subresource != "" {
		resource += "/" + part.Subresource
	}
	scope := "at the cluster scope"
	if part.Namespace != "" {
		scope = fmt.Sprintf("in the namespace %q", part.Namespace)
	}
	message := fmt.Sprintf("User %q cannot impersonate resource %q in API group %q %s", part.User.GetName(), resource, part.APIGroup, scope)
	if reason != "" {
		message += ": " + reason
	}
	return apierrors.NewForbidden(schema.GroupResource{Group: part.APIGroup, Resource: part.Resource}, part.Name, errors.New(message))
}

// complete adds the groups that the user would have had when logging in.
func complete(asked *user.DefaultInfo) user.Info {
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
	return asked
}
